#include "compiler/passes/op_kinds.h"

#include <algorithm>

#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "graph/ops/op_info.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/TypeSwitch.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Support/TypeID.h"

namespace weft {
namespace {

OpKind ReductionKind(mlir::Operation* op) {
  const AxisRange range = ReducedRange(op);
  const Shape shape = ir::ShapeOf(op->getOperand(0));
  DimExpr inner = 1;
  for (size_t i = static_cast<size_t>(range.end); i < shape.size(); ++i) inner = inner * shape[i];
  return inner == DimExpr(1) ? OpKind::kRowReduction : OpKind::kColumnReduction;
}

// What the op table says, found by the op's class: passes ask often.
bool IsElementwise(mlir::Operation* op) {
  thread_local llvm::DenseMap<mlir::TypeID, bool> known;
  auto [entry, is_new] = known.try_emplace(op->getName().getTypeID(), false);
  if (is_new) {
    const OpInfo* info = FindOp(std::string_view(op->getName().getStringRef()));
    entry->second = info != nullptr && info->elementwise;
  }
  return entry->second;
}

}  // namespace

AxisRange ReducedRange(mlir::Operation* op) {
  const int64_t rank = llvm::cast<mlir::RankedTensorType>(op->getOperand(0).getType()).getRank();
  auto normal = [&](int64_t axis) { return axis < 0 ? axis + rank : axis; };
  if (auto axis = op->getAttrOfType<mlir::IntegerAttr>("axis")) {
    return {normal(axis.getInt()), normal(axis.getInt()) + 1};
  }
  AxisRange range{rank, 0};
  for (int64_t axis : op->getAttrOfType<mlir::DenseI64ArrayAttr>("axes").asArrayRef()) {
    range.begin = std::min(range.begin, normal(axis));
    range.end = std::max(range.end, normal(axis) + 1);
  }
  return range;
}

OpKind KindOf(mlir::Operation* op) {
  return llvm::TypeSwitch<mlir::Operation*, OpKind>(op)
      .Case<ir::ReduceSumOp, ir::ReduceProdOp, ir::ReduceMaxOp, ir::ReduceMinOp, ir::ReduceAndOp,
            ir::ReduceOrOp, ir::ArgMaxOp, ir::ArgMinOp>(ReductionKind)
      .Case<ir::MatMulOp, ir::Conv2DOp, ir::Conv2DFilterGradOp, ir::Conv2DInputGradOp,
            plan::PartialSumsOp>([](auto) { return OpKind::kContraction; })
      .Case<ir::MaxPoolOp, ir::MaxUnpoolOp, ir::MaxPoolAtOp, ir::AvgPoolOp, ir::AvgPoolGradOp>(
          [](auto) { return OpKind::kWindow; })
      .Case<ir::ScatterAddOp, ir::StackPushOp>([](auto) { return OpKind::kScatter; })
      .Case<ir::CumSumOp>([](auto) { return OpKind::kScan; })
      .Case<plan::PackOp>([](auto) { return OpKind::kPack; })
      .Case<ir::BroadcastOp, ir::IotaOp, ir::DimSizeOp, plan::CutOp, plan::UnpackOp>(
          [](auto) { return OpKind::kFree; })
      .Case<ir::ConstantOp>([](ir::ConstantOp constant) {
        return ir::SplatValueOf(constant.getValue()) ? OpKind::kFree : OpKind::kAlias;
      })
      .Case<ir::ReshapeOp, plan::BarrierOp, plan::WeightOp>([](auto) { return OpKind::kAlias; })
      .Case<ir::TransposeOp, ir::ConcatOp, ir::SliceOp, ir::PadOp, ir::ReverseOp, ir::GatherOp,
            ir::OneHotOp, ir::RandomUniformOp, ir::RandomNormalOp, ir::RandomBitsOp>(
          [](auto) { return OpKind::kMove; })
      .Default([](mlir::Operation* other) {
        return IsElementwise(other) ? OpKind::kElementwise : OpKind::kHost;
      });
}

const char* FusionKindOf(mlir::Operation* op) {
  switch (KindOf(op)) {
    case OpKind::kElementwise:
    case OpKind::kMove:
    case OpKind::kFree:
      return plan::kLoop;
    case OpKind::kRowReduction:
      return plan::kRow;
    case OpKind::kColumnReduction:
      return plan::kColumn;
    case OpKind::kContraction:
      return plan::kContraction;
    case OpKind::kWindow:
      return plan::kWindow;
    case OpKind::kScatter:
      return plan::kScatter;
    case OpKind::kScan:
      return plan::kScan;
    case OpKind::kPack:
      return plan::kPack;
    case OpKind::kAlias:
    case OpKind::kHost:
      return "";
  }
  return "";
}

bool IsCopied(mlir::Operation* op) {
  return KindOf(op) == OpKind::kFree || llvm::isa<ir::ReshapeOp>(op);
}

mlir::DenseElementsAttr SplatOfValue(mlir::Value value) {
  mlir::Operation* op = value.getDefiningOp();
  while (op != nullptr && llvm::isa<ir::BroadcastOp, ir::ReshapeOp>(op)) {
    op = op->getOperand(0).getDefiningOp();
  }
  auto constant = llvm::dyn_cast_or_null<ir::ConstantOp>(op);
  if (!constant) return {};
  auto elements = llvm::cast<mlir::DenseElementsAttr>(constant.getValue());
  return elements.isSplat() ? elements : mlir::DenseElementsAttr();
}

bool HasEffects(mlir::Operation* op) {
  // Fusions hold nothing else than ops that compute.
  if (KindOf(op) != OpKind::kHost || llvm::isa<plan::FusionOp>(op)) return false;
  return op->hasTrait<mlir::OpTrait::IsTerminator>() || !mlir::isMemoryEffectFree(op);
}

mlir::Value AliasedOperand(mlir::Operation* op) {
  if (op == nullptr) return {};
  if (auto assert_op = llvm::dyn_cast<ir::AssertOp>(op)) return assert_op.getX();
  return llvm::isa<ir::ReshapeOp, ir::PrintOp, plan::BarrierOp>(op) ? op->getOperand(0)
                                                                    : mlir::Value();
}

}  // namespace weft
