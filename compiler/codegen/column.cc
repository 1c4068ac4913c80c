// Reductions over dimensions that are not innermost: lanes are neighbouring elements of the
// result, which each add up their own column.
#include <algorithm>

#include "compiler/codegen/column_emitter.h"
#include "graph/ir/types.h"

namespace weft {

using mlir::Value;
using mlir::ValueRange;

namespace {

// Rows that are added up at a time: enough streams to keep memory busy.
constexpr int64_t kRows = 8;
// Rows of a float sum that are added up before they go to the rest.
constexpr int64_t kRowsPerBlock = 1024;

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
  // in registers and then to them.
  void EmitWide() {
    const DimExpr& columns = inner_.back();
    // Wide enough to read long pieces of rows, small enough that there are several tiles.
    int64_t width = std::clamp<int64_t>(Estimate(columns) / 8, 512, 2048);
    width = std::max(lanes_, width / lanes_ * lanes_);
    for (Accumulator& reduction : reductions_) {
      sums_.push_back(
          kernel_.Address(kernel_.scratch(), DataType::kU8, kernel_.Size(f_.spec.scratch_bytes)));
      f_.spec.scratch_bytes = f_.spec.scratch_bytes + width * SizeOf(reduction.wide_dtype());
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
        for (size_t i = 0; i < reductions_.size(); ++i) {
          StoreSum(i, reductions_[i].Start(lanes_)[0], at);
        }
      });
      AddRows(before, {}, after, all);
      ForColumns(all, [&](Value, const IndexEntry& column, const Guard& guard, Value at) {
        for (size_t i = 0; i < reductions_.size(); ++i) {
          reduced_[reductions_[i].op()->getResult(0).getAsOpaquePointer()] =
              reductions_[i].Result({LoadSum(i, at)});
        }
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

  Value SumAt(size_t i, Value at) {
    return kernel_.Address(sums_[i], reductions_[i].wide_dtype(), at);
  }
  Value LoadSum(size_t i, Value at) {
    return kernel_.LoadAt(SumAt(i, at),
                          kernel_.e().MemoryType(reductions_[i].wide_dtype(), lanes_));
  }
  void StoreSum(size_t i, Value sum, Value at) { kernel_.StoreAt(sum, SumAt(i, at)); }

  void AddRows(const Index& before, const Index& along, const Index& after,
               const Columns& columns) {
    const DimExpr& extent = along_[along.size()];
    auto at = [&](Value i) {
      Index next = along;
      next.push_back({extent, {i, 0, {}}, -1});
      return next;
    };
    if (along.size() + 1 < along_.size()) {
      kernel_.For(kernel_.I64(0), kernel_.Size(extent), 1, [&](Value i) {
        ValueEmitter::Scope scope(f_.values);
        AddRows(before, at(i), after, columns);
      });
      return;
    }
    auto add = [&](Value row, int64_t count) {
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
        for (size_t i = 0; i < reductions_.size(); ++i) {
          StoreSum(i, reductions_[i].Combine({LoadSum(i, place)}, {sums[i]})[0], place);
        }
      });
    };
    Value whole =
        kernel_.Mul(kernel_.Div(kernel_.Size(extent), kernel_.I64(kRows)), kernel_.I64(kRows));
    kernel_.For(kernel_.I64(0), whole, kRows, [&](Value row) {
      ValueEmitter::Scope scope(f_.values);
      add(row, kRows);
    });
    if (auto size = extent.Constant(); size && *size % kRows == 0) return;
    kernel_.For(whole, kernel_.Size(extent), 1, [&](Value row) {
      ValueEmitter::Scope scope(f_.values);
      add(row, 1);
    });
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
      auto steps = [&](Value begin, Value end, const std::vector<Value>& start) {
        return kernel_.For(begin, end, 1, start, [&](Value i, ValueRange values) {
          ValueEmitter::Scope scope(f_.values);
          Index next = along;
          next.push_back({extent, {i, 0, {}}, -1});
          return Along(before, next, after, std::vector<Value>(values.begin(), values.end()),
                       guard);
        });
      };
      Value zero = kernel_.I64(0), end = kernel_.Size(extent);
      if (!AddsFloats() || extent.Constant().value_or(2 * kRowsPerBlock) <= kRowsPerBlock) {
        return steps(zero, end, carried);
      }
      // Blocks are added up one by one, so that errors grow with the length of a block and the
      // number of them, not with their product.
      return kernel_.For(zero, end, kRowsPerBlock, carried, [&](Value first, ValueRange totals) {
        Value last = kernel_.Min(kernel_.Add(first, kernel_.I64(kRowsPerBlock)), end);
        return Combine(std::vector<Value>(totals.begin(), totals.end()),
                       steps(first, last, Start(lanes_)));
      });
    }
    Index index = before;
    index.insert(index.end(), along.begin(), along.end());
    index.insert(index.end(), after.begin(), after.end());
    return Add(carried, index, f_.values.Offset(along), guard, lanes_);
  }

  std::vector<Value> sums_;  // in scratch, for each reduction
  int64_t lanes_ = 0;
};

}  // namespace

absl::Status EmitColumn(FusionEmitter& f) {
  Column(f).Emit();
  return absl::OkStatus();
}

}  // namespace weft
