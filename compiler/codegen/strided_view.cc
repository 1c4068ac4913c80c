#include "compiler/codegen/strided_view.h"

#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "llvm/Support/Casting.h"

namespace weft {

StridedView StridedView::Of(const Shape& shape) {
  StridedView view{shape, std::vector<DimExpr>(shape.size())};
  DimExpr stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != DimExpr(1)) view.strides[i] = stride;
    stride = stride * shape[i];
  }
  return view;
}

StridedView StridedView::Broadcast(const Shape& to) const {
  StridedView view{to, std::vector<DimExpr>(to.size())};
  const size_t leading = to.size() - shape.size();
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == to[leading + i]) view.strides[leading + i] = strides[i];
  }
  return view;
}

std::optional<DimExpr> StridedView::Merged(size_t begin, size_t end) const {
  std::optional<DimExpr> inner, next;  // innermost stride; that which the next dimension must have
  for (size_t i = end; i-- > begin;) {
    if (shape[i] == DimExpr(1)) continue;
    if (!inner) {
      inner = strides[i];
    } else if (strides[i] != *next || next->IsOverflow()) {  // any overflow equals any other
      return std::nullopt;
    }
    next = strides[i] * shape[i];
  }
  return inner ? *inner : DimExpr(0);
}

std::optional<StridedView> StridedView::Reshape(const Shape& to) const {
  StridedView view{to, std::vector<DimExpr>(to.size())};
  // Groups of dimensions, as short as possible, that have one product on both sides.
  size_t from_begin = 0, to_begin = 0;
  while (from_begin < shape.size() || to_begin < to.size()) {
    size_t from_end = from_begin, to_end = to_begin;
    DimExpr from_product = 1, to_product = 1;
    bool joined = false;
    // Grows the side that is behind, as far as that can be told; both, where it cannot.
    while (!joined) {
      const auto from_size = from_product.Constant(), to_size = to_product.Constant();
      const bool grow_from =
          !(from_size && to_size) || *from_size <= *to_size || to_end == to.size();
      if (grow_from && from_end < shape.size()) {
        from_product = from_product * shape[from_end++];
      } else if (to_end < to.size()) {
        to_product = to_product * to[to_end++];
      } else {
        return std::nullopt;
      }
      while (from_product != to_product && to_end < to.size() &&
             DimExpr::DivideExactly(from_product, to_product * to[to_end])) {
        to_product = to_product * to[to_end++];
      }
      joined = from_product == to_product;
    }
    auto stride = Merged(from_begin, from_end);
    if (!stride) return std::nullopt;
    DimExpr step = *stride;
    for (size_t i = to_end; i-- > to_begin;) {
      if (to[i] != DimExpr(1)) view.strides[i] = step;
      step = step * to[i];
    }
    from_begin = from_end;
    to_begin = to_end;
  }
  return view;
}

std::optional<StridedView> ViewOfArgument(mlir::Value value, mlir::BlockArgument* argument) {
  if (auto block_argument = llvm::dyn_cast<mlir::BlockArgument>(value)) {
    *argument = block_argument;
    return StridedView::Of(ir::ShapeOf(value));
  }
  mlir::Operation* op = value.getDefiningOp();
  if (!llvm::isa<ir::BroadcastOp, ir::ReshapeOp>(op)) return std::nullopt;
  auto view = ViewOfArgument(op->getOperand(0), argument);
  if (!view) return std::nullopt;
  const Shape shape = ir::ShapeOf(value);
  return llvm::isa<ir::BroadcastOp>(op) ? view->Broadcast(shape) : view->Reshape(shape);
}

}  // namespace weft
