// Element-wise work, and ops that move elements: one loop nest over the results' elements.
#include <algorithm>
#include <numeric>

#include "compiler/codegen/fusion_emitter.h"
#include "graph/ir/types.h"
#include "kernels/cpu/transpose.h"

namespace weft {

using mlir::Value;
using mlir::ValueRange;

namespace {

// Operands far larger than the caches are asked for in blocks of so many bytes, all lines of a
// block before its first is read: memory is then busy reading or writing for some time each,
// instead of turning around for each line.
constexpr int64_t kBurstBytes = 2048;

// Shorter coordinates are not worth turning in registers.
constexpr int64_t kFewestTurned = 8;

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
    if (f_.values.failed()) return;
    for (size_t i = 0; i < space.size(); ++i) {
      if (space[i].Constant() == 1) continue;
      space_.push_back(space[i]);
      roots_.push_back(static_cast<int>(i));
    }
    const std::optional<size_t> crossed = FindCrossed();
    std::vector<size_t> all(f_.results.size());
    std::iota(all.begin(), all.end(), size_t{0});
    f_.FindSharing(all);
    if (space_.size() <= 1) {
      EmitFlat();
    } else if (crossed) {
      EmitBlocked(*crossed);
    } else {
      EmitNested();
    }
  }

 private:
  void SetLanes(int64_t lanes) {
    lanes_ = lanes;
    f_.values.set_lanes(lanes);
    for (size_t i = 0; i < f_.results.size(); ++i) {
      streams_.push_back(f_.Stream(i, space_.back(), lanes));
    }
  }

  // One coordinate: tiles are pieces of it.
  void EmitFlat() {
    if (space_.empty()) {
      f_.SplitIntoTiles(1, 1);
      f_.values.set_lanes(0);
      Compute({}, {});
      return;
    }
    SetLanes(f_.ChooseLanes(DimExpr::Symbol("any")));
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
    SetLanes(f_.ChooseLanes(space_.back()));
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

  // An operand that is read across: its innermost coordinate is not that of the results.
  struct Crossed {
    int operand;
    std::vector<int> roots;  // of its index
    Value block;             // in scratch
  };

  // The coordinate along which operands are contiguous that are read across, if there are such;
  // fills crossed_.
  std::optional<size_t> FindCrossed() {
    std::optional<size_t> crossed;
    if (space_.size() < 2 || Estimate(space_.back()) < kFewestTurned) return crossed;
    for (const auto& [operand, index] : f_.values.reads()) {
      std::vector<int> roots;
      for (const IndexEntry& entry : index) roots.push_back(entry.root);
      if (roots.empty() || roots.back() == roots_.back() ||
          std::find(roots.begin(), roots.end(), -1) != roots.end() ||
          std::find(roots.begin(), roots.end(), roots_.back()) == roots.end()) {
        continue;
      }
      const size_t inner = static_cast<size_t>(
          std::find(roots_.begin(), roots_.end(), roots.back()) - roots_.begin());
      if ((crossed && *crossed != inner) || Estimate(space_[inner]) < kFewestTurned) continue;
      crossed = inner;
      crossed_.push_back({operand, roots, {}});
    }
    return crossed;
  }

  DataType TypeOf(const Crossed& x) {
    return ir::DataTypeOf(f_.fusion.getInputs()[static_cast<unsigned>(x.operand)]);
  }

  // Operands are contiguous along coordinate `crossed`, results along the last: blocks of both are
  // turned in registers into scratch, which is in the first cache, and read from there.
  void EmitBlocked(size_t crossed) {
    int widest = 1;
    for (const Crossed& x : crossed_) widest = std::max(widest, SizeOf(TypeOf(x)));
    const int64_t side = widest > 4 ? 32 : 64;
    SetLanes(std::min(side, f_.ChooseLanes(space_.back())));
    for (Crossed& x : crossed_) {
      x.block =
          kernel_.Address(kernel_.scratch(), DataType::kU8, kernel_.Size(f_.spec.scratch_bytes));
      f_.spec.scratch_bytes = f_.spec.scratch_bytes + side * side * SizeOf(TypeOf(x));
    }
    const size_t last = space_.size() - 1;
    std::vector<DimExpr> units;
    std::vector<size_t> places;
    for (size_t i = 0; i < last; ++i) {
      if (i == crossed) continue;
      units.push_back(space_[i]);
      places.push_back(i);
    }
    units.push_back(DimExpr::CeilDiv(space_[crossed], side));
    units.push_back(DimExpr::CeilDiv(space_[last], side));
    const auto range = f_.SplitIntoTiles(NumElements(units), kElementsPerTile / (side * side));
    auto block = [&](const IndexEntry& number, size_t dim) {
      Value begin = kernel_.Mul(number.coord.base, kernel_.I64(side));
      Value end = kernel_.Min(kernel_.Add(begin, kernel_.I64(side)), kernel_.Size(space_[dim]));
      return FusionEmitter::Range{begin, end};
    };
    std::optional<int64_t> extent;
    if (auto width = space_[last].Constant(); width && *width % side == 0) extent = side;
    kernel_.For(range.begin, range.end, 1, [&](Value unit) {
      ValueEmitter::Scope scope(f_.values);
      const Index numbers = f_.IndexOf(unit, units);
      const auto rows = block(numbers[last - 1], crossed), columns = block(numbers[last], last);
      Index index(last);
      for (size_t i = 0; i < places.size(); ++i) {
        index[places[i]] = {space_[places[i]], numbers[i].coord, roots_[places[i]]};
      }
      for (const Crossed& x : crossed_) Turn(x, index, crossed, rows, columns, side);
      kernel_.For(rows.begin, rows.end, 1, [&](Value row) {
        ValueEmitter::Scope row_scope(f_.values);
        index[crossed] = {space_[crossed], {row, 0, {}}, roots_[crossed]};
        f_.values.set_hook([&](Value value, Index& at) {
          return Turned(value, at, kernel_.Sub(row, rows.begin), columns.begin, side);
        });
        EmitBlock(index, columns.begin, columns.end, extent);
        f_.values.set_hook({});
      });
    });
  }

  // Copies the operand's block to scratch, in rows along the last coordinate, square by square.
  // Elements outside the operand are not read; what scratch gets for them is never used.
  void Turn(const Crossed& x, Index index, size_t crossed, const FusionEmitter::Range& rows,
            const FusionEmitter::Range& columns, int64_t side) {
    const DataType dtype = TypeOf(x);
    const int64_t n =
        std::min<int64_t>(f_.target.Lanes(SizeOf(dtype)), f_.target.vector_registers / 2);
    Value last_column = kernel_.Sub(columns.end, kernel_.I64(1));
    const auto extent = space_[crossed].Constant();
    const bool whole = extent && *extent % n == 0;
    kernel_.For(columns.begin, columns.end, n, [&](Value column) {
      kernel_.For(rows.begin, rows.end, n, [&](Value row) {
        Value mask;
        if (!whole) mask = kernel_.Mask(kernel_.Sub(rows.end, row), n);
        CodeBuilder::Values square;
        for (int64_t i = 0; i < n; ++i) {
          Value at = kernel_.Min(kernel_.Add(column, i), last_column);
          Index source;
          for (int root : x.roots) {
            const size_t place =
                static_cast<size_t>(std::find(roots_.begin(), roots_.end(), root) - roots_.begin());
            if (place == crossed) {
              source.push_back({space_[place], {row, 1, {}}, -1});
            } else if (place + 1 == space_.size()) {
              source.push_back({space_[place], {at, 0, {}}, -1});
            } else {
              source.push_back(index[place]);
            }
          }
          Value offset = f_.values.Offset(source).base;
          square.push_back(kernel_.LoadAt(kernel_.Address(kernel_.Buffer(x.operand), dtype, offset),
                                          kernel_.e().MemoryType(dtype, n), mask));
        }
        cpu::TransposeSquare(kernel_.b(), square);
        Value to = kernel_.Add(kernel_.Mul(kernel_.Sub(row, rows.begin), side),
                               kernel_.Sub(column, columns.begin));
        for (int64_t i = 0; i < n; ++i) {
          kernel_.StoreAt(square[static_cast<size_t>(i)],
                          kernel_.Address(x.block, dtype, kernel_.Add(to, i * side)));
        }
      });
    });
  }

  // The element of an operand that has been turned, from row `row` of its block.
  std::optional<Element> Turned(Value value, const Index& index, Value row, Value first_column,
                                int64_t side) {
    auto argument = mlir::dyn_cast<mlir::BlockArgument>(value);
    if (!argument) return std::nullopt;
    for (const Crossed& x : crossed_) {
      if (x.operand != static_cast<int>(argument.getArgNumber()) ||
          x.roots.size() != index.size()) {
        continue;
      }
      Value column;
      bool same = true;
      for (size_t i = 0; i < index.size(); ++i) {
        same = same && index[i].root == x.roots[i];
        if (index[i].root == roots_.back()) column = index[i].coord.base;
      }
      if (!same) continue;
      Value offset =
          kernel_.Add(kernel_.Mul(row, kernel_.I64(side)), kernel_.Sub(column, first_column));
      return kernel_.Load(x.block, TypeOf(x), {offset, 1, {}}, lanes_, {}, /*invariant=*/false);
    }
    return std::nullopt;
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
    if (!f_.PassesCaches() || lanes_ == 0) return EmitBlock(outer, begin, end, extent);
    const DimExpr total = NumElements(ir::ShapeOf(f_.results[0]));
    int64_t element_bytes = 0;
    for (int operand : f_.StreamedOperands(total)) {
      element_bytes +=
          SizeOf(ir::DataTypeOf(f_.fusion.getInputs()[static_cast<unsigned>(operand)]));
    }
    if (element_bytes == 0) return EmitBlock(outer, begin, end, extent);
    const int64_t block = std::max(lanes_, kBurstBytes / element_bytes / lanes_ * lanes_);
    // Begins are multiples of a tile or 0.
    extent.reset();
    const auto length = space_.back().Constant();
    if (length && *length % block == 0 && kElementsPerTile % block == 0) extent = block;
    kernel_.For(begin, end, block, [&](Value first) {
      Value last = kernel_.Min(kernel_.Add(first, kernel_.I64(block)), end);
      const Coord start = f_.values.Offset(outer);
      Value row = kernel_.Mul(start.base, kernel_.Size(space_.back()));
      f_.PrefetchRange(total, kernel_.Add(row, first), kernel_.Add(row, last));
      EmitBlock(outer, first, last, extent);
    });
  }

  void EmitBlock(const Index& outer, Value begin, Value end, std::optional<int64_t> extent) {
    kernel_.VectorFor(begin, end, extent, lanes_, {}, [&](Value i, Value tail, ValueRange) {
      ValueEmitter::Scope scope(f_.values);
      Index index = outer;
      index.push_back({space_.back(), {i, 1, {}}, roots_.back()});
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
                    guard, streams_.empty() ? Value() : streams_[i]);
    }
  }

  FusionEmitter& f_;
  KernelBuilder& kernel_;
  std::vector<DimExpr> space_;
  std::vector<int> roots_;  // of the coordinates of space_
  std::vector<Crossed> crossed_;
  int64_t lanes_ = 0;
  // For each result, where it goes past the caches; empty without lanes.
  std::vector<Value> streams_;
};

}  // namespace

absl::Status EmitLoop(FusionEmitter& f) {
  Loop(f).Emit();
  return absl::OkStatus();
}

}  // namespace weft
