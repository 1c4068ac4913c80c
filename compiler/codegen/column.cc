// Reductions over dimensions that are not innermost: lanes are neighbouring elements of the
// result, which each add up their own column.
#include <algorithm>
#include <map>

#include "compiler/codegen/accumulator.h"
#include "compiler/codegen/fusion_emitter.h"
#include "graph/ir/types.h"

namespace weft {

using mlir::Value;
using mlir::ValueRange;

namespace {

// Rows that are added up at a time: enough streams to keep memory busy.
constexpr int64_t kRows = 8;
// Rows of a float sum that are added up before they go to the rest.
constexpr int64_t kRowsPerBlock = 1024;

class Column {
 public:
  explicit Column(FusionEmitter& f) : f_(f), kernel_(f.kernel) {}

  void Emit() {
    for (mlir::Operation& op : f_.fusion.body()->without_terminator()) {
      if (IsReduction(&op)) reductions_.emplace_back(&op, kernel_);
    }
    FindExtents();
    if (outer_total_.Constant() == 0 || inner_total_.Constant() == 0) {
      f_.spec.tiles = 0;
      return;
    }
    f_.values.set_hook([this](Value value, Index&) -> std::optional<Element> {
      auto known = reduced_.find(value.getAsOpaquePointer());
      if (known == reduced_.end()) return std::nullopt;
      return known->second;
    });
    for (Accumulator& reduction : reductions_) {
      Value result = reduction.op()->getResult(0);
      reduced_[result.getAsOpaquePointer()] = {{}, ir::DataTypeOf(result)};
    }
    std::vector<DimExpr> space =
        f_.values.SplitSpace({outer_total_, reduced_total_, inner_total_}, [&](const Index& index) {
          Index at = index;
          f_.values.Boundary(at, inner_total_);
          const size_t reduced = f_.values.Boundary(at, reduced_total_ * inner_total_);
          const size_t inner = f_.values.Boundary(at, inner_total_);
          for (Accumulator& reduction : reductions_) {
            f_.values.Evaluate(reduction.op()->getOperand(0), at, {});
          }
          at.erase(at.begin() + static_cast<int64_t>(reduced),
                   at.begin() + static_cast<int64_t>(inner));
          for (Value result : f_.results) f_.values.Evaluate(result, at, {});
        });
    // The space is the outer extents, the reduced ones, and the inner ones.
    size_t inner = space.size();
    DimExpr product = 1;
    while (inner > 0 && product != inner_total_) product = product * space[--inner];
    size_t reduced = inner;
    product = 1;
    while (reduced > 0 && product != reduced_total_) product = product * space[--reduced];
    for (size_t i = 0; i < space.size(); ++i) {
      if (space[i].Constant() == 1) continue;
      (i < reduced ? outer_ : i < inner ? along_ : inner_).push_back(space[i]);
      last_root_ = static_cast<int>(i);
    }
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
  void FindExtents() {
    mlir::Operation* op = reductions_[0].op();
    const Shape domain = ir::ShapeOf(op->getOperand(0));
    const std::vector<size_t> axes = ReducedAxes(op);
    outer_total_ = Product(domain, 0, axes.front());
    reduced_total_ = Product(domain, axes.front(), axes.back() + 1);
    inner_total_ = Product(domain, axes.back() + 1, domain.size());
  }

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
        StoreResults(result, guard);
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
        std::vector<Value> sums;
        for (Accumulator& reduction : reductions_) sums.push_back(reduction.Start(lanes_)[0]);
        for (int64_t k = 0; k < count; ++k) {
          const Index rows = at(kernel_.Add(row, kernel_.I64(k)));
          Index index = before;
          index.insert(index.end(), rows.begin(), rows.end());
          index.insert(index.end(), after.begin(), after.end());
          index.push_back(column);
          for (size_t i = 0; i < reductions_.size(); ++i) {
            Element x = f_.values.Evaluate(reductions_[i].op()->getOperand(0), index, guard);
            sums[i] = reductions_[i].Add({sums[i]}, x, {}, nullptr, lanes_)[0];
          }
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
    const std::vector<Value> carried = Along(before, {}, after, Start(), guard);
    size_t at = 0;
    for (Accumulator& reduction : reductions_) {
      std::vector<Value> own(carried.begin() + static_cast<int64_t>(at),
                             carried.begin() + static_cast<int64_t>(at + reduction.size()));
      at += reduction.size();
      reduced_[reduction.op()->getResult(0).getAsOpaquePointer()] = reduction.Result(own);
    }
    StoreResults(index, guard);
  }

  void StoreResults(const Index& index, const Guard& guard) {
    std::vector<Element> elements;
    for (Value result : f_.results) {
      Element x = f_.values.Evaluate(result, index, guard);
      elements.push_back(lanes_ > 0 ? kernel_.e().Splat(x, lanes_) : x);
    }
    const Coord offset = f_.values.Offset(index);
    for (size_t i = 0; i < elements.size(); ++i) {
      kernel_.Store(elements[i], kernel_.Buffer(f_.ResultBuffer(i)), offset, lanes_, guard);
    }
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
      const bool sums =
          llvm::any_of(reductions_, [](Accumulator& sum) { return sum.IsFloatSum(); });
      if (!sums || extent.Constant().value_or(2 * kRowsPerBlock) <= kRowsPerBlock) {
        return steps(zero, end, carried);
      }
      // Blocks are added up one by one, so that errors grow with the length of a block and the
      // number of them, not with their product.
      return kernel_.For(zero, end, kRowsPerBlock, carried, [&](Value first, ValueRange totals) {
        Value last = kernel_.Min(kernel_.Add(first, kernel_.I64(kRowsPerBlock)), end);
        return Combine(std::vector<Value>(totals.begin(), totals.end()),
                       steps(first, last, Start()));
      });
    }
    Index index = before;
    index.insert(index.end(), along.begin(), along.end());
    index.insert(index.end(), after.begin(), after.end());
    const Coord number = f_.values.Offset(along);
    std::vector<Value> next;
    auto part = carried.begin();
    for (Accumulator& reduction : reductions_) {
      const std::vector<Value> own(part, part + static_cast<int64_t>(reduction.size()));
      part += static_cast<int64_t>(reduction.size());
      Element x = f_.values.Evaluate(reduction.op()->getOperand(0), index, guard);
      for (Value value : reduction.Add(own, x, number, nullptr, lanes_)) next.push_back(value);
    }
    return next;
  }

  std::vector<Value> Start() {
    std::vector<Value> all;
    for (Accumulator& reduction : reductions_) {
      for (Value value : reduction.Start(lanes_)) all.push_back(value);
    }
    return all;
  }

  std::vector<Value> Combine(const std::vector<Value>& a, const std::vector<Value>& b) {
    std::vector<Value> all;
    size_t at = 0;
    for (Accumulator& reduction : reductions_) {
      auto part = [&](const std::vector<Value>& values) {
        const auto begin = values.begin() + static_cast<int64_t>(at);
        return std::vector<Value>(begin, begin + static_cast<int64_t>(reduction.size()));
      };
      for (Value value : reduction.Combine(part(a), part(b))) all.push_back(value);
      at += reduction.size();
    }
    return all;
  }

  FusionEmitter& f_;
  KernelBuilder& kernel_;
  std::vector<Accumulator> reductions_;
  std::map<const void*, Element> reduced_;
  DimExpr outer_total_, reduced_total_, inner_total_;
  std::vector<DimExpr> outer_, along_, inner_;
  std::vector<Value> sums_;  // in scratch, for each reduction
  int64_t lanes_ = 0;
  int last_root_ = -1;  // of the innermost coordinate
};

}  // namespace

absl::Status EmitColumn(FusionEmitter& f) {
  Column(f).Emit();
  return absl::OkStatus();
}

}  // namespace weft
