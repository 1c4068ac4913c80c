// Values of 16-bit floats, for their text. By hand, because the compiler would call its run-time
// library for _Float16.
#ifndef WEFT_RUNTIME_CORE_HALF_H_
#define WEFT_RUNTIME_CORE_HALF_H_

#include <stdint.h>
#include <string.h>

// Of IEEE half precision.
inline float WeftFromHalf(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16;
  const uint32_t exponent = bits >> 10 & 0x1fu, fraction = bits & 0x3ffu;
  float magnitude;
  if (exponent == 0) {
    magnitude = static_cast<float>(fraction) * 0x1p-24f;
  } else {
    const uint32_t wide =
        exponent == 31 ? 0x7f800000u | fraction << 13 : (exponent + 112) << 23 | fraction << 13;
    memcpy(&magnitude, &wide, sizeof(magnitude));
  }
  return sign != 0 ? -magnitude : magnitude;
}

// Of the upper half of an f32.
inline float WeftFromBfloat16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  memcpy(&value, &wide, sizeof(value));
  return value;
}

#endif  // WEFT_RUNTIME_CORE_HALF_H_
