#include "compiler/codegen/cuda/scatter.h"

#include "compiler/codegen/cuda/thread.h"
#include "graph/ir/types.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace weft {
namespace {

using mlir::Value;
using mlir::ValueRange;
using Values = CodeBuilder::Values;
namespace arith = mlir::arith;

// Elements of an access of 16 bytes where rows of `columns` hold whole numbers of them; else 0, for
// one by scalar code.
int64_t LanesFor(DataType dtype, const DimExpr& columns) {
  const int64_t lanes = 16 / SizeOf(dtype);
  const auto known = columns.Constant();
  return known && *known % lanes == 0 ? lanes : 0;
}

// Elements of one dtype, as sums are kept: in f32 for f16 and bf16.
class Elements {
 public:
  Elements(KernelBuilder& kb, DataType dtype, int64_t lanes)
      : kb_(kb), dtype_(dtype), wide_(ScalarEmitter::AccumulatorType(dtype)), lanes_(lanes) {}

  Value Zero() { return kb_.Zero(kb_.e().RegisterType(wide_, lanes_)); }
  Value Load(Value pointer, Value at) {
    const Coord offset{at, lanes_ > 0 ? 1 : 0, {}};
    return kb_.e().ToAccumulator(kb_.Load(pointer, dtype_, offset, lanes_, {}, false)).value;
  }
  void Store(Value value, Value pointer, Value at) {
    const Coord offset{at, lanes_ > 0 ? 1 : 0, {}};
    kb_.Store(kb_.e().FromAccumulator({value, wide_}, dtype_), pointer, offset, lanes_, {});
  }
  Value Add(Value a, Value b) {
    if (IsFloat(dtype_)) return arith::AddFOp::create(kb_.b(), a, b);
    return arith::AddIOp::create(kb_.b(), a, b);
  }
  // To what the dtype can hold.
  Value Round(Value value) {
    ScalarEmitter& e = kb_.e();
    return e.ToAccumulator(e.FromAccumulator({value, wide_}, dtype_)).value;
  }

 private:
  KernelBuilder& kb_;
  DataType dtype_, wide_;
  int64_t lanes_;
};

Value SamePlace(KernelBuilder& kb, Value x, Value y) {
  auto address = [&](Value pointer) -> Value {
    return mlir::LLVM::PtrToIntOp::create(kb.b(), kb.b().getI64Type(), pointer);
  };
  return kb.Equal(address(x), address(y));
}

}  // namespace

// A block computes a part of one line of the result. Its threads look at all indices, so many at a
// time, and then each at those that name the line, in order. Lines that none names are only copied,
// and left alone where the result lies in the operand's buffer.
void EmitCudaScatterAdd(KernelBuilder& kb, ir::ScatterAddOp op, KernelSpec& spec) {
  SetBlockThreads(kb, spec, kThreadsPerBlock);
  const DataType dtype = ir::DataTypeOf(op.getX()), index_dtype = ir::DataTypeOf(op.getIndices());
  const Shape shape = ir::ShapeOf(op.getX());
  const DimExpr columns = NumElements(shape, 1, shape.size());
  const int64_t lanes = LanesFor(dtype, columns), step = std::max<int64_t>(1, lanes);
  const DimExpr pieces = DimExpr::CeilDiv(columns, kThreadsPerBlock * step);
  spec.tiles = shape[0] * pieces;

  Value x = kb.BufferOf(op.getX()), indices = kb.BufferOf(op.getIndices());
  Value updates = kb.BufferOf(op.getUpdates()), y = kb.ResultBufferOf(op.getY());
  Value num_columns = kb.Size(columns), num_pieces = kb.Size(pieces);
  Value count = kb.Size(NumElements(ir::ShapeOf(op.getIndices())));
  Value thread = ThreadInBlock(kb), block = BlockInGrid(kb);
  Value line = kb.Div(block, num_pieces);
  Value column = kb.Mul(kb.Add(kb.Mul(kb.Rem(block, num_pieces), kThreadsPerBlock), thread), step);
  Value inside = kb.Less(column, num_columns);
  Value at = kb.Add(kb.Mul(line, num_columns), column);
  Elements elements(kb, dtype, lanes);
  mlir::ImplicitLocOpBuilder& b = kb.b();
  const mlir::Type i32 = b.getI32Type();
  Value no_bits = arith::ConstantIntOp::create(b, i32, 0);
  Value no = arith::ConstantIntOp::create(b, b.getI1Type(), 0);
  Value yes = arith::ConstantIntOp::create(b, b.getI1Type(), 1);
  // For each warp, which of the indices that it looked at name the line.
  constexpr int64_t kWarps = kThreadsPerBlock / kWarp;
  Value found = kb.SharedMemory(kWarps * 4);

  // The sum, and whether there is one yet.
  auto add = [&](Value i, ValueRange now) {
    return kb.If(inside, Values(now.begin(), now.end()), [&] {
      Value sum = kb.If(
          now[1], now[0].getType(), [&] { return Values{now[0]}; },
          [&] { return Values{elements.Load(x, at)}; })[0];
      Value update = elements.Load(updates, kb.Add(kb.Mul(i, num_columns), column));
      return Values{elements.Round(elements.Add(sum, update)), yes};
    });
  };
  const Values sums = kb.For(
      kb.I64(0), count, kThreadsPerBlock, {elements.Zero(), no}, [&](Value first, ValueRange now) {
        Value own = kb.Add(first, thread);
        Value names = kb.If(kb.Less(own, count), {no}, [&] {
          Element index = kb.Load(indices, index_dtype, {own, 0, {}}, 0, {}, /*invariant=*/true);
          return Values{kb.Equal(kb.e().Cast(index, DataType::kI64).value, line)};
        })[0];
        Value bits = Ballot(kb, names);
        kb.If(kb.Equal(kb.Rem(thread, kWarp), kb.I64(0)),
              [&] { kb.StoreShared(bits, found, kb.Div(thread, kWarp)); });
        Barrier(kb);
        const Values after = kb.For(
            kb.I64(kWarps), Values(now.begin(), now.end()), [&](Value warp, ValueRange carried) {
              Value word = kb.LoadShared(i32, found, warp);
              Value some = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, word, no_bits);
              return kb.If(some, Values(carried.begin(), carried.end()), [&] {
                Value start = kb.Add(first, kb.Mul(warp, kWarp));
                return kb.For(kb.I64(kWarp), Values(carried.begin(), carried.end()),
                              [&](Value bit, ValueRange inner) {
                                Value shift = arith::TruncIOp::create(b, i32, bit);
                                Value shifted = arith::ShRUIOp::create(b, word, shift);
                                Value set = arith::TruncIOp::create(b, b.getI1Type(), shifted);
                                return kb.If(set, Values(inner.begin(), inner.end()),
                                             [&] { return add(kb.Add(start, bit), inner); });
                              });
              });
            });
        // Before the next indices.
        Barrier(kb);
        return after;
      });
  kb.If(inside, [&] {
    kb.If(
        sums[1], [&] { elements.Store(sums[0], y, at); },
        [&] {
          kb.If(SamePlace(kb, x, y), [] {}, [&] { elements.Store(elements.Load(x, at), y, at); });
        });
  });
}

// A thread has a few columns of the slice, so that where the result lies in the operand's buffer it
// takes time for what is pushed only; elsewhere it copies those columns of all slices.
void EmitCudaStackPush(KernelBuilder& kb, ir::StackPushOp op, KernelSpec& spec) {
  SetBlockThreads(kb, spec, kThreadsPerBlock);
  const DataType dtype = ir::DataTypeOf(op.getX());
  const Shape shape = ir::ShapeOf(op.getX());
  const DimExpr columns = NumElements(shape, 1, shape.size());
  const int64_t lanes = LanesFor(dtype, columns), step = std::max<int64_t>(1, lanes);
  spec.tiles = DimExpr::CeilDiv(columns, kThreadsPerBlock * step);

  Value x = kb.BufferOf(op.getX()), value = kb.BufferOf(op.getValue());
  Value y = kb.ResultBufferOf(op.getY());
  Value num_lines = kb.Size(shape[0]), num_columns = kb.Size(columns);
  Value column = kb.Mul(GlobalThread(kb), step);
  auto move = [&](Value from, Value from_at, Value to_at) {
    const Coord source{from_at, lanes > 0 ? 1 : 0, {}}, place{to_at, lanes > 0 ? 1 : 0, {}};
    kb.Store(kb.Load(from, dtype, source, lanes, {}, false), y, place, lanes, {});
  };
  kb.If(kb.Less(column, num_columns), [&] {
    Value line = kb.LoadAt(kb.BufferOf(op.getIndex()), kb.b().getI64Type());
    kb.If(
        SamePlace(kb, x, y), [] {},
        [&] {
          kb.For(num_lines, [&](Value i) {
            Value at = kb.Add(kb.Mul(i, num_columns), column);
            move(x, at, at);
          });
        });
    // Unsigned, so that negative indices are outside too.
    Value inside = arith::CmpIOp::create(kb.b(), arith::CmpIPredicate::ult, line, num_lines);
    kb.If(inside, [&] { move(value, column, kb.Add(kb.Mul(line, num_columns), column)); });
  });
}

// Along the innermost dimension a warp adds up a row, as many elements at a time as it has threads;
// elsewhere a thread goes along its column.
void EmitCudaScan(KernelBuilder& kb, ir::CumSumOp op, KernelSpec& spec) {
  SetBlockThreads(kb, spec, kThreadsPerBlock);
  const DataType dtype = ir::DataTypeOf(op.getX());
  const Shape shape = ir::ShapeOf(op.getX());
  const int64_t rank = static_cast<int64_t>(shape.size());
  // The accessor gives an unsigned number.
  const int64_t named_axis = static_cast<int64_t>(op.getAxis());
  const size_t axis = static_cast<size_t>(named_axis < 0 ? named_axis + rank : named_axis);
  const DimExpr outer = NumElements(shape, 0, axis),
                columns = NumElements(shape, axis + 1, shape.size());
  Value x = kb.BufferOf(op.getX()), y = kb.ResultBufferOf(op.getY());
  Value length = kb.Size(shape[axis]), num_columns = kb.Size(columns);
  Elements elements(kb, dtype, /*lanes=*/0);
  auto place = [&](Value i) { return op.getReverse() ? kb.Sub(kb.Sub(length, i), 1) : i; };

  if (columns == DimExpr(1)) {
    Team warp(kb, kWarp);
    spec.tiles = DimExpr::CeilDiv(outer, warp.per_block());
    // Warps past the last row are whole: none of their threads is missed in shuffles.
    kb.If(kb.Less(warp.number(), kb.Size(outer)), [&] {
      Value start = kb.Mul(warp.number(), length);
      kb.For(kb.I64(0), length, kWarp, {elements.Zero()}, [&](Value first, ValueRange before) {
        Value i = kb.Add(first, warp.rank()), valid = kb.Less(i, length);
        Value at = kb.Add(start, place(i));
        Value sum =
            kb.If(valid, {elements.Zero()}, [&] { return Values{elements.Load(x, at)}; })[0];
        for (int distance = 1; distance < kWarp; distance *= 2) {
          Value more = elements.Add(ShuffleUp(kb, sum, distance), sum);
          sum = kb.Select(kb.Less(warp.rank(), kb.I64(distance)), sum, more);
        }
        sum = elements.Add(before[0], sum);
        Value result = sum;
        if (op.getExclusive()) {
          result = kb.Select(kb.Equal(warp.rank(), kb.I64(0)), before[0], ShuffleUp(kb, sum, 1));
        }
        kb.If(valid, [&] { elements.Store(result, y, at); });
        return Values{OfLastInWarp(kb, sum)};
      });
    });
    return;
  }
  const DimExpr total = outer * columns;
  spec.tiles = DimExpr::CeilDiv(total, kThreadsPerBlock);
  Value thread = GlobalThread(kb);
  kb.If(kb.Less(thread, kb.Size(total)), [&] {
    Value start = kb.Add(kb.Mul(kb.Div(thread, num_columns), kb.Mul(length, num_columns)),
                         kb.Rem(thread, num_columns));
    kb.For(length, {elements.Zero()}, [&](Value i, ValueRange before) {
      Value at = kb.Add(start, kb.Mul(place(i), num_columns));
      Value sum = elements.Add(before[0], elements.Load(x, at));
      elements.Store(op.getExclusive() ? before[0] : sum, y, at);
      return Values{sum};
    });
  });
}

}  // namespace weft
