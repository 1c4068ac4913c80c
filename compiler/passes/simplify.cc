#include "compiler/passes/simplify.h"

#include <cmath>
#include <map>

#include "compiler/passes/diagnostics.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/passes/passes.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace weft {
namespace {

// Each round sees what the one before made; rules only make graphs smaller or move work to smaller
// shapes, so few are needed. The bound keeps a pair of rules that undo each other from hanging.
constexpr int kMaxRounds = 16;

const std::multimap<std::string_view, SimplifyRule>& AllRules() {
  static const auto& rules = *[] {
    auto* all = new std::multimap<std::string_view, SimplifyRule>();
    for (const auto* family :
         {&ElementwiseRules(), &ShapeRules(), &ReductionRules(), &LinearAlgebraRules()}) {
      for (const SimplifyRule& rule : *family) all->emplace(rule.op, rule);
    }
    return all;
  }();
  return rules;
}

mlir::Value ApplyRules(mlir::Operation* op, std::string_view key, OpMaker make) {
  for (auto [rule, end] = AllRules().equal_range(key); rule != end; ++rule) {
    if (mlir::Value value = rule->second.apply(op, make)) return value;
  }
  return {};
}

}  // namespace

std::optional<double> SplatOf(mlir::Value value) { return ir::SplatValueOf(SplatOfValue(value)); }

bool IsSplat(mlir::Value value, double number) {
  const std::optional<double> splat = SplatOf(value);
  return splat && *splat == number;
}

bool IsPositiveZero(mlir::Value value) {
  const std::optional<double> splat = SplatOf(value);
  return splat == 0 && !std::signbit(*splat);
}

absl::StatusOr<bool> Simplify(mlir::func::FuncOp function) {
  const FirstError error(function.getContext());
  bool changed = false, again = true;
  for (int round = 0; again && round < kMaxRounds; ++round) {
    again = false;
    std::vector<mlir::Operation*> ops;
    function.walk([&](mlir::Operation* op) {
      if (op->getNumResults() == 1 && mlir::isPure(op)) ops.push_back(op);
    });
    for (mlir::Operation* op : ops) {
      mlir::OpBuilder builder(op);
      OpMaker make(builder, op);
      mlir::Value value = ApplyRules(op, std::string_view(op->getName().stripDialect()), make);
      if (!value && KindOf(op) == OpKind::kElementwise) value = ApplyRules(op, "*", make);
      if (!error.text().empty()) return absl::InternalError(error.text());
      if (!value) continue;
      op->getResult(0).replaceAllUsesWith(value);
      op->erase();
      again = changed = true;
    }
  }
  return changed;
}

}  // namespace weft
