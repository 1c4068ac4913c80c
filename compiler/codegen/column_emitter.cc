#include "compiler/codegen/column_emitter.h"

#include "graph/ir/types.h"

namespace weft {

using mlir::Value;

bool ColumnEmitter::Analyze() {
  for (mlir::Operation& op : f_.fusion.body()->without_terminator()) {
    if (IsReduction(&op)) reductions_.emplace_back(&op, kernel_);
  }
  mlir::Operation* op = reductions_[0].op();
  const Shape domain = ir::ShapeOf(op->getOperand(0));
  const std::vector<size_t> axes = ReducedAxes(op);
  outer_total_ = NumElements(domain, 0, axes.front());
  reduced_total_ = NumElements(domain, axes.front(), axes.back() + 1);
  inner_total_ = NumElements(domain, axes.back() + 1, domain.size());
  if (outer_total_.Constant() == 0 || inner_total_.Constant() == 0) {
    f_.spec.tiles = 0;
    return false;
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
        const std::vector<size_t> ends =
            f_.values.Boundaries(at, {reduced_total_ * inner_total_, inner_total_});
        for (Accumulator& reduction : reductions_) {
          f_.values.Evaluate(reduction.op()->getOperand(0), at, {});
        }
        at.erase(at.begin() + static_cast<int64_t>(ends[0]),
                 at.begin() + static_cast<int64_t>(ends[1]));
        for (Value result : f_.results) f_.values.Evaluate(result, at, {});
      });
  if (f_.values.failed()) return false;
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
  return true;
}

ColumnEmitter::Values ColumnEmitter::Start(int64_t lanes) {
  Values all;
  for (Accumulator& reduction : reductions_) {
    for (Value value : reduction.Start(lanes)) all.push_back(value);
  }
  return all;
}

ColumnEmitter::Values ColumnEmitter::Add(const Values& values, const Index& index,
                                         const Coord& number, const Guard& guard, int64_t lanes) {
  Values next;
  auto part = values.begin();
  for (Accumulator& reduction : reductions_) {
    const Values own(part, part + static_cast<int64_t>(reduction.size()));
    part += static_cast<int64_t>(reduction.size());
    Element x = f_.values.Evaluate(reduction.op()->getOperand(0), index, guard);
    for (Value value : reduction.Add(own, x, number, nullptr, lanes)) next.push_back(value);
  }
  return next;
}

ColumnEmitter::Values ColumnEmitter::Combine(const Values& a, const Values& b) {
  Values all;
  size_t at = 0;
  for (Accumulator& reduction : reductions_) {
    auto part = [&](const Values& values) {
      const auto begin = values.begin() + static_cast<int64_t>(at);
      return Values(begin, begin + static_cast<int64_t>(reduction.size()));
    };
    for (Value value : reduction.Combine(part(a), part(b))) all.push_back(value);
    at += reduction.size();
  }
  return all;
}

void ColumnEmitter::SetResults(const Values& values) {
  auto part = values.begin();
  for (Accumulator& reduction : reductions_) {
    const Values own(part, part + static_cast<int64_t>(reduction.size()));
    part += static_cast<int64_t>(reduction.size());
    reduced_[reduction.op()->getResult(0).getAsOpaquePointer()] = reduction.Result(own);
  }
}

bool ColumnEmitter::AddsFloats() {
  return llvm::any_of(reductions_, [](Accumulator& sum) { return sum.IsFloatSum(); });
}

void ColumnEmitter::StoreResults(const Index& index, const Guard& guard, int64_t lanes) {
  std::vector<Element> elements;
  for (Value result : f_.results) {
    Element x = f_.values.Evaluate(result, index, guard);
    elements.push_back(lanes > 0 ? kernel_.e().Splat(x, lanes) : x);
  }
  const Coord offset = f_.values.Offset(index);
  for (size_t i = 0; i < elements.size(); ++i) {
    kernel_.Store(elements[i], kernel_.Buffer(f_.ResultBuffer(i)), offset, lanes, guard);
  }
}

}  // namespace weft
