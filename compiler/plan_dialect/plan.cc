#include "compiler/plan_dialect/plan.h"

#include "compiler/plan_dialect/plan_dialect.cc.inc"
#include "graph/ir/types.h"

#define GET_OP_CLASSES
#include "compiler/plan_dialect/plan_ops.cc.inc"
#undef GET_OP_CLASSES

namespace weft::plan {

void PlanDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "compiler/plan_dialect/plan_ops.cc.inc"
#undef GET_OP_LIST
      >();
}

void FusionOp::build(mlir::OpBuilder& builder, mlir::OperationState& state, mlir::TypeRange results,
                     mlir::ValueRange inputs, llvm::StringRef kind) {
  state.addTypes(results);
  state.addOperands(inputs);
  state.addAttribute("kind", builder.getStringAttr(kind));
  mlir::Block& block = state.addRegion()->emplaceBlock();
  for (mlir::Value input : inputs) block.addArgument(input.getType(), input.getLoc());
}

llvm::LogicalResult FusionOp::verify() {
  if (body()->getArgumentTypes() != getInputs().getTypes()) {
    return emitOpError("expected body arguments of the operands' types");
  }
  auto yield = llvm::dyn_cast<YieldOp>(body()->back());
  if (!yield || yield.getValues().getTypes() != getOuts().getTypes()) {
    return emitOpError("expected a body that yields values of the result types");
  }
  return llvm::success();
}

llvm::LogicalResult WeightOp::verify() {
  if (getIndexAttr().getInt() < 0) {
    return emitOpError("expected an index that is not negative, got ") << getIndexAttr().getInt();
  }
  if (!NumElements(ir::ShapeOf(getY())).Constant()) {
    return emitOpError("expected a static shape, got ") << getY().getType();
  }
  return llvm::success();
}

void CutOp::build(mlir::OpBuilder& builder, mlir::OperationState& state, mlir::Value x,
                  int64_t axis, int64_t parts, const DimExpr& length) {
  Shape shape = ir::ShapeOf(x);
  shape[static_cast<size_t>(axis)] = parts;
  shape.insert(shape.begin() + axis + 1, length);
  state.addOperands(x);
  state.addAttribute("axis", builder.getI64IntegerAttr(axis));
  state.addTypes(ir::MakeTensorType(builder.getContext(), ir::DataTypeOf(x), shape));
}

llvm::LogicalResult CutOp::verify() {
  const Shape from = ir::ShapeOf(getX());
  const Shape to = ir::ShapeOf(getY());
  // The accessor gives an unsigned number.
  const size_t axis = static_cast<size_t>(getAxis());
  if (axis >= from.size() || to.size() != from.size() + 1 ||
      ir::DataTypeOf(getX()) != ir::DataTypeOf(getY())) {
    return emitOpError("expected an axis of the operand, and a result of its dtype and one more ")
           << "dimension, got axis " << getAxis() << " of " << getX().getType() << " and "
           << getY().getType();
  }
  Shape others = from;
  Shape kept = to;
  others.erase(others.begin() + static_cast<int64_t>(axis));
  kept.erase(kept.begin() + static_cast<int64_t>(axis),
             kept.begin() + static_cast<int64_t>(axis) + 2);
  const std::optional<int64_t> n = from[axis].Constant();
  const std::optional<int64_t> places = (to[axis] * to[axis + 1]).Constant();
  if (others != kept || (n && places && *places < *n)) {
    return emitOpError("expected places for all elements of one dimension and the other ")
           << "dimensions as they are, got " << getX().getType() << " and " << getY().getType();
  }
  return llvm::success();
}

llvm::LogicalResult PartialSumsOp::verify() {
  const llvm::StringRef name = getContraction();
  if (name != "matmul" && name != "conv2d" && name != "conv2d_filter_grad") {
    return emitOpError("expected a matmul, conv2d or conv2d_filter_grad, got '") << name << "'";
  }
  const DataType dtype = ir::DataTypeOf(getA());
  const DataType sums = IsFloat(dtype) && SizeOf(dtype) == 2 ? DataType::kF32 : dtype;
  if (ir::DataTypeOf(getB()) != dtype || ir::DataTypeOf(getY()) != sums) {
    return emitOpError("expected operands of one dtype, and sums of that or, of narrow floats, ")
           << "f32, got " << getA().getType() << " and " << getB().getType() << ", and "
           << getY().getType();
  }
  const Shape shape = ir::ShapeOf(getY());
  const std::optional<int64_t> parts = shape.empty() ? std::nullopt : shape[0].Constant();
  if (!parts || *parts < 2 || getLengthAttr().getInt() < 1) {
    return emitOpError("expected two parts or more, each of a step or more, got ")
           << getY().getType() << " of length " << getLengthAttr().getInt();
  }
  return llvm::success();
}

mlir::RankedTensorType PackedType(mlir::RankedTensorType x, int64_t panel, int64_t k_dims,
                                  int64_t groups, bool transpose) {
  const Shape shape = ir::ShapeOf(x);
  const size_t batch = shape.size() - 1 - static_cast<size_t>(k_dims);
  DimExpr k = 1;
  for (size_t i = batch; i < shape.size() - 1; ++i) k = k * shape[i];
  DimExpr n = shape.back();
  if (transpose) std::swap(k, n);
  if (std::optional<DimExpr> per_group = DimExpr::DivideExactly(n, groups)) n = *per_group;
  Shape packed(shape.begin(), shape.begin() + static_cast<int64_t>(batch));
  packed.insert(packed.end(), {DimExpr(groups), DimExpr::CeilDiv(n, panel), k, DimExpr(panel)});
  return ir::MakeTensorType(x.getContext(), ir::DataTypeOf(x), packed);
}

namespace {

template <typename Op>
llvm::LogicalResult VerifyPanels(Op op, mlir::Value plain, mlir::Value packed) {
  auto type = llvm::cast<mlir::RankedTensorType>(plain.getType());
  const int64_t panel = op.getPanel(), k_dims = op.getKDims(), groups = op.getGroups();
  if (panel < 1 || k_dims < 1 || groups < 1 || type.getRank() < k_dims + 1) {
    return op.emitOpError("expected panel, k_dims and groups of 1 at least, and rank > k_dims");
  }
  if (op.getTranspose() && (k_dims != 1 || groups != 1)) {
    return op.emitOpError("expected k_dims and groups of 1 with transpose");
  }
  if (!DimExpr::DivideExactly(ir::ShapeOf(type).back(), groups) && !op.getTranspose()) {
    return op.emitOpError("expected a number of columns that groups divides");
  }
  const mlir::Type expected = PackedType(type, panel, k_dims, groups, op.getTranspose());
  if (packed.getType() != expected) {
    return op.emitOpError("expected panels of type ") << expected << ", got " << packed.getType();
  }
  return llvm::success();
}

}  // namespace

llvm::LogicalResult PackOp::verify() { return VerifyPanels(*this, getX(), getY()); }
llvm::LogicalResult UnpackOp::verify() { return VerifyPanels(*this, getY(), getX()); }

}  // namespace weft::plan
