#ifndef WEFT_RUNTIME_PTX_EMULATOR_FLOAT_FORMATS_H_
#define WEFT_RUNTIME_PTX_EMULATOR_FLOAT_FORMATS_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

// Floating-point formats that C++ lacks, and rounding as PTX names it.
namespace weft::ptx {

enum class Rounding : uint8_t { kNearestEven, kZero, kDown, kUp, kNearestAway };

struct FloatFormat {
  int precision;     // significant bits, with the hidden one
  int min_exponent;  // of the smallest normal number
  double max;        // the largest finite number
};
inline constexpr FloatFormat kHalf = {11, -14, 65504.0};
inline constexpr FloatFormat kBfloat = {8, -126, 0x1.fep127};
inline constexpr FloatFormat kTensorFloat = {11, -126, 0x1.ffcp127};
inline constexpr FloatFormat kSingle = {24, -126, 0x1.fffffep127};
inline constexpr FloatFormat kE4m3 = {4, -6, 448.0};
inline constexpr FloatFormat kE5m2 = {3, -14, 57344.0};

// The number of the format that `value` rounds to, as a double; beyond the largest finite number
// what the rounding says (infinity or that number). NaN stays NaN.
inline double RoundTo(const FloatFormat& format, double value, Rounding rounding) {
  if (value == 0 || !std::isfinite(value)) return value;
  const int exponent = std::ilogb(value);
  const int quantum =
      (exponent < format.min_exponent ? format.min_exponent : exponent) - (format.precision - 1);
  const double scaled = std::ldexp(value, -quantum);
  double rounded = scaled;
  switch (rounding) {
    case Rounding::kNearestEven:
      rounded = std::nearbyint(scaled);
      break;
    case Rounding::kZero:
      rounded = std::trunc(scaled);
      break;
    case Rounding::kDown:
      rounded = std::floor(scaled);
      break;
    case Rounding::kUp:
      rounded = std::ceil(scaled);
      break;
    case Rounding::kNearestAway:
      rounded = std::round(scaled);
      break;
  }
  rounded = std::copysign(std::ldexp(rounded, quantum), value);
  if (std::fabs(rounded) <= format.max) return rounded;
  const bool to_infinity =
      rounding == Rounding::kNearestEven || rounding == Rounding::kNearestAway ||
      (rounding == Rounding::kUp && value > 0) || (rounding == Rounding::kDown && value < 0);
  return std::copysign(to_infinity ? std::numeric_limits<double>::infinity() : format.max, value);
}

// The sum rounded to odd: rounding that again to fewer bits gives what rounding the exact sum
// would.
inline double AddToOdd(double a, double b) {
  const double sum = a + b;
  if (!std::isfinite(sum)) return sum;
  const double b_part = sum - a;
  const double error = (a - (sum - b_part)) + (b - b_part);
  if (error == 0 || (std::bit_cast<uint64_t>(sum) & 1) != 0) return sum;
  // The exact sum lies between `sum` and its neighbour on the side of the error, which is odd.
  return std::nextafter(sum, error > 0 ? std::numeric_limits<double>::infinity()
                                       : -std::numeric_limits<double>::infinity());
}

// `approximate` is the nearest double to an exact value; `residual` has the sign of exact minus
// approximate.
inline double StickToOdd(double approximate, double residual) {
  if (residual == 0 || std::isnan(residual) || !std::isfinite(approximate) ||
      (std::bit_cast<uint64_t>(approximate) & 1) != 0)
    return approximate;
  return std::nextafter(approximate, residual > 0 ? std::numeric_limits<double>::infinity()
                                                  : -std::numeric_limits<double>::infinity());
}

inline constexpr uint16_t kHalfNan = 0x7fff;
inline constexpr uint16_t kBfloatNan = 0x7fff;
inline constexpr uint32_t kSingleNan = 0x7fffffff;

inline float HalfToFloat(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  const uint32_t sign = uint32_t(half & 0x8000u) << 16;
  // Exponents move from bias 15 to 127 by one multiplication, subnormal numbers too.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t bits =
      magnitude >= 0x7c00u ? (magnitude << 13) | 0x7f800000u : std::bit_cast<uint32_t>(scaled);
  return std::bit_cast<float>(bits | sign);
}

inline float BfloatToFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// Of a number that the format has, as RoundTo makes it.
inline uint16_t HalfBits(double exact) {
  if (std::isnan(exact)) return kHalfNan;
  const uint16_t sign = std::signbit(exact) ? 0x8000 : 0;
  const double magnitude = std::fabs(exact);
  if (std::isinf(magnitude)) return sign | 0x7c00;
  if (magnitude < 0x1p-14) return sign | static_cast<uint16_t>(magnitude * 0x1p24);
  const uint64_t bits = std::bit_cast<uint64_t>(magnitude);
  return sign | static_cast<uint16_t>((((bits >> 52) - 1023 + 15) << 10) | (bits >> 42 & 0x3ff));
}

inline uint16_t BfloatBits(double exact) {
  if (std::isnan(exact)) return kBfloatNan;
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(exact)) >> 16);
}

// To nearest, for formats of 16 bits with an infinity.
template <int kMantissaBits, int kMinExponent, int kBias>
uint16_t NearestBits(double value) {
  constexpr int kShift = 52 - kMantissaBits;
  constexpr uint64_t kInfinity = uint64_t{2 * kBias + 1} << kMantissaBits;
  if (std::isnan(value)) return kHalfNan;
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(value);
  const uint64_t bits = std::bit_cast<uint64_t>(magnitude);
  if (bits >> 52 < uint64_t{1023 + kMinExponent}) {
    // A subnormal number is its mantissa; 2^(bits - exponent) moves that to the integers.
    constexpr double kScale =
        std::bit_cast<double>(uint64_t{1023 + kMantissaBits - kMinExponent} << 52);
    return sign | static_cast<uint16_t>(std::lrint(magnitude * kScale));
  }
  const uint64_t rounded =
      (bits + (uint64_t{1} << (kShift - 1)) - 1 + (bits >> kShift & 1)) >> kShift;
  const uint64_t result = rounded - (uint64_t{1023 - kBias} << kMantissaBits);
  return sign | static_cast<uint16_t>(result < kInfinity ? result : kInfinity);
}

inline uint16_t DoubleToHalf(double value, Rounding rounding = Rounding::kNearestEven) {
  return rounding == Rounding::kNearestEven ? NearestBits<10, -14, 15>(value)
                                            : HalfBits(RoundTo(kHalf, value, rounding));
}
inline uint16_t DoubleToBfloat(double value, Rounding rounding = Rounding::kNearestEven) {
  return rounding == Rounding::kNearestEven ? NearestBits<7, -126, 127>(value)
                                            : BfloatBits(RoundTo(kBfloat, value, rounding));
}
inline float DoubleToSingle(double value, Rounding rounding) {
  return rounding == Rounding::kNearestEven ? static_cast<float>(value)
                                            : static_cast<float>(RoundTo(kSingle, value, rounding));
}

// The tensor cores do not look at the low 13 bits of a tf32 operand.
inline float TruncateToTensorFloat(uint32_t bits) {
  return std::bit_cast<float>(bits & 0xffffe000u);
}

// e4m3 has no infinity, one NaN of each sign; e5m2 is like a short half.
inline float E4m3ToFloat(uint8_t bits) {
  const int exponent = bits >> 3 & 15;
  const int mantissa = bits & 7;
  if (exponent == 15 && mantissa == 7) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = exponent == 0 ? std::ldexp(float(mantissa), -9)
                                        : std::ldexp(float(8 + mantissa), exponent - 10);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}
inline float E5m2ToFloat(uint8_t bits) { return HalfToFloat(static_cast<uint16_t>(bits << 8)); }

// Rounded to nearest, saturating to the largest finite number, as cvt.rn.satfinite does.
inline uint8_t DoubleToE4m3(double value) {
  if (std::isnan(value)) return 0x7f;
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  double magnitude = std::fabs(RoundTo(kE4m3, value, Rounding::kNearestEven));
  if (magnitude > kE4m3.max) magnitude = kE4m3.max;
  if (magnitude < 0x1p-6) return sign | static_cast<uint8_t>(magnitude * 0x1p9);
  const int exponent = std::ilogb(magnitude);
  return sign | static_cast<uint8_t>((exponent + 7) << 3) |
         static_cast<uint8_t>(std::ldexp(magnitude, 3 - exponent) - 8);
}
inline uint8_t DoubleToE5m2(double value) {
  if (std::isnan(value)) return 0x7f;
  double rounded = RoundTo(kE5m2, value, Rounding::kNearestEven);
  if (std::fabs(rounded) > kE5m2.max) rounded = std::copysign(kE5m2.max, rounded);
  return static_cast<uint8_t>(HalfBits(rounded) >> 8);
}

template <class T>
T FlushSubnormal(T value) {
  return std::fabs(value) < std::numeric_limits<T>::min() ? std::copysign(T{0}, value) : value;
}

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_FLOAT_FORMATS_H_
