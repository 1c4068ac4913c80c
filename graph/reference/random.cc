#include <cmath>
#include <numbers>

#include "graph/reference/elementwise.h"
#include "graph/reference/index.h"
#include "graph/reference/kernels.h"
#include "graph/reference/philox.h"
#include "graph/reference/scalar.h"

namespace weft::reference {
namespace {

// One f32, f64, f16 or bf16 for each element: f(type, index).
template <typename F>
absl::StatusOr<HostTensor> Generate(Sizes shape, DataType dtype, F&& f) {
  absl::StatusOr<HostTensor> y = HostTensor::Create(dtype, shape);
  if (!y.ok()) return y;
  return WithTypeOf(Types<float, double, F16, BF16>{}, dtype, [&](auto type) {
    using T = decltype(type);
    absl::Span<T> out = y->mutable_values<T>();
    for (size_t i = 0; i < out.size(); ++i) out[i] = Store<T>(f(type, i));
    return y;
  });
}

// Bits of a word that the type's significand holds, so that the quotient is exact and below 1.
template <typename T>
constexpr int UniformBits() {
  return std::is_same_v<T, double> ? 32
         : std::is_same_v<T, F16>  ? 11
         : std::is_same_v<T, BF16> ? 8
                                   : 24;
}

// Box-Muller from the words of a pair. `Real` is the precision in which the uniform numbers are
// made, which decides how far into the tails they reach.
template <typename Real>
double Normal(uint32_t radius_word, uint32_t angle_word, bool sine) {
  const Real u = (static_cast<Real>(radius_word) + Real{0.5}) * static_cast<Real>(0x1p-32);
  const Real t = static_cast<Real>(angle_word) * static_cast<Real>(2 * std::numbers::pi * 0x1p-32);
  const double radius = std::sqrt(-2 * std::log(static_cast<double>(u)));
  return radius * (sine ? std::sin(static_cast<double>(t)) : std::cos(static_cast<double>(t)));
}

}  // namespace

absl::StatusOr<HostTensor> RandomUniform(uint32_t seed, int64_t stream, Sizes shape,
                                         DataType dtype) {
  return Generate(shape, dtype, [&](auto type, uint64_t i) {
    constexpr int kBits = UniformBits<decltype(type)>();
    return std::ldexp(static_cast<double>(RandomWord(seed, stream, i) >> (32 - kBits)), -kBits);
  });
}

absl::StatusOr<HostTensor> RandomNormal(uint32_t seed, int64_t stream, Sizes shape,
                                        DataType dtype) {
  return Generate(shape, dtype, [&](auto type, uint64_t i) {
    const uint32_t radius = RandomWord(seed, stream, i & ~uint64_t{1});
    const uint32_t angle = RandomWord(seed, stream, i | 1);
    const bool sine = (i & 1) != 0;
    return std::is_same_v<decltype(type), double> ? Normal<double>(radius, angle, sine)
                                                  : Normal<float>(radius, angle, sine);
  });
}

absl::StatusOr<HostTensor> RandomBits(uint32_t seed, int64_t stream, Sizes shape) {
  absl::StatusOr<HostTensor> y = HostTensor::Create(DataType::kI32, shape);
  if (!y.ok()) return y;
  absl::Span<int32_t> out = y->mutable_values<int32_t>();
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<int32_t>(RandomWord(seed, stream, i));
  }
  return y;
}

}  // namespace weft::reference
