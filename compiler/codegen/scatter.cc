#include "compiler/codegen/scatter.h"

#include "absl/strings/str_cat.h"
#include "compiler/codegen/cuda/scatter.h"
#include "compiler/codegen/kernel_builder.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace weft {
namespace {

using mlir::Value;
using Values = CodeBuilder::Values;
namespace arith = mlir::arith;

// Columns of a tile, in vectors: enough work for one, small enough that a line stays in cache.
constexpr int64_t kVectorsPerTile = 4;

Value AddElements(KernelBuilder& kb, Value a, Value b, DataType dtype) {
  if (IsFloat(dtype)) return arith::AddFOp::create(kb.b(), a, b);
  return arith::AddIOp::create(kb.b(), a, b);
}

// The only op of the fusion's body.
template <typename Op>
absl::StatusOr<Op> OnlyOp(plan::FusionOp fusion) {
  auto op = mlir::dyn_cast<Op>(fusion.body()->front());
  if (!op || op->getNextNode() != fusion.yield()) {
    return absl::InternalError(absl::StrCat("expected one ", Op::getOperationName().str(),
                                            " in a fusion of kind ", fusion.getKind().str(),
                                            ", at ", ir::Describe(fusion.getLoc())));
  }
  return op;
}

int64_t LanesFor(const Target& target, DataType dtype, const DimExpr& columns) {
  int64_t lanes = target.Lanes(SizeOf(ScalarEmitter::AccumulatorType(dtype)));
  if (std::optional<int64_t> c = columns.Constant()) {
    while (lanes > 1 && lanes / 2 >= *c) lanes /= 2;
  }
  return lanes;
}

// A vector of elements of `bytes` bytes each from one place to another, as they are. The indices
// count elements.
void MoveElements(KernelBuilder& kb, Value from, Value from_index, Value to, Value to_index,
                  int64_t bytes, int64_t lanes, Value mask) {
  mlir::Type element = kb.b().getIntegerType(static_cast<unsigned>(bytes * 8));
  mlir::Type type = element;
  if (lanes > 0) type = mlir::VectorType::get({lanes}, element);
  kb.StoreAt(kb.LoadAt(kb.At(from, from_index, element), type, mask), kb.At(to, to_index, element),
             mask);
}

// One slice changes, so where the result lies in the operand's buffer only that one is written: a
// loop that fills a stack slice by slice takes time for what it pushes, not for the whole stack.
absl::StatusOr<KernelSpec> EmitStackPush(plan::FusionOp fusion, const Target& target,
                                         mlir::ModuleOp kernels) {
  absl::StatusOr<ir::StackPushOp> op = OnlyOp<ir::StackPushOp>(fusion);
  if (!op.ok()) return op.status();
  const int64_t bytes = SizeOf(ir::DataTypeOf(op->getX()));
  const Shape shape = ir::ShapeOf(op->getX());
  const DimExpr lines = shape[0], columns = NumElements(shape, 1, shape.size());
  const int64_t lanes = target.Lanes(static_cast<int>(bytes));
  const int64_t width = lanes * kVectorsPerTile;

  KernelBuilder kb(fusion, kernels, target);
  KernelSpec spec;
  // Those of the slice: the rest is only copied where somebody else needs x as it was.
  spec.bytes = columns * DimExpr(2 * bytes);
  spec.may_share = {
      {static_cast<int>(mlir::cast<mlir::BlockArgument>(op->getX()).getArgNumber()), 0}};
  if (kb.on_gpu()) {
    EmitCudaStackPush(kb, *op, spec);
    kb.Finish(spec);
    return spec;
  }
  Value x = kb.BufferOf(op->getX()), value = kb.BufferOf(op->getValue());
  Value y = kb.ResultBufferOf(op->getY());
  Value num_lines = kb.Size(lines), num_columns = kb.Size(columns);
  mlir::Type i64 = kb.b().getI64Type();
  Value line = kb.LoadAt(kb.BufferOf(op->getIndex()), i64);
  auto address = [&](Value pointer) -> Value {
    return mlir::LLVM::PtrToIntOp::create(kb.b(), i64, pointer);
  };
  Value in_place = kb.Equal(address(x), address(y));
  // Unsigned, so that negative indices are outside too.
  Value inside = arith::CmpIOp::create(kb.b(), arith::CmpIPredicate::ult, line, num_lines);
  kb.ForTiles([&](Value tile) {
    Value first = kb.Mul(tile, width);
    Value last = kb.Min(kb.Add(first, width), num_columns);
    auto move = [&](Value from, Value from_start, Value to_start) {
      kb.VectorFor(first, last, lanes, [&](Value column, Value mask) {
        MoveElements(kb, from, kb.Add(from_start, column), y, kb.Add(to_start, column), bytes,
                     lanes, mask);
      });
    };
    kb.If(
        in_place, [] {},
        [&] {
          kb.For(num_lines, [&](Value i) {
            Value start = kb.Mul(i, num_columns);
            move(x, start, start);
          });
        });
    kb.If(inside, [&] { move(value, kb.I64(0), kb.Mul(line, num_columns)); });
  });
  spec.tiles = DimExpr::CeilDiv(columns, width);
  kb.Finish(spec);
  return spec;
}

}  // namespace

absl::StatusOr<KernelSpec> EmitScatter(plan::FusionOp fusion, const Target& target,
                                       mlir::ModuleOp kernels) {
  if (mlir::isa<ir::StackPushOp>(fusion.body()->front())) {
    return EmitStackPush(fusion, target, kernels);
  }
  absl::StatusOr<ir::ScatterAddOp> op = OnlyOp<ir::ScatterAddOp>(fusion);
  if (!op.ok()) return op.status();
  const DataType dtype = ir::DataTypeOf(op->getX());
  const DataType index_dtype = ir::DataTypeOf(op->getIndices());
  const Shape shape = ir::ShapeOf(op->getX());
  const DimExpr lines = shape[0], columns = NumElements(shape, 1, shape.size());
  const DimExpr count = NumElements(ir::ShapeOf(op->getIndices()));
  const int64_t lanes = LanesFor(target, dtype, columns);
  const int64_t width = lanes * kVectorsPerTile;

  KernelBuilder kb(fusion, kernels, target);
  KernelSpec spec;
  spec.flops = count * columns;
  spec.bytes =
      (lines * columns * DimExpr(2) + count * columns * DimExpr(3)) * DimExpr(SizeOf(dtype)) +
      count * DimExpr(SizeOf(index_dtype));
  // The copy of x onto itself is harmless.
  spec.may_share = {
      {static_cast<int>(mlir::cast<mlir::BlockArgument>(op->getX()).getArgNumber()), 0}};
  // Updates and indices are read after that.
  if (op->getX() == op->getUpdates() || op->getX() == op->getIndices()) spec.may_share.clear();
  if (kb.on_gpu()) {
    EmitCudaScatterAdd(kb, *op, spec);
    kb.Finish(spec);
    return spec;
  }
  Value x = kb.BufferOf(op->getX()), indices = kb.BufferOf(op->getIndices());
  Value updates = kb.BufferOf(op->getUpdates()), y = kb.ResultBufferOf(op->getY());
  Value num_lines = kb.Size(lines), num_columns = kb.Size(columns), num_indices = kb.Size(count);
  mlir::Type index_type = kb.e().MemoryType(index_dtype, 0);
  kb.ForTiles([&](Value tile) {
    Value first = kb.Mul(tile, width);
    Value last = kb.Min(kb.Add(first, width), num_columns);
    kb.For(num_lines, [&](Value line) {
      Value start = kb.Mul(line, num_columns);
      kb.VectorFor(first, last, lanes, [&](Value column, Value mask) {
        Value at = kb.Add(start, column);
        kb.StoreRounded(kb.LoadWide(x, dtype, at, lanes, mask), y, dtype, at, mask);
      });
    });
    kb.For(num_indices, [&](Value i) {
      Value line = kb.LoadAt(kb.At(indices, i, index_type), index_type);
      if (index_dtype == DataType::kI32) {
        line = arith::ExtSIOp::create(kb.b(), kb.b().getI64Type(), line);
      }
      // Unsigned, so that negative indices are out of range too.
      Value inside = arith::CmpIOp::create(kb.b(), arith::CmpIPredicate::ult, line, num_lines);
      kb.If(inside, [&] {
        Value to = kb.Mul(line, num_columns), from = kb.Mul(i, num_columns);
        kb.VectorFor(first, last, lanes, [&](Value column, Value mask) {
          Value at = kb.Add(to, column);
          Value sum =
              AddElements(kb, kb.LoadWide(y, dtype, at, lanes, mask),
                          kb.LoadWide(updates, dtype, kb.Add(from, column), lanes, mask), dtype);
          kb.StoreRounded(sum, y, dtype, at, mask);
        });
      });
    });
  });
  spec.tiles = DimExpr::CeilDiv(columns, width);
  kb.Finish(spec);
  return spec;
}

absl::StatusOr<KernelSpec> EmitScan(plan::FusionOp fusion, const Target& target,
                                    mlir::ModuleOp kernels) {
  absl::StatusOr<ir::CumSumOp> op = OnlyOp<ir::CumSumOp>(fusion);
  if (!op.ok()) return op.status();
  const DataType dtype = ir::DataTypeOf(op->getX());
  const Shape shape = ir::ShapeOf(op->getX());
  const size_t rank = shape.size();
  // The accessor gives an unsigned number.
  const int64_t named_axis = static_cast<int64_t>(op->getAxis());
  const size_t axis =
      static_cast<size_t>(named_axis < 0 ? named_axis + static_cast<int64_t>(rank) : named_axis);
  const DimExpr outer = NumElements(shape, 0, axis), columns = NumElements(shape, axis + 1, rank);
  const int64_t lanes = LanesFor(target, dtype, columns);
  const int64_t width = lanes * kVectorsPerTile;
  const DimExpr blocks = DimExpr::CeilDiv(columns, width);

  KernelBuilder kb(fusion, kernels, target);
  KernelSpec spec;
  spec.flops = NumElements(shape);
  spec.bytes = NumElements(shape) * DimExpr(2 * SizeOf(dtype));
  // Each element is read just before the one in its place is written.
  spec.may_share = {
      {static_cast<int>(mlir::cast<mlir::BlockArgument>(op->getX()).getArgNumber()), 0}};
  if (kb.on_gpu()) {
    EmitCudaScan(kb, *op, spec);
    kb.Finish(spec);
    return spec;
  }
  Value x = kb.BufferOf(op->getX()), y = kb.ResultBufferOf(op->getY());
  Value length = kb.Size(shape[axis]), num_columns = kb.Size(columns);
  Value num_blocks = kb.Size(blocks);
  mlir::Type vector = kb.e().RegisterType(ScalarEmitter::AccumulatorType(dtype), lanes);
  kb.ForTiles([&](Value tile) {
    Value start = kb.Mul(kb.Div(tile, num_blocks), kb.Mul(length, num_columns));
    Value first = kb.Mul(kb.Rem(tile, num_blocks), width);
    kb.VectorFor(
        first, kb.Min(kb.Add(first, width), num_columns), lanes, [&](Value column, Value mask) {
          kb.For(length, {kb.Zero(vector)}, [&](Value i, mlir::ValueRange carried) {
            Value place = op->getReverse() ? kb.Sub(kb.Sub(length, i), 1) : i;
            Value at = kb.Add(start, kb.Add(kb.Mul(place, num_columns), column));
            Value sum = AddElements(kb, carried[0], kb.LoadWide(x, dtype, at, lanes, mask), dtype);
            kb.StoreRounded(op->getExclusive() ? carried[0] : sum, y, dtype, at, mask);
            return Values{sum};
          });
        });
  });
  spec.tiles = outer * blocks;
  kb.Finish(spec);
  return spec;
}

}  // namespace weft
