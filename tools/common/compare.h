// How far two tensors are apart.
#ifndef WEFT_TOOLS_COMMON_COMPARE_H_
#define WEFT_TOOLS_COMMON_COMPARE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "proto/host_tensor.h"

namespace weft::cli {

struct Comparison {
  bool agrees = false;
  bool same_type = false;  // dtype and shape; where not, nothing else is compared
  std::string types;       // "f32[2], expected f32[3]" where not
  int64_t elements = 0;
  int64_t differing = 0;  // elements out of tolerance
  double max_absolute = 0, max_relative = 0;
  std::vector<int64_t> worst;  // index of the element that is furthest out
  std::string worst_actual, worst_expected;
  std::string Text() const;
};

// Elements agree where |a - b| <= atol + rtol * |b|, or both are NaN, or both the same infinity.
// Integers and bool are subtracted exactly.
Comparison Compare(const HostTensor& actual, const HostTensor& expected, double rtol, double atol);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_COMPARE_H_
