// Accuracy of kernels/math against the C library in wider precision.
#include "kernels/math/math.h"

#include <cmath>
#include <limits>
#include <random>

#include "compiler/codegen/scalar_emitter.h"
#include "compiler/codegen/test_kernel.h"
#include "gmock/gmock.h"

namespace weft {
namespace {

using Unary = mlir::Value (*)(math::FloatOps, mlir::Value);
using Binary = mlir::Value (*)(math::FloatOps, mlir::Value, mlir::Value);
using Exact1 = long double (*)(long double);
using Exact2 = long double (*)(long double, long double);

constexpr double kInf = std::numeric_limits<double>::infinity();

long double ExactLogistic(long double x) { return 1 / (1 + std::exp(-x)); }

struct UnaryCase {
  const char* name;
  Unary emit;
  Exact1 exact;
  double ulps;
  // Errors count in units of the result, but at least of this.
  double scale = 0;
  bool flushes_denormals = false;
};

const UnaryCase kUnary[] = {
    {"exp", math::Exp, std::exp, 2},    {"expm1", math::Expm1, std::expm1, 4},
    {"log", math::Log, std::log, 3},    {"log1p", math::Log1p, std::log1p, 4},
    {"sin", math::Sin, std::sin, 2, 1}, {"cos", math::Cos, std::cos, 2, 1},
    {"tanh", math::Tanh, std::tanh, 3}, {"logistic", math::Logistic, ExactLogistic, 3, 0, true},
    {"erf", math::Erf, std::erf, 3},
};

struct BinaryCase {
  const char* name;
  Binary emit;
  Exact2 exact;
  double ulps32, ulps64;
};

const BinaryCase kBinary[] = {
    {"pow", math::Pow, std::pow, 1, 8},
    {"atan2", math::Atan2, std::atan2, 4, 4},
    {"fmod", math::Fmod, std::fmod, 0, 0},
};

// The distance of neighbouring T's at |x|.
template <typename T>
long double Ulp(long double x) {
  x = std::fabs(x);
  int exponent;
  std::frexp(x, &exponent);
  const int digits = std::numeric_limits<T>::digits;
  return std::ldexp(1.0L, std::max(exponent, std::numeric_limits<T>::min_exponent) - digits);
}

// Error in units; infinite where one is NaN or infinite and the other is not.
template <typename T>
double Error(T got, long double want, double scale, bool flushes_denormals) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got) ? 0 : kInf;
  const T rounded = static_cast<T>(want);
  if (got == rounded) return 0;
  if (std::isinf(got) || std::isinf(rounded)) {
    // Next to the largest number, an error may turn into infinity.
    const long double max = std::numeric_limits<T>::max();
    const T other = std::isinf(got) ? rounded : got;
    return static_cast<double>((max - std::fabs(static_cast<long double>(other))) / Ulp<T>(max)) +
           1;
  }
  if (flushes_denormals && std::fabs(want) < std::numeric_limits<T>::min() && got == 0) return 0;
  return static_cast<double>(std::fabs(got - want) /
                             Ulp<T>(std::max<long double>(std::fabs(want), scale)));
}

// Numbers of every magnitude, the interesting range more often, and the special ones.
template <typename T>
std::vector<T> Arguments(size_t count, int seed) {
  std::mt19937_64 random(seed);
  std::vector<T> values = {0.0,
                           static_cast<T>(-0.0),
                           1.0,
                           -1.0,
                           static_cast<T>(kInf),
                           static_cast<T>(-kInf),
                           std::numeric_limits<T>::quiet_NaN(),
                           std::numeric_limits<T>::min(),
                           -std::numeric_limits<T>::min(),
                           std::numeric_limits<T>::max(),
                           -std::numeric_limits<T>::max(),
                           std::numeric_limits<T>::denorm_min(),
                           2.0,
                           0.5,
                           -0.5,
                           3.0,
                           -3.0};
  std::uniform_real_distribution<double> near(-6, 6), wide(-120, 120), far(-800, 800),
      one(-1e-2, 1e-2);
  while (values.size() < count) {
    switch (values.size() % 5) {
      case 0: {
        const uint64_t bits = random();
        T value;
        std::memcpy(&value, &bits, sizeof value);
        values.push_back(value);
        break;
      }
      case 1:
        values.push_back(near(random));
        break;
      case 2:
        values.push_back(wide(random));
        break;
      case 3:
        values.push_back(far(random));
        break;
      default:
        values.push_back(1 + one(random));
    }
  }
  return values;
}

template <typename T>
void RunUnary(const std::string& name, int64_t lanes, bool divides_fast = false) {
  mlir::MLIRContext context;
  const Target target = *Target::Parse(name);
  math::Instructions instructions = MathInstructions(target);
  instructions.divides_fast = divides_fast;
  TestModule module(context, target);
  mlir::Builder builder(&context);
  mlir::Type element = sizeof(T) == 4 ? mlir::Type(builder.getF32Type()) : builder.getF64Type();
  for (const UnaryCase& c : kUnary) {
    EmitMap(module.module(), c.name, {element}, element, lanes,
            [&](mlir::ImplicitLocOpBuilder& b, const std::vector<mlir::Value>& x) {
              return c.emit({b, x[0].getType(), instructions}, x[0]);
            });
  }
  module.Compile();
  const std::vector<T> x = Arguments<T>(lanes == 1 ? 20000 : 400000, 1);
  std::vector<T> y(x.size());
  for (const UnaryCase& c : kUnary) {
    WeftKernel kernel = module.Find(c.name);
    ASSERT_NE(kernel, nullptr);
    void* buffers[] = {const_cast<T*>(x.data()), y.data()};
    kernel(buffers, nullptr, 0, x.size() / 32 * 32, nullptr);
    double worst = 0;
    size_t where = 0;
    for (size_t i = 0; i < x.size() / 32 * 32; ++i) {
      const double error = Error<T>(y[i], c.exact(x[i]), c.scale, c.flushes_denormals);
      if (error > worst) worst = error, where = i;
    }
    EXPECT_LE(worst, c.ulps) << c.name << "(" << x[where] << ") = " << y[where] << ", not "
                             << c.exact(x[where]);
  }
}

// Lanes that fill no register, one or several.
TEST(Math, UnaryF32) { RunUnary<float>("cpu:native", 32); }
TEST(Math, UnaryF64) { RunUnary<double>("cpu:native", 16); }
TEST(Math, UnaryFewLanesF32) { RunUnary<float>("cpu:native", 2); }
TEST(Math, UnaryFewLanesF64) { RunUnary<double>("cpu:native", 4); }
TEST(Math, UnaryScalarF32) { RunUnary<float>("cpu:native", 1); }
TEST(Math, UnaryScalarF64) { RunUnary<double>("cpu:native", 1); }
TEST(Math, UnaryByDivisionF32) { RunUnary<float>("cpu:native", 32, true); }
TEST(Math, UnaryPortableF32) { RunUnary<float>("cpu:x86-64-v3", 32); }
TEST(Math, UnaryPortableF64) { RunUnary<double>("cpu:x86-64-v3", 16); }
TEST(Math, UnaryPortableScalarF32) { RunUnary<float>("cpu:x86-64-v3", 1); }

template <typename T>
void RunBinary(const std::string& name, int64_t lanes) {
  mlir::MLIRContext context;
  const Target target = *Target::Parse(name);
  TestModule module(context, target);
  mlir::Builder builder(&context);
  mlir::Type element = sizeof(T) == 4 ? mlir::Type(builder.getF32Type()) : builder.getF64Type();
  for (const BinaryCase& c : kBinary) {
    EmitMap(module.module(), c.name, {element, element}, element, lanes,
            [&](mlir::ImplicitLocOpBuilder& b, const std::vector<mlir::Value>& x) {
              return c.emit({b, x[0].getType(), MathInstructions(target)}, x[0], x[1]);
            });
  }
  module.Compile();
  // Every pair of the special numbers, then random pairs.
  std::vector<T> special = Arguments<T>(17, 0), first, second;
  for (T a : special) {
    for (T b : special) first.push_back(a), second.push_back(b);
  }
  const std::vector<T> a = Arguments<T>(200000, 2), b = Arguments<T>(200003, 3);
  first.insert(first.end(), a.begin(), a.end());
  second.insert(second.end(), b.begin(), b.begin() + a.size());
  first.resize(first.size() / 32 * 32);
  std::vector<T> y(first.size());
  for (const BinaryCase& c : kBinary) {
    WeftKernel kernel = module.Find(c.name);
    ASSERT_NE(kernel, nullptr);
    void* buffers[] = {first.data(), second.data(), y.data()};
    kernel(buffers, nullptr, 0, first.size(), nullptr);
    double worst = 0;
    size_t where = 0;
    for (size_t i = 0; i < first.size(); ++i) {
      const double error = Error<T>(y[i], c.exact(first[i], second[i]), 0, false);
      if (error > worst) worst = error, where = i;
    }
    EXPECT_LE(worst, sizeof(T) == 4 ? c.ulps32 : c.ulps64)
        << c.name << "(" << first[where] << ", " << second[where] << ") = " << y[where] << ", not "
        << c.exact(first[where], second[where]);
  }
}

TEST(Math, BinaryF32) { RunBinary<float>("cpu:native", 32); }
TEST(Math, BinaryF64) { RunBinary<double>("cpu:native", 16); }
TEST(Math, BinaryScalarF64) { RunBinary<double>("cpu:native", 1); }
TEST(Math, BinaryPortableF32) { RunBinary<float>("cpu:x86-64-v3", 32); }
TEST(Math, BinaryPortableF64) { RunBinary<double>("cpu:x86-64-v3", 16); }

}  // namespace
}  // namespace weft
