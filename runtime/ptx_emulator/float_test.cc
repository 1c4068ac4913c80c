#include <algorithm>
#include <bit>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "gtest/gtest.h"
#include "runtime/ptx_emulator/test_kernel.h"

// Floating-point instructions against the processor's own rounding modes, and short formats against
// a search of all their numbers.
namespace weft::ptx {
namespace {

constexpr size_t kRows = 400;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class T>
std::vector<T> Samples(unsigned seed) {
  std::mt19937_64 random(seed);
  const T corners[] = {T{0},
                       -T{0},
                       T{1},
                       T{-1.5},
                       std::numeric_limits<T>::infinity(),
                       -std::numeric_limits<T>::infinity(),
                       std::numeric_limits<T>::quiet_NaN(),
                       std::numeric_limits<T>::denorm_min(),
                       std::numeric_limits<T>::max(),
                       std::numeric_limits<T>::min()};
  std::vector<T> values;
  for (size_t i = 0; i < kRows; ++i) {
    if (i % 8 == 0) {
      values.push_back(corners[random() % std::size(corners)]);
    } else if (i % 8 < 3) {
      // Any exponent.
      const uint64_t bits = random();
      T value;
      std::memcpy(&value, &bits, sizeof value);
      values.push_back(value);
    } else {
      values.push_back(
          static_cast<T>(std::ldexp(static_cast<double>(static_cast<int64_t>(random())),
                                    static_cast<int>(random() % 20) - 70)));
    }
  }
  return values;
}

template <class T>
bool Same(T a, T b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

struct Mode {
  const char* name;
  int mode;
};
constexpr Mode kModes[] = {
    {"rn", FE_TONEAREST}, {"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}};

template <class T, class F>
void CheckRounded(const std::string& name, const std::string& operands, F expected) {
  const std::string type = sizeof(T) == 4 ? "f32" : "f64";
  const std::vector<T> a = Samples<T>(1), b = Samples<T>(2), c = Samples<T>(3);
  for (const Mode& mode : kModes) {
    SCOPED_TRACE(Cat(name, ".", mode.name, ".", type));
    const std::vector<T> got =
        RunRows<T>(Cat(name, ".", mode.name, ".", type, " %d, ", operands, ";"), a, b, c);
    for (size_t i = 0; i < kRows; ++i) {
      std::fesetround(mode.mode);
      volatile T x = a[i], y = b[i], z = c[i];
      volatile T result = expected(x, y, z);
      std::fesetround(FE_TONEAREST);
      ASSERT_TRUE(Same<T>(got[i], result))
          << a[i] << " " << b[i] << " " << c[i] << ": " << got[i] << " for " << result;
    }
  }
}

template <class T>
void CheckArithmetic() {
  using V = volatile T&;
  CheckRounded<T>("add", "%a0, %a1", [](V a, V b, V) { return a + b; });
  CheckRounded<T>("sub", "%a0, %a1", [](V a, V b, V) { return a - b; });
  CheckRounded<T>("mul", "%a0, %a1", [](V a, V b, V) { return a * b; });
  CheckRounded<T>("div", "%a0, %a1", [](V a, V b, V) { return a / b; });
  CheckRounded<T>("fma", "%a0, %a1, %a2", [](V a, V b, V c) { return std::fma(T{a}, T{b}, T{c}); });
  CheckRounded<T>("rcp", "%a0", [](V a, V, V) { return T{1} / a; });
  CheckRounded<T>("sqrt", "%a0", [](V a, V, V) { return std::sqrt(T{a}); });
}

TEST(Float, ArithmeticInAllRoundings) {
  CheckArithmetic<float>();
  CheckArithmetic<double>();
}

TEST(Float, OptionsOfArithmetic) {
  const float tiny = std::numeric_limits<float>::denorm_min() * 1000;
  EXPECT_EQ(RunRows<float>("add.ftz.f32 %d, %a0, %a1;", std::vector<float>{tiny, -tiny},
                           std::vector<float>{1.0f, -tiny}),
            (std::vector<float>{1.0f, -0.0f}));
  EXPECT_EQ(RunRows<float>("mul.rn.ftz.f32 %d, %a0, 0f3F000000;",
                           std::vector<float>{std::numeric_limits<float>::min()})[0],
            0.0f);
  EXPECT_EQ(RunRows<float>("mul.rn.f32 %d, %a0, 0f3F000000;",
                           std::vector<float>{std::numeric_limits<float>::min()})[0],
            std::numeric_limits<float>::min() / 2);
  EXPECT_EQ(RunRows<float>("add.sat.f32 %d, %a0, %a0;", std::vector<float>{-1, 0.25, 3, NAN}),
            (std::vector<float>{0, 0.5, 1, 0}));
  // NaN has one form.
  EXPECT_EQ(RunRows<uint32_t>("add.f32 %d, %a0, %a0;", std::vector<uint32_t>{0xffc12345u})[0],
            0x7fffffffu);
}

TEST(Float, MinimumMaximumAndSigns) {
  const std::vector<float> a = {1, NAN, -0.0f, 3, NAN}, b = {2, 5, 0.0f, -4, NAN};
  const auto check = [&](const std::string& instruction, std::vector<float> expected) {
    const std::vector<float> got = RunRows<float>(instruction + " %d, %a0, %a1;", a, b);
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_TRUE(Same(got[i], expected[i])) << instruction << " " << i << " " << got[i];
  };
  check("min.f32", {1, 5, -0.0f, -4, NAN});
  check("max.f32", {2, 5, 0.0f, 3, NAN});
  check("max.NaN.f32", {2, NAN, 0.0f, 3, NAN});
  check("min.xorsign.abs.f32", {1, 5, -0.0f, -3, NAN});
  check("copysign.f32", {2, 5, -0.0f, 4, NAN});  // the first one's sign
  EXPECT_EQ(RunRows<float>("neg.f32 %d, %a0;", std::vector<float>{2, -0.0f}),
            (std::vector<float>{-2, 0}));
  EXPECT_EQ(RunRows<double>("abs.f64 %d, %a0;", std::vector<double>{-2.5})[0], 2.5);
}

TEST(Float, ComparisonsWithNan) {
  const std::vector<float> a = {1, 2, 2, NAN}, b = {2, 1, 2, 1};
  const auto compare = [&](const std::string& comparison) {
    return RunRows<uint32_t>("setp." + comparison + ".f32 %p, %a0, %a1; selp.b32 %d, 1, 0, %p;", a,
                             b);
  };
  using V = std::vector<uint32_t>;
  EXPECT_EQ(compare("eq"), (V{0, 0, 1, 0}));
  EXPECT_EQ(compare("ne"), (V{1, 1, 0, 0}));
  EXPECT_EQ(compare("neu"), (V{1, 1, 0, 1}));
  EXPECT_EQ(compare("lt"), (V{1, 0, 0, 0}));
  EXPECT_EQ(compare("ltu"), (V{1, 0, 0, 1}));
  EXPECT_EQ(compare("ge"), (V{0, 1, 1, 0}));
  EXPECT_EQ(compare("geu"), (V{0, 1, 1, 1}));
  EXPECT_EQ(compare("num"), (V{1, 1, 1, 0}));
  EXPECT_EQ(compare("nan"), (V{0, 0, 0, 1}));
  EXPECT_EQ(RunRows<uint32_t>("testp.infinite.f32 %p, %a0; selp.b32 %d, 1, 0, %p;",
                              std::vector<float>{1, kInfinity, NAN}),
            (V{0, 1, 0}));
}

// PTX's bounds: 2 ulp (2^-22 relative) for most; absolute 2^-20.5 for sin and cos, 2^-11 relative
// for tanh.
TEST(Float, Approximations) {
  std::vector<float> a;
  std::mt19937 random(3);
  for (size_t i = 0; i < kRows; ++i)
    a.push_back(static_cast<float>(random() % 100000) / 10000.0f - 3.0f);
  const auto check = [&](const std::string& name, double (*expected)(double), double relative,
                         double absolute) {
    SCOPED_TRACE(name);
    const std::vector<float> got = RunRows<float>(name + ".f32 %d, %a0;", a);
    for (size_t i = 0; i < kRows; ++i) {
      const double value = expected(a[i]);
      if (std::isnan(value)) {
        EXPECT_TRUE(std::isnan(got[i]));
      } else if (std::isinf(value)) {
        EXPECT_EQ(got[i], value);
      } else {
        EXPECT_NEAR(got[i], value, std::fabs(value) * relative + absolute);
      }
    }
  };
  check("ex2.approx", +[](double x) { return std::exp2(x); }, 0x1p-22, 0);
  check("lg2.approx", +[](double x) { return std::log2(x); }, 0x1p-22, 0);
  check("rcp.approx.ftz", +[](double x) { return 1 / x; }, 0x1p-23, 0);
  check("rsqrt.approx", +[](double x) { return 1 / std::sqrt(x); }, 0x1p-22, 0);
  check("sqrt.approx", +[](double x) { return std::sqrt(x); }, 0x1p-23, 0);
  check("sin.approx", +[](double x) { return std::sin(x); }, 0, 0x1p-20);
  check("cos.approx", +[](double x) { return std::cos(x); }, 0, 0x1p-20);
  check("tanh.approx", +[](double x) { return std::tanh(x); }, 0x1p-11, 0);
  EXPECT_EQ(
      RunRows<float>("div.full.f32 %d, %a0, %a1;", std::vector<float>{1}, std::vector<float>{4})[0],
      0.25f);
  EXPECT_EQ(RunRows<float>("ex2.approx.ftz.f32 %d, %a0;", std::vector<float>{-130})[0], 0.0f);
  EXPECT_NEAR(RunRows<double>("rcp.approx.ftz.f64 %d, %a0;", std::vector<double>{3})[0], 1.0 / 3,
              0x1p-22);
}

// All numbers of a format of 16 bits by value, to round by search.
struct Table {
  std::vector<std::pair<long double, uint16_t>> numbers;  // not negative, finite
  long double limit;                                      // from here on infinity
  uint16_t infinity;

  uint16_t Round(long double value) const {
    if (std::isnan(value)) return 0x7fff;
    const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    const long double magnitude = std::fabs(value);
    if (magnitude >= limit) return sign | infinity;
    auto above = std::lower_bound(numbers.begin(), numbers.end(),
                                  std::pair<long double, uint16_t>(magnitude, 0));
    if (above == numbers.end()) return sign | numbers.back().second;
    if (above->first == magnitude) return sign | above->second;
    const auto below = std::prev(above);
    const long double to_above = above->first - magnitude, to_below = magnitude - below->first;
    if (to_above != to_below) return sign | (to_above < to_below ? above->second : below->second);
    return sign | ((above->second & 1) == 0 ? above->second : below->second);
  }
};

template <class F>
Table MakeTable(uint16_t infinity, F value) {
  Table table;
  for (uint32_t bits = 0; bits < infinity; ++bits)
    table.numbers.push_back({value(static_cast<uint16_t>(bits)), static_cast<uint16_t>(bits)});
  const long double last = table.numbers.back().first;
  table.limit = last + (last - table.numbers[table.numbers.size() - 2].first) / 2;
  table.infinity = infinity;
  return table;
}

// By the definition of the formats, not by the emulator's conversions.
long double HalfValue(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const long double magnitude = exponent == 31  ? (mantissa != 0 ? NAN : INFINITY)
                                : exponent == 0 ? std::ldexp(mantissa, -24)
                                                : std::ldexp(1024 + mantissa, exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}
long double BfloatValue(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

std::vector<uint16_t> ShortSamples(unsigned seed) {
  std::mt19937 random(seed);
  std::vector<uint16_t> values;
  for (size_t i = 0; i < kRows; ++i)
    values.push_back(static_cast<uint16_t>(
        i % 4 == 0 ? random() : 0x3000 + random() % 0x1800 + (random() % 2) * 0x8000));
  return values;
}

bool SameShort(uint16_t a, uint16_t b, uint16_t infinity) {
  return a == b || ((a & 0x7fff) > infinity && (b & 0x7fff) > infinity);
}

TEST(ShortFloat, Arithmetic) {
  const Table half = MakeTable(0x7c00, HalfValue), bfloat = MakeTable(0x7f80, BfloatValue);
  const std::vector<uint16_t> a = ShortSamples(1), b = ShortSamples(2), c = ShortSamples(3);
  const auto check = [&](const std::string& instruction, const std::string& operands,
                         const Table& table, long double (*value)(uint16_t),
                         long double (*expected)(long double, long double, long double)) {
    SCOPED_TRACE(instruction);
    const std::vector<uint16_t> got =
        RunRows<uint16_t>(Cat(instruction, " %d, ", operands, ";"), a, b, c);
    for (size_t i = 0; i < kRows; ++i) {
      const uint16_t want = table.Round(expected(value(a[i]), value(b[i]), value(c[i])));
      ASSERT_TRUE(SameShort(got[i], want, table.infinity))
          << std::hex << a[i] << " " << b[i] << " " << c[i] << ": " << got[i] << " for " << want;
    }
  };
  const auto add = +[](long double x, long double y, long double) { return x + y; };
  const auto sub = +[](long double x, long double y, long double) { return x - y; };
  const auto mul = +[](long double x, long double y, long double) { return x * y; };
  check("add.rn.f16", "%a0, %a1", half, HalfValue, add);
  check("sub.f16", "%a0, %a1", half, HalfValue, sub);
  check("mul.rn.f16", "%a0, %a1", half, HalfValue, mul);
  check("add.rn.bf16", "%a0, %a1", bfloat, BfloatValue, add);
  check("mul.rn.bf16", "%a0, %a1", bfloat, BfloatValue, mul);
  // Exact in 64 bits where the exponents are near.
  const auto fma = +[](long double x, long double y, long double z) { return x * y + z; };
  check("fma.rn.f16", "%a0, %a1, %a2", half, HalfValue, fma);
  // A product just above the middle between two numbers, moved there by an addend far below what a
  // double holds beside it.
  const std::vector<uint16_t> got = RunRows<uint16_t>(
      "fma.rn.bf16 %d, %a0, %a1, %a2;", std::vector<uint16_t>{0x3f81, 0x3f81},
      std::vector<uint16_t>{0x3fc0, 0x3fc0}, std::vector<uint16_t>{0x0080, 0x8080});
  // 1.0078125 * 1.5 = 1.51171875 lies in the middle of 0x3fc1 and 0x3fc2.
  EXPECT_EQ(got, (std::vector<uint16_t>{0x3fc2, 0x3fc1}));
}

TEST(ShortFloat, Pairs) {
  const std::vector<uint32_t> a = {0x3c004000},
                              b = {0x40003c00};  // {2, 1} and {1, 2}, low half first
  EXPECT_EQ(RunRows<uint32_t>("add.rn.f16x2 %d, %a0, %a1;", a, b)[0], 0x42004200u);
  EXPECT_EQ(RunRows<uint32_t>("fma.rn.f16x2 %d, %a0, %a1, %a0;", a, b)[0], 0x42004400u);
  EXPECT_EQ(RunRows<uint32_t>("fma.rn.relu.f16x2 %d, %a0, %a1, 0xc800c800;", a, b)[0], 0u);
  EXPECT_EQ(RunRows<uint32_t>("max.f16x2 %d, %a0, %a1;", a, b)[0], 0x40004000u);
  EXPECT_EQ(RunRows<uint32_t>("neg.f16x2 %d, %a0;", a)[0], 0xbc00c000u);
  EXPECT_EQ(RunRows<uint32_t>("mul.rn.bf16x2 %d, %a0, %a0;", std::vector<uint32_t>{0x40003fc0})[0],
            0x40804010u);  // 2*2, 1.5*1.5
  EXPECT_EQ(RunRows<uint32_t>("setp.lt.f16x2 %p|%q, %a0, %a1; selp.b32 %d, 1, 0, %p; selp.b32 %t0, "
                              "2, 0, %q; or.b32 %d, %d, %t0;",
                              a, b)[0],
            2u);
  EXPECT_EQ(RunRows<uint16_t>("setp.gt.f16 %p, %a0, 0x3c00; selp.b16 %d, 7, 9, %p;",
                              std::vector<uint16_t>{0x3c01, 0x7e00}),
            (std::vector<uint16_t>{7, 9}));
  EXPECT_EQ(RunRows<uint16_t>("ex2.approx.f16 %d, %a0;", std::vector<uint16_t>{0x4200})[0],
            0x4800u);  // 2^3
}

}  // namespace
}  // namespace weft::ptx
