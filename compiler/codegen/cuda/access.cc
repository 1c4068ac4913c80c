#include "compiler/codegen/cuda/access.h"

#include <algorithm>
#include <optional>

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
                         const DimExpr& around, int64_t least)
    : extent_(extent), number_(extent), around_(around) {
  lanes_ = LanesPerThread(f, extent, last, /*one_row=*/true);
  if (lanes_ == 0) return;
  if (extent.Constant()) {
    if (const auto exact = DimExpr::DivideExactly(extent, lanes_)) {
      number_ = *exact;
    } else {
      Forgo();
    }
    return;
  }
  least_ = least;
  // Each is 0 or 1.
  DimExpr whole = 1;
  if (!IsMultiple()) whole = whole - DimExpr::Min(DimExpr::Mod(extent, lanes_), 1);
  if (least > 0) whole = whole * DimExpr::Min(DimExpr::FloorDiv(around, least * lanes_), 1);
  number_ = DimExpr::FloorDiv(extent, lanes_) * whole + extent * (DimExpr(1) - whole);
  if ((around * number_).IsOverflow()) Forgo();
}

void RowAccesses::Forgo() {
  lanes_ = 0;
  number_ = extent_;
}

void RowAccesses::Emit(FusionEmitter& f, const std::function<void(int64_t lanes)>& emit) const {
  if (!IsOpen()) return emit(lanes_);
  KernelBuilder& kernel = f.kernel;
  Value whole;
  if (!IsMultiple()) {
    Value rest = kernel.Rem(kernel.Size(extent_), lanes_);
    whole = kernel.Equal(rest, kernel.I64(0));
  }
  if (least_ > 0) {
    Value fewer = kernel.I64(least_ * lanes_ - 1);
    whole = kernel.Both(whole, kernel.Less(fewer, kernel.Size(around_)));
  }
  kernel.If(
      whole,
      [&] {
        std::optional<KernelBuilder::MultipleScope> multiple;
        if (!IsMultiple()) multiple.emplace(kernel, extent_, lanes_);
        ValueEmitter::Scope scope(f.values);
        emit(lanes_);
      },
      [&] {
        ValueEmitter::Scope scope(f.values);
        emit(0);
      });
}

}  // namespace weft
