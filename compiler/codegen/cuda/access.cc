#include "compiler/codegen/cuda/access.h"

#include <algorithm>

#include "graph/ir/dialect.h"
#include "graph/ir/types.h"

namespace weft {

using mlir::Value;

namespace {

// Whether some operand is read with another coordinate than `last`, the results' innermost one,
// varying fastest.
bool ReadsAcross(const FusionEmitter& f, int last) {
  for (const auto& [operand, index] : f.values.reads()) {
    for (size_t i = 0; i + 1 < index.size(); ++i) {
      if (index[i].root == last) return true;
    }
  }
  return false;
}

// Whether neighbouring results may have different sources: then each lane branches.
bool ChoosesByLane(mlir::Operation* op) {
  const Shape shape = ir::ShapeOf(op->getResult(0));
  if (shape.empty()) return false;
  if (auto pad = mlir::dyn_cast<ir::PadOp>(op)) {
    auto moves = [](mlir::Attribute dims) { return ir::DimsFromAttr(dims)->back() != DimExpr(0); };
    return moves(pad.getLow()) || moves(pad.getHigh()) || pad.getInterior().back() != 0;
  }
  auto concat = mlir::dyn_cast<ir::ConcatOp>(op);
  if (!concat) return false;
  const int64_t rank = static_cast<int64_t>(shape.size());
  return (static_cast<int64_t>(concat.getAxis()) + rank) % rank == rank - 1;
}

}  // namespace

int64_t LanesPerThread(const FusionEmitter& f, const DimExpr& extent, int last, bool one_row) {
  if (f.values.has_lane_index() || ReadsAcross(f, last) ||
      llvm::any_of(f.values.visited(), ChoosesByLane)) {
    return 0;
  }
  int64_t bytes = 1;
  auto consider = [&](Value value) {
    bytes = std::max<int64_t>(bytes, SizeOf(ir::DataTypeOf(value)));
  };
  for (mlir::Operation* op : f.values.visited()) {
    for (Value operand : op->getOperands()) {
      if (!ir::ShapeOf(operand).empty()) consider(operand);
    }
    consider(op->getResult(0));
  }
  for (Value result : f.results) consider(result);
  const int64_t lanes = kAccessBytes / bytes;
  // A row that does not hold a whole number of accesses has all but its first ones misaligned.
  if (lanes < 2 || (!one_row && !DimExpr::DivideExactly(extent, lanes))) return 0;
  return lanes;
}

RowAccesses::RowAccesses(const FusionEmitter& f, const DimExpr& extent, int last,
                         const DimExpr& around)
    : extent_(extent), number_(extent) {
  lanes_ = LanesPerThread(f, extent, last, /*one_row=*/true);
  if (lanes_ == 0) return;
  if (auto exact = DimExpr::DivideExactly(extent, lanes_)) {
    number_ = *exact;
    return;
  }
  if (extent.Constant()) {
    lanes_ = 0;
    return;
  }
  // No more than one of the two is not 0.
  const DimExpr some = DimExpr::Min(DimExpr::Mod(extent, lanes_), 1);
  number_ = DimExpr::FloorDiv(extent, lanes_) * (DimExpr(1) - some) + extent * some;
  if (!(around * number_).IsOverflow()) return;
  lanes_ = 0;
  number_ = extent;
}

void RowAccesses::Emit(FusionEmitter& f, const std::function<void(int64_t lanes)>& emit) const {
  if (lanes_ == 0 || DimExpr::DivideExactly(extent_, lanes_)) return emit(lanes_);
  KernelBuilder& kernel = f.kernel;
  Value rest = kernel.Rem(kernel.Size(extent_), lanes_);
  kernel.If(
      kernel.Equal(rest, kernel.I64(0)),
      [&] {
        KernelBuilder::MultipleScope multiple(kernel, extent_, lanes_);
        ValueEmitter::Scope scope(f.values);
        emit(lanes_);
      },
      [&] {
        ValueEmitter::Scope scope(f.values);
        emit(0);
      });
}

}  // namespace weft
