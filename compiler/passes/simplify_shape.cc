// Rules whose root moves elements.
#include <algorithm>

#include "compiler/passes/simplify.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"

namespace weft {
namespace {

using Op = mlir::Operation*;

mlir::Value X(Op op) { return op->getOperand(0); }

bool SameType(Op op) { return X(op).getType() == op->getResult(0).getType(); }

// One number in a large shape, which a file may hold in a few bytes, does not become memory.
mlir::Value SplatConstant(Op op, OpMaker make) {
  constexpr int64_t kMaxBytes = 1 << 16;
  auto elements =
      llvm::dyn_cast<mlir::DenseElementsAttr>(llvm::cast<ir::ConstantOp>(op).getValue());
  if (!elements || !elements.isSplat()) return {};
  const Shape shape = ir::ShapeOf(op->getResult(0));
  const int64_t bytes =
      NumElements(shape).Constant().value_or(0) * SizeOf(ir::DataTypeOf(op->getResult(0)));
  if (bytes <= kMaxBytes) return {};
  const mlir::DenseElementsAttr scalar =
      elements.resizeSplat(mlir::RankedTensorType::get({}, elements.getElementType()));
  return make.Broadcast(
      make.Make("constant", {},
                mlir::NamedAttribute(mlir::StringAttr::get(op->getContext(), "value"), scalar)),
      shape);
}

mlir::Value ReshapeToItself(Op op, OpMaker) { return SameType(op) ? X(op) : mlir::Value(); }
mlir::Value ReshapeOfReshape(Op op, OpMaker make) {
  auto inner = X(op).getDefiningOp<ir::ReshapeOp>();
  return inner ? make.Reshape(inner.getX(), ir::ShapeOf(op->getResult(0))) : mlir::Value();
}
// One number in any shape stays that wherever its elements go.
mlir::Value MovedSplat(Op op, OpMaker make) {
  auto broadcast = X(op).getDefiningOp<ir::BroadcastOp>();
  if (!broadcast || !ir::ShapeOf(broadcast.getX()).empty()) return {};
  return make.Broadcast(broadcast.getX(), ir::ShapeOf(op->getResult(0)));
}
mlir::Value BroadcastToItself(Op op, OpMaker) { return SameType(op) ? X(op) : mlir::Value(); }
mlir::Value BroadcastOfBroadcast(Op op, OpMaker make) {
  auto inner = X(op).getDefiningOp<ir::BroadcastOp>();
  return inner ? make.Broadcast(inner.getX(), ir::ShapeOf(op->getResult(0))) : mlir::Value();
}
// One number under some shape of ones is the same number without.
mlir::Value BroadcastOfOneElement(Op op, OpMaker make) {
  const Shape from = ir::ShapeOf(X(op));
  if (from.empty() || NumElements(from) != DimExpr(1) || SameType(op)) return {};
  return make.Broadcast(make.Reshape(X(op), {}), ir::ShapeOf(op->getResult(0)));
}
// Where nothing is repeated, a broadcast is a reshape.
mlir::Value BroadcastOfAll(Op op, OpMaker make) {
  const Shape to = ir::ShapeOf(op->getResult(0));
  if (SameType(op) || NumElements(ir::ShapeOf(X(op))) != NumElements(to)) return {};
  return make.Reshape(X(op), to);
}

llvm::ArrayRef<int64_t> Permutation(Op op) {
  return op->getAttrOfType<mlir::DenseI64ArrayAttr>("permutation").asArrayRef();
}
mlir::Value TransposeOfTranspose(Op op, OpMaker make) {
  auto inner = X(op).getDefiningOp<ir::TransposeOp>();
  if (!inner) return {};
  std::vector<int64_t> both;
  for (int64_t axis : Permutation(op)) {
    both.push_back(Permutation(inner)[static_cast<size_t>(axis)]);
  }
  return make.Transpose(inner.getX(), both);
}
// Where only dimensions of size 1 change places, elements stay where they are.
mlir::Value TransposeOfOnes(Op op, OpMaker make) {
  const Shape shape = ir::ShapeOf(X(op));
  int64_t last = -1;
  for (int64_t axis : Permutation(op)) {
    if (shape[static_cast<size_t>(axis)] == DimExpr(1)) continue;
    if (axis < last) return {};
    last = axis;
  }
  return make.Reshape(X(op), ir::ShapeOf(op->getResult(0)));
}
// A slice as large as its operand takes all of it, with steps of 1.
mlir::Value SliceOfAll(Op op, OpMaker) {
  const auto steps = op->getAttrOfType<mlir::DenseI64ArrayAttr>("steps").asArrayRef();
  const bool unit = std::all_of(steps.begin(), steps.end(), [](int64_t s) { return s == 1; });
  return unit && SameType(op) ? X(op) : mlir::Value();
}
mlir::Value PadWithNothing(Op op, OpMaker) { return SameType(op) ? X(op) : mlir::Value(); }
mlir::Value ConcatOfOne(Op op, OpMaker) {
  return op->getNumOperands() == 1 ? X(op) : mlir::Value();
}
mlir::Value ReverseOfOnes(Op op, OpMaker) {
  const Shape shape = ir::ShapeOf(X(op));
  for (int64_t axis : op->getAttrOfType<mlir::DenseI64ArrayAttr>("axes").asArrayRef()) {
    if (axis < 0) axis += static_cast<int64_t>(shape.size());
    if (shape[static_cast<size_t>(axis)] != DimExpr(1)) return {};
  }
  return X(op);
}

}  // namespace

const std::vector<SimplifyRule>& ShapeRules() {
  static const auto& rules = *new std::vector<SimplifyRule>{
      {"splat_constant", "constant", SplatConstant},
      {"reshape_to_itself", "reshape", ReshapeToItself},
      {"reshape_of_reshape", "reshape", ReshapeOfReshape},
      {"reshape_of_splat", "reshape", MovedSplat},
      {"broadcast_to_itself", "broadcast", BroadcastToItself},
      {"broadcast_of_broadcast", "broadcast", BroadcastOfBroadcast},
      {"broadcast_of_all", "broadcast", BroadcastOfAll},
      {"broadcast_of_one_element", "broadcast", BroadcastOfOneElement},
      {"transpose_of_transpose", "transpose", TransposeOfTranspose},
      {"transpose_of_ones", "transpose", TransposeOfOnes},
      {"transpose_of_splat", "transpose", MovedSplat},
      {"slice_of_all", "slice", SliceOfAll},
      {"slice_of_splat", "slice", MovedSplat},
      {"pad_with_nothing", "pad", PadWithNothing},
      {"concat_of_one", "concat", ConcatOfOne},
      {"reverse_of_ones", "reverse", ReverseOfOnes},
      {"reverse_of_splat", "reverse", MovedSplat},
  };
  return rules;
}

}  // namespace weft
