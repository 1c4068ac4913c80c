// Reductions over dimensions that are not innermost, on a GPU: neighbouring threads of a warp add
// up neighbouring columns, the warps of a block every so many rows of them, and then their sums.
#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "compiler/codegen/column_emitter.h"
#include "compiler/codegen/cuda/access.h"
#include "compiler/codegen/cuda/thread.h"
#include "compiler/codegen/sum_blocks.h"
#include "graph/ir/types.h"

namespace weft {

using mlir::Value;
using mlir::ValueRange;

namespace {

// With fewer blocks than these, columns go one by one rather than by whole accesses: kFewAccesses
// to all columns.
constexpr int64_t kFewBlocks = 1024, kFewAccesses = kFewBlocks * kWarp;

class CudaColumn : ColumnEmitter {
 public:
  explicit CudaColumn(FusionEmitter& f) : ColumnEmitter(f) {}

  absl::Status Emit() {
    SetBlockThreads(f_.kernel, f_.spec, kThreadsPerBlock);
    if (!Analyze()) return absl::OkStatus();
    const DimExpr last = inner_.empty() ? DimExpr(1) : inner_.back();
    RowAccesses along(f_, last, last_root_, outer_total_ * inner_total_, kFewAccesses);
    // Of known columns, the guess for what is open around them decides.
    const bool few = last.Constant() &&
                     Estimate(outer_total_) * Estimate(inner_total_) < kFewAccesses * along.lanes();
    const int64_t both = along.IsOpen() ? SharedBytes(last, 0) : 0;
    if (few || both + SharedBytes(along.number(), along.lanes()) > kMaxSharedBytes) along.Forgo();
    if (SharedBytes(last, 0) > kMaxSharedBytes) {
      return absl::UnimplementedError(
          absl::StrCat("expected reductions of one tensor that take at most ", kMaxSharedBytes,
                       " bytes of a GPU's shared memory, got ", reductions_.size(), " that take ",
                       SharedBytes(last, 0), ", at ", ir::Describe(f_.fusion.getLoc())));
    }
    const std::vector<DimExpr> inner = AccessesTo(along.number());
    const DimExpr columns = NumElements(inner);
    // What is left of the block is as many rows deep.
    const int64_t wide = WideOf(along.number());
    const DimExpr pieces = DimExpr::CeilDiv(columns, wide);
    f_.spec.tiles = outer_total_ * pieces;

    Value thread = ThreadInBlock(kernel_), block = BlockInGrid(kernel_);
    Value x = kernel_.Rem(thread, wide), y = kernel_.Div(thread, wide);
    Value piece = kernel_.Rem(block, kernel_.Size(pieces));
    Value column = kernel_.Add(kernel_.Mul(piece, wide), x), inside;
    if (const auto known = columns.Constant(); !known || *known % wide != 0) {
      // Threads past the last column do what that of the last does, and store nothing.
      Value count = kernel_.Size(columns);
      inside = kernel_.Less(column, count);
      column = kernel_.Min(column, kernel_.Sub(count, 1));
    }
    const Index before = f_.IndexOf(kernel_.Div(block, kernel_.Size(pieces)), outer_);
    along.Emit(f_, [&](int64_t lanes) {
      lanes_ = lanes;
      f_.values.set_lanes(lanes);
      Index after = f_.IndexOf(column, inner);
      if (!after.empty()) {
        Value first = kernel_.Mul(after.back().coord.base, std::max<int64_t>(lanes, 1));
        after.back() = {last, {first, lanes > 0 ? 1 : 0, {}}, lanes > 0 ? last_root_ : -1};
      }
      EmitColumns(before, after, {x, y, wide, inside});
    });
    return absl::OkStatus();
  }

 private:
  // Which of the block's threads this is: place `x` of `wide` side by side, row `y`; whether its
  // columns are its own.
  struct Place {
    Value x, y;
    int64_t wide;
    Value inside;
  };

  // The results at `before` and `after`, of which rows are shared by the threads above each other.
  void EmitColumns(const Index& before, const Index& after, const Place& place) {
    Value thread = ThreadInBlock(kernel_);
    const int64_t wide = place.wide;
    Values values = AddUp(before, after, place.y, kThreadsPerBlock / wide);
    auto combine = [&](const Values& other) { values = Combine(values, other); };
    // Rows within a warp, then its share with the other warps'.
    for (int64_t distance = kWarp / 2; distance >= wide; distance /= 2) {
      Values others;
      for (Value value : values) {
        others.push_back(ShuffleXor(kernel_, value, static_cast<int>(distance)));
      }
      combine(others);
    }
    SharedArrays shares(kernel_, values, kThreadsPerBlock / kWarp * wide);
    Value warp = kernel_.Div(thread, kWarp), lane = kernel_.Rem(thread, kWarp);
    kernel_.If(kernel_.Less(lane, kernel_.I64(wide)),
               [&] { shares.Store(values, kernel_.Add(kernel_.Mul(warp, wide), lane)); });
    Barrier(kernel_);
    kernel_.If(kernel_.Both(place.inside, kernel_.Less(thread, kernel_.I64(wide))), [&] {
      values = shares.Load(thread);
      for (int64_t i = 1; i < kThreadsPerBlock / kWarp; ++i) {
        combine(shares.Load(kernel_.Add(thread, i * wide)));
      }
      SetResults(values);
      Index index = before;
      index.insert(index.end(), after.begin(), after.end());
      ValueEmitter::Scope scope(f_.values);
      StoreResults(index, {}, lanes_);
    });
  }

  // The columns, by so many accesses to the innermost of their extents.
  std::vector<DimExpr> AccessesTo(const DimExpr& number) const {
    std::vector<DimExpr> inner = inner_;
    if (!inner.empty()) inner.back() = number;
    return inner;
  }
  // Threads side by side.
  int64_t WideOf(const DimExpr& number) const {
    const int64_t columns = Estimate(NumElements(AccessesTo(number)));
    return static_cast<int64_t>(
        std::bit_ceil(static_cast<uint64_t>(std::clamp<int64_t>(columns, 1, kWarp))));
  }
  // By which warps tell one another their shares.
  int64_t SharedBytes(const DimExpr& number, int64_t lanes) const {
    int64_t bytes = 0;
    for (const Accumulator& reduction : reductions_) {
      bytes += SizeOf(reduction.wide_dtype()) + (reduction.size() > 1 ? 8 : 0);
    }
    return bytes * std::max<int64_t>(lanes, 1) * kThreadsPerBlock / kWarp * WideOf(number);
  }

  // Rows first, first + step, ... of a column.
  Values AddUp(const Index& before, const Index& after, Value first, int64_t step) {
    SumLoop loop;
    loop.start = [&] { return Start(lanes_); };
    loop.combine = [&](const Values& sum, const Values& block) { return Combine(sum, block); };
    loop.range = [&](Value begin, Value end, const Values& start) {
      return kernel_.For(begin, end, step, start, [&](Value row, ValueRange values) {
        ValueEmitter::Scope scope(f_.values);
        Index index = before;
        const Index along = f_.IndexOf(row, along_);
        index.insert(index.end(), along.begin(), along.end());
        index.insert(index.end(), after.begin(), after.end());
        return Add(Values(values.begin(), values.end()), index, {row, 0, {}}, {}, lanes_);
      });
    };
    const BlockLengths lengths =
        AddsFloats() ? SumBlocks({reduced_total_}, step)[0] : BlockLengths();
    return loop.Emit(kernel_, first, kernel_.Size(reduced_total_), lengths, Start(lanes_));
  }

  int64_t lanes_ = 0;
};

}  // namespace

absl::Status EmitCudaColumn(FusionEmitter& f) { return CudaColumn(f).Emit(); }

}  // namespace weft
