// Limits of dimension expressions, for the two files that implement them.
#ifndef WEFT_PROTO_DIM_EXPR_LIMITS_H_
#define WEFT_PROTO_DIM_EXPR_LIMITS_H_

#include <cstddef>

namespace weft {

// Bounds on text and nesting, so that an expression from a file costs little.
inline constexpr size_t kMaxDimText = 4096;
inline constexpr int kMaxDimDepth = 64;

}  // namespace weft

#endif  // WEFT_PROTO_DIM_EXPR_LIMITS_H_
