// A tensor seen as strides into a smaller one: what broadcasts and reshapes of an operand come to.
#ifndef WEFT_COMPILER_CODEGEN_STRIDED_VIEW_H_
#define WEFT_COMPILER_CODEGEN_STRIDED_VIEW_H_

#include <optional>
#include <vector>

#include "mlir/IR/Value.h"
#include "proto/dim_expr.h"

namespace weft {

// Element (i0, i1, ...) of the view is element i0 * strides[0] + i1 * strides[1] + ... of the
// tensor. Along dimensions of size 1 the stride is 0.
struct StridedView {
  Shape shape;
  std::vector<DimExpr> strides;

  // A tensor as it lies in memory.
  static StridedView Of(const Shape& shape);
  // weft.broadcast and weft.reshape. Nothing where a reshape joins dimensions that no one stride
  // steps through.
  StridedView Broadcast(const Shape& to) const;
  std::optional<StridedView> Reshape(const Shape& to) const;
  // The view's dimensions [begin, end) as one, if one stride steps through them.
  std::optional<DimExpr> Merged(size_t begin, size_t end) const;

  friend bool operator==(const StridedView&, const StridedView&) = default;
};

// Follows broadcasts and reshapes back from `value`. Where they end at an argument of the block,
// sets `argument` and returns the view of it that `value` is; nothing where they end elsewhere or
// are no strided view.
std::optional<StridedView> ViewOfArgument(mlir::Value value, mlir::BlockArgument* argument);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_STRIDED_VIEW_H_
