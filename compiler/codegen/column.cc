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
    }
    lanes_ = inner_.empty() ? 0 : f_.ChooseLanes(inner_.back());
    f_.values.set_lanes(lanes_);
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
      index.back() = {inner_.back(), {first, 1, {}}, -1};
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

  // Results at `index`, whose first `outer` coordinates stand before the reduced ones.
  void Compute(const Index& index, size_t outer, const Guard& guard) {
    std::vector<Value> carried;
    for (Accumulator& reduction : reductions_) {
      for (Value value : reduction.Start(lanes_)) carried.push_back(value);
    }
    const Index before(index.begin(), index.begin() + static_cast<int64_t>(outer));
    const Index after(index.begin() + static_cast<int64_t>(outer), index.end());
    carried = Along(before, {}, after, carried, guard);
    size_t at = 0;
    for (Accumulator& reduction : reductions_) {
      std::vector<Value> own(carried.begin() + static_cast<int64_t>(at),
                             carried.begin() + static_cast<int64_t>(at + reduction.size()));
      at += reduction.size();
      reduced_[reduction.op()->getResult(0).getAsOpaquePointer()] = reduction.Result(own);
    }
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
      return kernel_.For(kernel_.I64(0), kernel_.Size(extent), 1, carried,
                         [&](Value i, ValueRange values) {
                           ValueEmitter::Scope scope(f_.values);
                           Index next = along;
                           next.push_back({extent, {i, 0, {}}, -1});
                           return Along(before, next, after,
                                        std::vector<Value>(values.begin(), values.end()), guard);
                         });
    }
    Index index = before;
    index.insert(index.end(), along.begin(), along.end());
    index.insert(index.end(), after.begin(), after.end());
    const Coord number = f_.values.Offset(along);
    std::vector<Value> next;
    size_t at = 0;
    for (Accumulator& reduction : reductions_) {
      std::vector<Value> own(carried.begin() + static_cast<int64_t>(at),
                             carried.begin() + static_cast<int64_t>(at + reduction.size()));
      at += reduction.size();
      Element x = f_.values.Evaluate(reduction.op()->getOperand(0), index, guard);
      for (Value value : reduction.Add(own, x, number, nullptr, lanes_)) next.push_back(value);
    }
    return next;
  }

  FusionEmitter& f_;
  KernelBuilder& kernel_;
  std::vector<Accumulator> reductions_;
  std::map<const void*, Element> reduced_;
  DimExpr outer_total_, reduced_total_, inner_total_;
  std::vector<DimExpr> outer_, along_, inner_;
  int64_t lanes_ = 0;
};

}  // namespace

absl::Status EmitColumn(FusionEmitter& f) {
  Column(f).Emit();
  return absl::OkStatus();
}

}  // namespace weft
