// How far compiled code may be from the reference, in units in the last place.
#ifndef WEFT_TESTS_CONFORMANCE_TOLERANCE_H_
#define WEFT_TESTS_CONFORMANCE_TOLERANCE_H_

#include <algorithm>
#include <cmath>

#include "proto/dtype.h"

namespace weft {

struct FloatFormat {
  int bits = 0;     // of the fraction; 0 for dtypes of whole numbers
  int lowest = 0;   // exponent of the smallest normal number
  int highest = 0;  // exponent of the largest number
};

inline FloatFormat FormatOf(DataType dtype) {
  switch (dtype) {
    case DataType::kF64:
      return {52, -1022, 1023};
    case DataType::kF32:
      return {23, -126, 127};
    case DataType::kBF16:
      return {7, -126, 127};
    case DataType::kF16:
      return {10, -14, 15};
    default:
      return {};
  }
}

// Distance of neighbouring numbers at |x| in the dtype; 0 for whole numbers.
inline double UnitInLastPlace(DataType dtype, double x) {
  const FloatFormat format = FormatOf(dtype);
  if (format.bits == 0) return 0;
  const int exponent = x == 0 ? format.lowest : std::max(std::ilogb(x), format.lowest);
  return std::ldexp(1, exponent - format.bits);
}

}  // namespace weft

#endif  // WEFT_TESTS_CONFORMANCE_TOLERANCE_H_
