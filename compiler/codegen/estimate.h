// Sizes that nobody knows when code is made, for decisions.
#ifndef WEFT_COMPILER_CODEGEN_ESTIMATE_H_
#define WEFT_COMPILER_CODEGEN_ESTIMATE_H_

#include <cstdint>

#include "proto/dim_expr.h"

namespace weft {

// What an open dimension counts as.
inline constexpr int64_t kOpenExtent = 1024;

// That of the expression, or kOpenExtent where it is open.
inline int64_t Estimate(const DimExpr& expr) { return expr.Constant().value_or(kOpenExtent); }

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_ESTIMATE_H_
