#include "compiler/codegen/row_emitter.h"

#include <algorithm>

#include "graph/ir/types.h"

namespace weft {

using mlir::Value;

void RowEmitter::FindReductions() {
  std::map<mlir::Operation*, int> levels;  // passes that must be over before
  for (mlir::Operation& op : f_.fusion.body()->without_terminator()) {
    int level = 0;
    for (Value operand : op.getOperands()) {
      if (mlir::Operation* source = operand.getDefiningOp()) {
        level = std::max(level, levels[source]);
      }
    }
    if (IsReduction(&op)) reductions_.push_back({Accumulator(&op, kernel_), level++});
    levels[&op] = level;
  }
}

bool RowEmitter::Analyze() {
  FindReductions();
  mlir::Operation* first = reductions_[0].accumulator.op();
  const Shape domain = ir::ShapeOf(first->getOperand(0));
  const std::vector<size_t> axes = ReducedAxes(first);
  rows_total_ = NumElements(domain, 0, axes.front());
  columns_total_ = NumElements(domain, axes.front(), domain.size());
  if (rows_total_.Constant() == 0) {
    f_.spec.tiles = 0;
    return false;
  }
  f_.values.set_hook([this](Value value, Index& index) { return Lookup(value, index); });
  for (Reduction& reduction : reductions_) {
    Value result = reduction.accumulator.op()->getResult(0);
    reduced_[result.getAsOpaquePointer()] = {{}, ir::DataTypeOf(result)};
  }
  for (size_t i = 0; i < f_.results.size(); ++i) {
    // Of the domain, unless it has the elements of the rows (with one column, that is the same).
    const bool is_row = NumElements(ir::ShapeOf(f_.results[i])) == rows_total_;
    (is_row ? row_results_ : domain_results_).push_back(i);
  }
  std::vector<DimExpr> space =
      f_.values.SplitSpace({rows_total_, columns_total_}, [&](const Index& index) {
        Index at = index;
        const size_t boundary = f_.values.Boundaries(at, {columns_total_}).front();
        for (Reduction& reduction : reductions_) {
          f_.values.Evaluate(reduction.accumulator.op()->getOperand(0), at, {});
        }
        for (size_t i : domain_results_) f_.values.Evaluate(f_.results[i], at, {});
        const Index row(at.begin(), at.begin() + static_cast<int64_t>(boundary));
        for (size_t i : row_results_) f_.values.Evaluate(f_.results[i], row, {});
      });
  if (f_.values.failed()) return false;
  // The space is the rows' extents and then the columns'.
  DimExpr product = 1;
  size_t split = space.size();
  while (split > 0 && product != columns_total_) product = product * space[--split];
  for (size_t i = 0; i < space.size(); ++i) {
    if (space[i].Constant() == 1) continue;
    (i < split ? rows_ : columns_).push_back(space[i]);
    last_root_ = static_cast<int>(i);
  }
  return true;
}

std::optional<Element> RowEmitter::Lookup(Value value, const Index&) {
  auto known = reduced_.find(value.getAsOpaquePointer());
  if (known == reduced_.end()) return std::nullopt;
  return known->second;
}

int RowEmitter::LastLevel() const {
  int last = 0;
  for (const Reduction& reduction : reductions_) last = std::max(last, reduction.level);
  return last;
}

template <typename Make>
RowEmitter::Values RowEmitter::ForReductions(int level, const Values& values, const Make& make) {
  Values all;
  size_t at = 0;
  for (Reduction& reduction : reductions_) {
    if (reduction.level != level) continue;
    const size_t size = values.empty() ? 0 : reduction.accumulator.size();
    const auto begin = values.begin() + static_cast<int64_t>(at);
    for (Value value :
         make(reduction.accumulator, Values(begin, begin + static_cast<int64_t>(size)), at)) {
      all.push_back(value);
    }
    at += size;
  }
  return all;
}

RowEmitter::Values RowEmitter::Start(int level, int64_t lanes) {
  return ForReductions(level, {}, [&](Accumulator& accumulator, const Values&, size_t) {
    return accumulator.Start(lanes);
  });
}

RowEmitter::Values RowEmitter::Add(int level, const Values& values, const Index& index,
                                   const Coord& number, const Guard& guard, Value mask,
                                   int64_t lanes) {
  return ForReductions(level, values, [&](Accumulator& accumulator, const Values& own, size_t) {
    Element x = f_.values.Evaluate(accumulator.op()->getOperand(0), index, guard);
    return accumulator.Add(own, x, number, mask, lanes);
  });
}

RowEmitter::Values RowEmitter::Combine(int level, const Values& a, const Values& b) {
  return ForReductions(level, a, [&](Accumulator& accumulator, const Values& own, size_t at) {
    const auto other = b.begin() + static_cast<int64_t>(at);
    return accumulator.Combine(own, Values(other, other + static_cast<int64_t>(own.size())));
  });
}

RowEmitter::Values RowEmitter::Join(int level, const Values& values, int64_t lanes) {
  if (lanes == 0) return values;
  return ForReductions(level, values, [&](Accumulator& accumulator, const Values& own, size_t) {
    return accumulator.Join(own, lanes);
  });
}

void RowEmitter::SetResults(int level, const Values& values) {
  ForReductions(level, values, [&](Accumulator& accumulator, const Values& own, size_t) {
    reduced_[accumulator.op()->getResult(0).getAsOpaquePointer()] = accumulator.Result(own);
    return Values();
  });
}

bool RowEmitter::AddsFloats(int level) {
  return llvm::any_of(reductions_, [&](Reduction& reduction) {
    return reduction.level == level && reduction.accumulator.IsFloatSum();
  });
}

}  // namespace weft
