#include "compiler/codegen/cuda/contraction_tiles.h"

#include "compiler/codegen/cuda/thread.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace weft {

using mlir::Value;
using Values = CodeBuilder::Values;

ContractionTiles::ContractionTiles(KernelBuilder& kb, const cpu::Contraction& contraction,
                                   const ContractionShape& shape)
    : kb_(kb), c_(contraction), shape_(shape), depth_(kb.Mul(c_.segments, c_.depth)) {}

ContractionTiles::Tile ContractionTiles::Place(int64_t rows, int64_t columns,
                                               KernelSpec& spec) const {
  spec.tiles = Count(rows, columns);
  return At(BlockInGrid(kb_), rows, columns);
}

DimExpr ContractionTiles::Count(int64_t rows, int64_t columns) const {
  return shape_.batches * DimExpr::CeilDiv(shape_.rows, rows) *
         DimExpr::CeilDiv(shape_.columns, columns);
}

ContractionTiles::Tile ContractionTiles::At(Value number, int64_t rows, int64_t columns) const {
  // Rows of tiles that are walked together, column by column of tiles.
  constexpr int64_t kGroup = 8;
  const DimExpr row_tiles = DimExpr::CeilDiv(shape_.rows, rows);
  const DimExpr column_tiles = DimExpr::CeilDiv(shape_.columns, columns);
  Value in_rows = kb_.Size(row_tiles), in_columns = kb_.Size(column_tiles);
  Value tile = number, batch = kb_.I64(0);
  if (shape_.batches.Constant() != 1) {
    Value in_batch = kb_.Size(row_tiles * column_tiles);
    batch = kb_.Div(tile, in_batch);
    tile = kb_.Rem(tile, in_batch);
  }
  Value first_step = kb_.I64(0), steps = depth_;
  if (shape_.parts > 1) {
    first_step = kb_.Mul(kb_.Div(batch, kb_.Size(shape_.whole_batches())), shape_.part_steps);
    steps = kb_.I64(shape_.part_steps);
    const bool all_have_as_many =
        CodeBuilder::ConstantOf(depth_) == shape_.parts * shape_.part_steps;
    if (!all_have_as_many) steps = kb_.Min(steps, kb_.Sub(depth_, first_step));
  }
  Value row, column;
  if (const auto known = row_tiles.Constant(); known && *known <= kGroup) {
    row = kb_.Rem(tile, in_rows);
    column = kb_.Div(tile, in_rows);
  } else {
    Value in_group = kb_.Mul(in_columns, kGroup);
    Value first = kb_.Mul(kb_.Div(tile, in_group), kGroup);
    Value height = kb_.Min(kb_.Sub(in_rows, first), kb_.I64(kGroup));
    tile = kb_.Rem(tile, in_group);
    row = kb_.Add(first, kb_.Rem(tile, height));
    column = kb_.Div(tile, height);
  }
  return {batch, kb_.Mul(row, rows), kb_.Mul(column, columns), first_step, steps};
}

Value ContractionTiles::LeftRow(Value row) const {
  if (!c_.left_line) return kb_.Mul(row, c_.left_row_stride);
  Value line = c_.left_line(kb_.Div(row, c_.left_line_rows));
  return kb_.Add(line, kb_.Mul(kb_.Rem(row, c_.left_line_rows), c_.left_row_stride));
}

Value ContractionTiles::LeftDepth(Value step) const {
  if (CodeBuilder::ConstantOf(c_.segments) == 1) return kb_.Mul(step, c_.left_depth_stride);
  Value segment = c_.left_segment(kb_.Div(step, c_.depth));
  return kb_.Add(segment, kb_.Mul(kb_.Rem(step, c_.depth), c_.left_depth_stride));
}

Value ContractionTiles::RightColumn(Value column) const {
  return kb_.Mul(column, c_.right_column_stride);
}

Value ContractionTiles::RightDepth(Value step) const {
  return kb_.Mul(step, c_.right_depth_stride);
}

int64_t ContractionTiles::ColumnsTogether(int64_t most) const {
  const auto columns = shape_.columns.Constant();
  while (most > 1 && !(columns && *columns % most == 0)) most /= 2;
  return most;
}

void ContractionTiles::Store(Value sums, Value batch, Value row, Value column) const {
  const int64_t lanes = ScalarEmitter::LanesOf(sums);
  if (ColumnsTogether(lanes) == lanes) {
    kb_.If(kb_.Less(column, c_.columns), [&] { StoreInside(sums, batch, row, column); });
    return;
  }
  for (int64_t lane = 0; lane < lanes; ++lane) {
    Value at = kb_.Add(column, lane);
    kb_.If(kb_.Less(at, c_.columns), [&] {
      Value sum =
          mlir::vector::ShuffleOp::create(kb_.b(), sums, sums, llvm::ArrayRef<int64_t>{lane});
      StoreInside(sum, batch, row, at);
    });
  }
}

// All operands are read before the first result is written, since one may lie where the other goes.
void ContractionTiles::StoreInside(Value sums, Value batch, Value row, Value column) const {
  mlir::ImplicitLocOpBuilder& b = kb_.b();
  const int64_t lanes = ScalarEmitter::LanesOf(sums);
  auto offset_of = [&](const cpu::EpilogueAccess& access) {
    Value along = access.row ? access.row(row) : kb_.Mul(row, access.row_stride);
    Value offset = kb_.Add(access.base(batch), along);
    return access.along_columns ? kb_.Add(offset, column) : offset;
  };
  Values operands;
  for (const cpu::EpilogueAccess& access : c_.operands) {
    Value offset = offset_of(access);
    Value address = kb_.At(access.pointer, offset, access.element);
    if (!access.along_columns) {
      operands.push_back(kb_.Splat(kb_.LoadAt(address, access.element), lanes));
      continue;
    }
    const mlir::Type type = mlir::VectorType::get({lanes}, access.element);
    operands.push_back(mlir::LLVM::LoadOp::create(
        b, type, address, KernelBuilder::AlignmentAt(offset, ElementBytes(access.element))));
  }
  const Values results = c_.epilogue(sums, operands);
  for (size_t i = 0; i < results.size(); ++i) {
    const cpu::EpilogueAccess& access = c_.results[i];
    Value offset = offset_of(access);
    mlir::LLVM::StoreOp::create(b, results[i], kb_.At(access.pointer, offset, access.element),
                                KernelBuilder::AlignmentAt(offset, ElementBytes(access.element)));
  }
}

}  // namespace weft
