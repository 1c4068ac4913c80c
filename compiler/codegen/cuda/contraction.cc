#include "compiler/codegen/cuda/contraction.h"

#include <algorithm>
#include <vector>

#include "compiler/codegen/cuda/contraction_tiles.h"
#include "compiler/codegen/cuda/tensor_core.h"
#include "compiler/codegen/cuda/thread.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace weft {
namespace {

using mlir::Value;
using mlir::ValueRange;
using Values = CodeBuilder::Values;
namespace arith = mlir::arith;

// Threads of a block lie as a square, and each has `per_thread` rows by as many columns of the
// block's tile, in fours: neighbouring threads have neighbouring fours.
constexpr int64_t kSide = 16;
constexpr int64_t kFour = 4;

struct Tiling {
  int64_t per_thread;
  int64_t depth;  // that is in shared memory at a time

  int64_t side() const { return kSide * per_thread; }
  // Elements between steps of depth in shared memory: more than a side, so that what goes there
  // across lands in different banks.
  int64_t pitch() const { return side() + kFour; }
  // Elements that each thread brings of each operand.
  int64_t brought() const { return side() * depth / kThreadsPerBlock; }
};

// Large tiles read less of the operands; small ones keep more of the GPU busy.
Tiling ChooseTiling(const ContractionShape& shape, int64_t element_bytes) {
  constexpr Tiling kLarge{8, 8}, kSmall{4, 16};
  constexpr int64_t kEnoughBlocks = 128;
  const auto batches = shape.batches.Constant(), rows = shape.rows.Constant(),
             columns = shape.columns.Constant();
  if (!rows || !columns || *columns % kFour != 0 || element_bytes > 4) return kSmall;
  const int64_t blocks = batches.value_or(1) * (*rows / kLarge.side()) * (*columns / kLarge.side());
  return blocks >= kEnoughBlocks ? kLarge : kSmall;
}

// In plain multiply-adds: every dtype, f32 as exact as on a CPU.
class MultiplyAddTiles {
 public:
  explicit MultiplyAddTiles(ContractionTiles& tiles)
      : tiles_(tiles), kb_(tiles.kb()), b_(kb_.b()), c_(tiles.contraction()) {}

  // A block computes a square of the result. Its threads bring pieces of both operands, so many
  // steps of depth at a time, into one half of shared memory while they compute from the other.
  void EmitTiles(KernelSpec& spec) {
    const Tiling tiling = ChooseTiling(tiles_.shape(), ElementBytes(c_.element));
    const ContractionTiles::Tile tile = tiles_.Place(tiling.side(), tiling.side(), spec);
    Value thread = ThreadInBlock(kb_);
    const Side left = Left(tiling, thread, tile);
    const Side right = Right(tiling, thread, tile);
    Value x = kb_.Rem(thread, kSide), y = kb_.Div(thread, kSide);
    const mlir::Type four = mlir::VectorType::get({kFour}, c_.element);
    const int64_t fours = tiling.per_thread / kFour;
    Values sums(static_cast<size_t>(tiling.per_thread * fours), kb_.Zero(four));
    const auto known_depth = ConstantOf(tile.steps);
    if (known_depth != 0) {
      const bool whole = known_depth && *known_depth % tiling.depth == 0;
      auto bring = [&](Value step) {
        Value end = whole ? Value() : tile.steps;
        Values elements = Load(left, step, end);
        for (Value element : Load(right, step, end)) elements.push_back(element);
        return elements;
      };
      auto put = [&](const Values& elements, Value half) {
        const size_t count = left.places.size();
        Store(left, {elements.begin(), elements.begin() + static_cast<int64_t>(count)}, half);
        Store(right, {elements.begin() + static_cast<int64_t>(count), elements.end()}, half);
      };
      put(bring(kb_.I64(0)), kb_.I64(0));
      Barrier(kb_);
      sums = kb_.For(kb_.I64(0), tile.steps, tiling.depth, sums, [&](Value step, ValueRange now) {
        Value half = kb_.Rem(kb_.Div(step, tiling.depth), 2);
        Value next = kb_.Add(step, tiling.depth);
        Value more = kb_.Less(next, tile.steps);
        const Values none(left.places.size() + right.places.size(), kb_.Zero(c_.element));
        const Values elements = kb_.If(more, none, [&] { return bring(next); });
        const Values result = Multiply(tiling, left, right, half, x, y, now);
        kb_.If(more, [&] { put(elements, kb_.Sub(kb_.I64(1), half)); });
        Barrier(kb_);
        return result;
      });
    }
    for (int64_t i = 0; i < tiling.per_thread; ++i) {
      Value row = kb_.Add(tile.first_row, Place(y, i));
      kb_.If(kb_.Less(row, c_.rows), [&] {
        for (int64_t j = 0; j < fours; ++j) {
          Value column = kb_.Add(tile.first_column, Place(x, j * kFour));
          tiles_.Store(sums[static_cast<size_t>(i * fours + j)], tile.batch, row, column);
        }
      });
    }
  }

  // A depthwise convolution shares nothing between columns: a thread computes an element.
  void EmitElements(KernelSpec& spec) {
    const DimExpr total = tiles_.shape().rows * tiles_.shape().columns;
    spec.tiles = DimExpr::CeilDiv(total, kThreadsPerBlock);
    Value thread = GlobalThread(kb_);
    kb_.If(kb_.Less(thread, kb_.Size(total)), [&] {
      Value batch = kb_.I64(0), row = kb_.Div(thread, c_.columns);
      Value column = kb_.Rem(thread, c_.columns);
      Value left = kb_.Add(kb_.Add(c_.left_base(batch), tiles_.LeftRow(row)), column);
      Value right = kb_.Add(c_.right_base(batch), tiles_.RightColumn(column));
      const Values sum =
          kb_.For(tiles_.depth(), {kb_.Zero(c_.element)}, [&](Value step, ValueRange now) {
            Value a = LoadElement(c_.left, kb_.Add(left, tiles_.LeftDepth(step)));
            Value b = LoadElement(c_.right, kb_.Add(right, tiles_.RightDepth(step)));
            return Values{MultiplyAdd(a, b, now[0])};
          });
      tiles_.Store(kb_.Splat(sum[0], 1), batch, row, column);
    });
  }

 private:
  // One operand of a block: where the elements that a thread brings are, and its shared memory.
  struct Side {
    struct Place {
      Value offset;   // of the element's row or column
      Value depth;    // counted from that of the step
      Value in_half;  // in shared memory
    };
    Value pointer, shared;
    int64_t half_elements;
    std::vector<Place> places;
    std::function<Value(Value step)> depth_offset;
  };

  static std::optional<int64_t> ConstantOf(Value value) { return CodeBuilder::ConstantOf(value); }

  // The thread's row or column number `i`, counted from the tile's first.
  Value Place(Value thread, int64_t i) {
    return kb_.Add(kb_.Mul(thread, kFour), i / kFour * kFour * kSide + i % kFour);
  }

  // Rows or columns go by `offset`; `across`: neighbours of them are neighbours in memory, and
  // steps of depth are not. What lies outside is replaced by the last inside, and never stored.
  Side Bring(const Tiling& tiling, Value thread, bool across, Value first, Value count,
             const std::function<Value(Value)>& offset) {
    Side side;
    side.half_elements = tiling.depth * tiling.pitch();
    side.shared = kb_.SharedMemory(2 * side.half_elements * ElementBytes(c_.element));
    const int64_t inner = across ? tiling.side() : tiling.depth;
    const int64_t step = kThreadsPerBlock / inner;
    Value fast = kb_.Rem(thread, inner), slow = kb_.Div(thread, inner);
    for (int64_t n = 0; n < tiling.brought(); ++n) {
      Value more = kb_.Add(slow, n * step);
      Value own = across ? fast : more, depth = across ? more : fast;
      Value place = kb_.Min(kb_.Add(first, own), kb_.Sub(count, 1));
      side.places.push_back({offset(place), depth, kb_.Add(kb_.Mul(depth, tiling.pitch()), own)});
    }
    return side;
  }

  Side Left(const Tiling& tiling, Value thread, const ContractionTiles::Tile& tile) {
    const bool across =
        ConstantOf(c_.left_row_stride) == 1 && ConstantOf(c_.left_depth_stride) != 1;
    Value base = c_.left_base(tile.batch);
    Side side = Bring(tiling, thread, across, tile.first_row, c_.rows,
                      [&](Value row) { return kb_.Add(base, tiles_.LeftRow(row)); });
    side.pointer = c_.left;
    side.depth_offset = [this, tile](Value step) {
      return tiles_.LeftDepth(kb_.Add(tile.first_step, step));
    };
    return side;
  }
  Side Right(const Tiling& tiling, Value thread, const ContractionTiles::Tile& tile) {
    const bool across = ConstantOf(c_.right_column_stride) == 1;
    Value base = c_.right_base(tile.batch);
    Side side = Bring(tiling, thread, across, tile.first_column, c_.columns,
                      [&](Value column) { return kb_.Add(base, tiles_.RightColumn(column)); });
    side.pointer = c_.right;
    side.depth_offset = [this, tile](Value step) {
      return tiles_.RightDepth(kb_.Add(tile.first_step, step));
    };
    return side;
  }

  Value LoadElement(Value pointer, Value offset) {
    return c_.widen(kb_.LoadAt(kb_.At(pointer, offset, c_.stored), c_.stored));
  }
  // `end`: where steps of depth end, null where all exist that are brought at a time.
  Values Load(const Side& side, Value step, Value end) {
    Values elements;
    for (const Side::Place& place : side.places) {
      Value depth = kb_.Add(step, place.depth);
      auto load = [&] {
        return Values{LoadElement(side.pointer, kb_.Add(place.offset, side.depth_offset(depth)))};
      };
      elements.push_back(end ? kb_.If(kb_.Less(depth, end), {kb_.Zero(c_.element)}, load)[0]
                             : load()[0]);
    }
    return elements;
  }
  void Store(const Side& side, const Values& elements, Value half) {
    for (size_t i = 0; i < elements.size(); ++i) {
      kb_.StoreShared(elements[i], side.shared,
                      kb_.Add(kb_.Mul(half, side.half_elements), side.places[i].in_half));
    }
  }

  Value MultiplyAdd(Value a, Value b, Value sum) {
    if (mlir::isa<mlir::FloatType>(c_.element)) return mlir::math::FmaOp::create(b_, a, b, sum);
    return arith::AddIOp::create(b_, arith::MulIOp::create(b_, a, b), sum);
  }

  // The products of one half of shared memory, added to the sums.
  Values Multiply(const Tiling& tiling, const Side& left, const Side& right, Value half, Value x,
                  Value y, ValueRange now) {
    const mlir::Type four = mlir::VectorType::get({kFour}, c_.element);
    const int64_t fours = tiling.per_thread / kFour;
    Values sums(now.begin(), now.end());
    auto load = [&](const Side& side, Value thread, int64_t depth, int64_t i) {
      // In fours.
      Value start = kb_.Add(kb_.Mul(half, side.half_elements / kFour), thread);
      return kb_.LoadShared(four, side.shared,
                            kb_.Add(start, depth * tiling.pitch() / kFour + i * kSide));
    };
    for (int64_t depth = 0; depth < tiling.depth; ++depth) {
      Value rows;
      Values columns;
      for (int64_t j = 0; j < fours; ++j) columns.push_back(load(right, x, depth, j));
      for (int64_t i = 0; i < tiling.per_thread; ++i) {
        // One load for each four rows.
        if (i % kFour == 0) rows = load(left, y, depth, i / kFour);
        Value row = mlir::vector::ExtractOp::create(b_, rows, i % kFour);
        for (int64_t j = 0; j < fours; ++j) {
          Value& sum = sums[static_cast<size_t>(i * fours + j)];
          sum = MultiplyAdd(kb_.Splat(row, kFour), columns[static_cast<size_t>(j)], sum);
        }
      }
    }
    return sums;
  }

  ContractionTiles& tiles_;
  KernelBuilder& kb_;
  mlir::ImplicitLocOpBuilder& b_;
  const cpu::Contraction& c_;
};

}  // namespace

bool CudaMapsOperands(const ContractionShape& shape, DataType dtype, const Target& target) {
  return TensorCoresServe(dtype, target) && TensorCoreTiling(shape, dtype, target).producer;
}

void EmitCudaContraction(KernelBuilder& kb, const cpu::Contraction& c,
                         const ContractionShape& shape, DataType dtype, KernelSpec& spec) {
  ContractionTiles tiles(kb, c, shape);
  if (!c.left_along_columns && TensorCoresServe(dtype, kb.target())) {
    EmitTensorCoreTiles(tiles, dtype, spec);
    return;
  }
  SetBlockThreads(kb, spec, kThreadsPerBlock);
  MultiplyAddTiles multiply_add(tiles);
  if (c.left_along_columns) {
    multiply_add.EmitElements(spec);
  } else {
    multiply_add.EmitTiles(spec);
  }
}

}  // namespace weft
