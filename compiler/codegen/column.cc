// Reductions over dimensions that are not innermost: lanes are neighbouring elements of the
// result, which each add up their own column.
#include <algorithm>

#include "compiler/codegen/column_emitter.h"
#include "compiler/codegen/sum_blocks.h"
#include "graph/ir/types.h"

namespace weft {

using mlir::Value;
using mlir::ValueRange;

namespace {

// Rows that are added up at a time: enough streams to keep memory busy.
constexpr int64_t kRows = 8;
// Levels of sums in scratch: three are enough for millions of rows.
constexpr size_t kMostWideLevels = 3;

class Column : ColumnEmitter {
 public:
  explicit Column(FusionEmitter& f) : ColumnEmitter(f) {}

  void Emit() {
    if (!Analyze()) return;
    lanes_ = inner_.empty() ? 0 : f_.ChooseLanes(inner_.back());
    f_.values.set_lanes(lanes_);
    if (IsWide()) return EmitWide();
    // A unit is a vector of results.
    std::vector<DimExpr> units = outer_;
    if (!inner_.empty()) {
      units.insert(units.end(), inner_.begin(), inner_.end() - 1);
      units.push_back(DimExpr::CeilDiv(inner_.back(), lanes_));
    }
    const int64_t work =
        std::max<int64_t>(1, Estimate(reduced_total_)) * std::max<int64_t>(1, lanes_);
    const auto range =
        f_.SplitIntoTiles(NumElements(units), std::max<int64_t>(1, kElementsPerTile / work));
    kernel_.For(range.begin, range.end, 1, [&](Value unit) {
      ValueEmitter::Scope scope(f_.values);
      Index index = f_.IndexOf(unit, units);
      if (inner_.empty()) {
        Compute(index, index.size(), {});
        return;
      }
      Value first = kernel_.Mul(index.back().coord.base, kernel_.I64(lanes_));
      index.back() = {inner_.back(), {first, 1, {}}, last_root_};
      Guard guard;
      const auto extent = inner_.back().Constant();
      if (!extent || *extent % lanes_ != 0) {
        Value left =
            kernel_.Min(kernel_.Sub(kernel_.Size(inner_.back()), first), kernel_.I64(lanes_));
        guard.tail = kernel_.Mask(left, lanes_);
      }
      Compute(index, outer_.size(), guard);
    });
  }

 private:
  // Whether rows of the operand are longer than one vector: those are read along, rather than a
  // vector of each, as memory likes it.
  bool IsWide() {
    if (inner_.empty() || along_.empty() || Estimate(inner_.back()) <= lanes_) return false;
    if (Estimate(along_.back()) < 2 * kRows) return false;
    return llvm::none_of(reductions_, [](Accumulator& reduction) {
      return reduction.size() != 1 || reduction.dtype() == DataType::kBool;
    });
  }

  // Tiles are ranges of columns, whose sums wait in scratch while a few rows at a time are added up
  // in registers and then to them. After some such steps, a sum goes to the one of the next level,
  // and starts again.
  void EmitWide() {
    const DimExpr& columns = inner_.back();
    // Wide enough to read long pieces of rows, small enough that there are several tiles.
    int64_t width = std::clamp<int64_t>(Estimate(columns) / 8, 512, 2048);
    width = std::max(lanes_, width / lanes_ * lanes_);
    const size_t levels = AddsFloats() ? SumBlocks({NumWideSteps()}, 1)[0].size() + 1 : 1;
    sums_.resize(std::min(levels, kMostWideLevels));
    for (std::vector<Value>& sums : sums_) {
      for (Accumulator& reduction : reductions_) {
        sums.push_back(
            kernel_.Address(kernel_.scratch(), DataType::kU8, kernel_.Size(f_.spec.scratch_bytes)));
        f_.spec.scratch_bytes = f_.spec.scratch_bytes + width * SizeOf(reduction.wide_dtype());
      }
    }
    std::vector<DimExpr> units = outer_;
    units.insert(units.end(), inner_.begin(), inner_.end() - 1);
    units.push_back(DimExpr::CeilDiv(columns, width));
    const auto range = f_.SplitIntoTiles(NumElements(units), 1);
    kernel_.For(range.begin, range.end, 1, [&](Value unit) {
      ValueEmitter::Scope scope(f_.values);
      Index index = f_.IndexOf(unit, units);
      Value first = kernel_.Mul(index.back().coord.base, kernel_.I64(width));
      Value last = kernel_.Min(kernel_.Add(first, kernel_.I64(width)), kernel_.Size(columns));
      index.pop_back();
      const Index before(index.begin(), index.begin() + static_cast<int64_t>(outer_.size()));
      const Index after(index.begin() + static_cast<int64_t>(outer_.size()), index.end());
      const Columns all{first, last, columns};
      ForColumns(all, [&](Value, const IndexEntry&, const Guard&, Value at) {
        for (size_t level = 0; level < sums_.size(); ++level) {
          for (size_t i = 0; i < reductions_.size(); ++i) StartSum(level, i, at);
        }
      });
      AddRows(before, {}, after, all, kernel_.I64(0));
      ForColumns(all, [&](Value, const IndexEntry& column, const Guard& guard, Value at) {
        Values sums;
        for (size_t i = 0; i < reductions_.size(); ++i) sums.push_back(LoadSum(0, i, at));
        for (size_t level = 1; level < sums_.size(); ++level) {
          for (size_t i = 0; i < reductions_.size(); ++i) {
            sums[i] = reductions_[i].Combine({LoadSum(level, i, at)}, {sums[i]})[0];
          }
        }
        SetResults(sums);
        Index result = index;
        result.push_back(column);
        StoreResults(result, guard, lanes_);
      });
    });
  }

  struct Columns {
    Value first, last;
    DimExpr extent;
  };

  // body(first lane, the innermost entry of the index, guard, place in scratch) for vectors of
  // columns.
  template <typename Body>
  void ForColumns(const Columns& columns, const Body& body) {
    const auto extent = columns.extent.Constant();
    const bool whole = extent && *extent % lanes_ == 0;
    auto vector = [&](Value i, Value tail) {
      ValueEmitter::Scope scope(f_.values);
      body(i, IndexEntry{columns.extent, {i, 1, {}}, last_root_}, Guard{tail, {}},
           kernel_.Sub(i, columns.first));
    };
    if (whole) {
      kernel_.For(columns.first, columns.last, lanes_, [&](Value i) { vector(i, nullptr); });
      return;
    }
    kernel_.VectorFor(columns.first, columns.last, std::nullopt, lanes_, {},
                      [&](Value i, Value tail, ValueRange) {
                        vector(i, tail);
                        return std::vector<Value>();
                      });
  }

  // The sum of reduction `i`, for the columns from `at` on.
  Value SumAt(size_t level, size_t i, Value at) {
    return kernel_.Address(sums_[level][i], reductions_[i].wide_dtype(), at);
  }
  Value LoadSum(size_t level, size_t i, Value at) {
    return kernel_.LoadAt(SumAt(level, i, at),
                          kernel_.e().MemoryType(reductions_[i].wide_dtype(), lanes_));
  }
  void AddToSum(size_t level, size_t i, Value x, Value at) {
    Value sum = reductions_[i].Combine({LoadSum(level, i, at)}, {x})[0];
    kernel_.StoreAt(sum, SumAt(level, i, at));
  }
  void StartSum(size_t level, size_t i, Value at) {
    kernel_.StoreAt(reductions_[i].Start(lanes_)[0], SumAt(level, i, at));
  }

  // Times that rows are added to sums in scratch.
  DimExpr NumWideSteps() const {
    DimExpr steps = 1;
    for (size_t i = 0; i + 1 < along_.size(); ++i) steps = steps * along_[i];
    return steps * (DimExpr::FloorDiv(along_.back(), kRows) + DimExpr::Mod(along_.back(), kRows));
  }

  // After `step` steps: whole blocks go to the next level.
  void CloseBlocks(size_t level, Value step, const Columns& columns) {
    if (level + 1 == sums_.size()) return;
    int64_t length = kAddsPerBlock;
    for (size_t i = 0; i < level; ++i) length *= kAddsPerBlock;
    kernel_.If(kernel_.Equal(kernel_.Rem(step, length), kernel_.I64(0)), [&] {
      ForColumns(columns, [&](Value, const IndexEntry&, const Guard&, Value at) {
        for (size_t i = 0; i < reductions_.size(); ++i) {
          AddToSum(level + 1, i, LoadSum(level, i, at), at);
          StartSum(level, i, at);
        }
      });
      CloseBlocks(level + 1, step, columns);
    });
  }

  // Returns how many steps there were, of which there were `steps` before.
  Value AddRows(const Index& before, const Index& along, const Index& after, const Columns& columns,
                Value steps) {
    const DimExpr& extent = along_[along.size()];
    auto at = [&](Value i) {
      Index next = along;
      next.push_back({extent, {i, 0, {}}, -1});
      return next;
    };
    using Steps = std::vector<Value>;
    if (along.size() + 1 < along_.size()) {
      return kernel_.For(kernel_.I64(0), kernel_.Size(extent), 1, Steps{steps},
                         [&](Value i, ValueRange done) {
                           ValueEmitter::Scope scope(f_.values);
                           return Steps{AddRows(before, at(i), after, columns, done[0])};
                         })[0];
    }
    auto add = [&](Value row, int64_t count, Value done) {
      ValueEmitter::Scope scope(f_.values);
      ForColumns(columns, [&](Value, const IndexEntry& column, const Guard& guard, Value place) {
        Values sums = Start(lanes_);
        for (int64_t k = 0; k < count; ++k) {
          const Index rows = at(kernel_.Add(row, kernel_.I64(k)));
          Index index = before;
          index.insert(index.end(), rows.begin(), rows.end());
          index.insert(index.end(), after.begin(), after.end());
          index.push_back(column);
          sums = Add(sums, index, {}, guard, lanes_);
        }
        for (size_t i = 0; i < reductions_.size(); ++i) AddToSum(0, i, sums[i], place);
      });
      done = kernel_.Add(done, kernel_.I64(1));
      // The few rows that are left over at the very end need no further level.
      if (count == kRows || along_.size() > 1) CloseBlocks(0, done, columns);
      return Steps{done};
    };
    Value whole =
        kernel_.Mul(kernel_.Div(kernel_.Size(extent), kernel_.I64(kRows)), kernel_.I64(kRows));
    steps = kernel_.For(kernel_.I64(0), whole, kRows, Steps{steps},
                        [&](Value row, ValueRange done) { return add(row, kRows, done[0]); })[0];
    if (auto size = extent.Constant(); size && *size % kRows == 0) return steps;
    return kernel_.For(whole, kernel_.Size(extent), 1, Steps{steps},
                       [&](Value row, ValueRange done) { return add(row, 1, done[0]); })[0];
  }

  // Results at `index`, whose first `outer` coordinates stand before the reduced ones.
  void Compute(const Index& index, size_t outer, const Guard& guard) {
    const Index before(index.begin(), index.begin() + static_cast<int64_t>(outer));
    const Index after(index.begin() + static_cast<int64_t>(outer), index.end());
    SetResults(Along(before, {}, after, Start(lanes_), guard));
    StoreResults(index, guard, lanes_);
  }

  std::vector<Value> Along(const Index& before, const Index& along, const Index& after,
                           std::vector<Value> carried, const Guard& guard) {
    if (along.size() < along_.size()) {
      const DimExpr& extent = along_[along.size()];
      SumLoop loop;
      loop.start = [&] { return Start(lanes_); };
      loop.combine = [&](const Values& sum, const Values& block) { return Combine(sum, block); };
      loop.range = [&](Value begin, Value end, const Values& start) {
        return kernel_.For(begin, end, 1, start, [&](Value i, ValueRange values) {
          ValueEmitter::Scope scope(f_.values);
          Index next = along;
          next.push_back({extent, {i, 0, {}}, -1});
          return Along(before, next, after, Values(values.begin(), values.end()), guard);
        });
      };
      const BlockLengths lengths =
          AddsFloats() ? SumBlocks(along_, 1)[along.size()] : BlockLengths();
      return loop.Emit(kernel_, kernel_.I64(0), kernel_.Size(extent), lengths, carried);
    }
    Index index = before;
    index.insert(index.end(), along.begin(), along.end());
    index.insert(index.end(), after.begin(), after.end());
    return Add(carried, index, f_.values.Offset(along), guard, lanes_);
  }

  std::vector<std::vector<Value>> sums_;  // in scratch, at each level for each reduction
  int64_t lanes_ = 0;
};

}  // namespace

absl::Status EmitColumn(FusionEmitter& f) {
  Column(f).Emit();
  return absl::OkStatus();
}

}  // namespace weft
