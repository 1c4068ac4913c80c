// Element-wise work, and ops that move elements: one loop nest over the results' elements.
#include <algorithm>
#include <numeric>

#include "compiler/codegen/fusion_emitter.h"
#include "graph/ir/types.h"

namespace weft {

using mlir::Value;
using mlir::ValueRange;

namespace {

// Blocks of transposes: as many rows as a cache line has 4-byte elements.
constexpr int64_t kBlockHeight = 16, kBlockWidth = 16;

class Loop {
 public:
  explicit Loop(FusionEmitter& f) : f_(f), kernel_(f.kernel) {}

  void Emit() {
    const DimExpr total = NumElements(ir::ShapeOf(f_.results[0]));
    if (total.Constant() == 0) {
      f_.spec.tiles = 0;
      return;
    }
    const std::vector<DimExpr> space = f_.values.SplitSpace({total}, [&](const Index& index) {
      for (Value result : f_.results) f_.values.Evaluate(result, index, {});
    });
    std::optional<size_t> crossed;
    for (size_t i = 0; i < space.size(); ++i) {
      if (f_.values.crossed_root() == static_cast<int>(i)) crossed = space_.size();
      if (space[i].Constant() != 1) space_.push_back(space[i]);
    }
    std::vector<size_t> all(f_.results.size());
    std::iota(all.begin(), all.end(), size_t{0});
    f_.FindSharing(all);
    if (space_.size() <= 1) {
      EmitFlat();
    } else if (crossed && Estimate(space_[*crossed]) >= 8 && Estimate(space_.back()) >= 8) {
      EmitBlocked(*crossed);
    } else {
      EmitNested();
    }
  }

 private:
  // One coordinate: tiles are pieces of it.
  void EmitFlat() {
    if (space_.empty()) {
      f_.SplitIntoTiles(1, 1);
      f_.values.set_lanes(0);
      Compute({}, {});
      return;
    }
    lanes_ = f_.ChooseLanes(DimExpr::Symbol("any"));
    f_.values.set_lanes(lanes_);
    // The size is an argument even where it is known, so that loops of any size share a kernel.
    Value count = kernel_.SizeArgument(space_[0]);
    f_.spec.tiles = DimExpr::CeilDiv(space_[0], kElementsPerTile);
    Value step = kernel_.I64(kElementsPerTile);
    Value begin = kernel_.Mul(kernel_.tile_begin(), step);
    Value end = kernel_.Min(kernel_.Mul(kernel_.tile_end(), step), count);
    EmitVectors({}, begin, end, std::nullopt);
  }

  // Several: tiles are ranges of outer ones, taken together; those further in are loops.
  void EmitNested() {
    lanes_ = f_.ChooseLanes(space_.back());
    f_.values.set_lanes(lanes_);
    size_t outer = space_.size() - 1;
    int64_t inside = Estimate(space_.back());
    // A long innermost coordinate is cut as well.
    const bool cut = inside >= 4 * kElementsPerTile;
    if (cut) inside = kElementsPerTile;
    while (outer > 1 && inside * Estimate(space_[outer - 1]) <= kElementsPerTile) {
      inside *= Estimate(space_[--outer]);
    }
    std::vector<DimExpr> units(space_.begin(), space_.begin() + static_cast<int64_t>(outer));
    if (cut) units.push_back(DimExpr::CeilDiv(space_.back(), kElementsPerTile));
    const int64_t per_tile = std::max<int64_t>(1, kElementsPerTile / std::max<int64_t>(1, inside));
    const auto range = f_.SplitIntoTiles(NumElements(units), per_tile);
    kernel_.For(range.begin, range.end, 1, [&](Value unit) {
      ValueEmitter::Scope scope(f_.values);
      Index index = f_.IndexOf(unit, units);
      Value begin = kernel_.I64(0), end = kernel_.Size(space_.back());
      std::optional<int64_t> extent = space_.back().Constant();
      if (cut) {
        begin = kernel_.Mul(index.back().coord.base, kernel_.I64(kElementsPerTile));
        end = kernel_.Min(end, kernel_.Add(begin, kernel_.I64(kElementsPerTile)));
        if (*extent % kElementsPerTile == 0) {
          extent = kElementsPerTile;
        } else {
          extent.reset();
        }
        index.pop_back();
      }
      EmitInner(index, begin, end, extent);
    });
  }

  // An operand is contiguous along coordinate `crossed`, results along the last: blocks of both, so
  // that each line of the operand's memory is used up while it is in the cache.
  void EmitBlocked(size_t crossed) {
    lanes_ = std::min(kBlockWidth, f_.ChooseLanes(space_.back()));
    f_.values.set_lanes(lanes_);
    const size_t last = space_.size() - 1;
    std::vector<DimExpr> units;
    std::vector<size_t> places;
    for (size_t i = 0; i < last; ++i) {
      if (i == crossed) continue;
      units.push_back(space_[i]);
      places.push_back(i);
    }
    units.push_back(DimExpr::CeilDiv(space_[crossed], kBlockHeight));
    units.push_back(DimExpr::CeilDiv(space_[last], kBlockWidth));
    const auto range =
        f_.SplitIntoTiles(NumElements(units), kElementsPerTile / (kBlockHeight * kBlockWidth));
    auto block = [&](const IndexEntry& number, size_t dim, int64_t size) {
      Value begin = kernel_.Mul(number.coord.base, kernel_.I64(size));
      Value end = kernel_.Min(kernel_.Add(begin, kernel_.I64(size)), kernel_.Size(space_[dim]));
      return std::pair(begin, end);
    };
    std::optional<int64_t> extent;
    if (auto width = space_[last].Constant(); width && *width % kBlockWidth == 0) {
      extent = kBlockWidth;
    }
    kernel_.For(range.begin, range.end, 1, [&](Value unit) {
      ValueEmitter::Scope scope(f_.values);
      const Index numbers = f_.IndexOf(unit, units);
      const auto rows = block(numbers[last - 1], crossed, kBlockHeight);
      const auto columns = block(numbers[last], last, kBlockWidth);
      Index index(last);
      for (size_t i = 0; i < places.size(); ++i) index[places[i]] = numbers[i];
      kernel_.For(rows.first, rows.second, 1, [&](Value row) {
        ValueEmitter::Scope row_scope(f_.values);
        index[crossed] = {space_[crossed], {row, 0, {}}, -1};
        EmitVectors(index, columns.first, columns.second, extent);
      });
    });
  }

  void EmitInner(const Index& index, Value begin, Value end, std::optional<int64_t> extent) {
    if (index.size() + 1 == space_.size()) {
      EmitVectors(index, begin, end, extent);
      return;
    }
    const DimExpr& size = space_[index.size()];
    kernel_.For(kernel_.I64(0), kernel_.Size(size), 1, [&](Value i) {
      ValueEmitter::Scope scope(f_.values);
      Index inner = index;
      inner.push_back({size, {i, 0, {}}, -1});
      EmitInner(inner, begin, end, extent);
    });
  }

  void EmitVectors(const Index& outer, Value begin, Value end, std::optional<int64_t> extent) {
    kernel_.VectorFor(begin, end, extent, lanes_, {}, [&](Value i, Value tail, ValueRange) {
      ValueEmitter::Scope scope(f_.values);
      Index index = outer;
      index.push_back({space_.back(), {i, 1, {}}, -1});
      Compute(index, {tail, {}});
      return std::vector<Value>();
    });
  }

  void Compute(const Index& index, const Guard& guard) {
    // All before the first is stored, since an operand may lie where a result goes.
    std::vector<Element> elements;
    for (Value result : f_.results) elements.push_back(f_.values.Evaluate(result, index, guard));
    const Coord offset = f_.values.Offset(index);
    for (size_t i = 0; i < elements.size(); ++i) {
      kernel_.Store(elements[i], kernel_.Buffer(f_.ResultBuffer(i)), offset, f_.values.lanes(),
                    guard);
    }
  }

  FusionEmitter& f_;
  KernelBuilder& kernel_;
  std::vector<DimExpr> space_;
  int64_t lanes_ = 0;
};

}  // namespace

absl::Status EmitLoop(FusionEmitter& f) {
  Loop(f).Emit();
  return absl::OkStatus();
}

}  // namespace weft
