#include "compiler/plan/formulas.h"

namespace weft {
namespace {

Formula::Op OpOf(char op) {
  switch (op) {
    case '+':
      return Formula::ADD;
    case '-':
      return Formula::SUB;
    case '*':
      return Formula::MUL;
    case '/':
      return Formula::FLOOR_DIV;
    case '%':
      return Formula::MOD;
    case 'M':
      return Formula::MAX;
    default:
      return Formula::MIN;
  }
}

}  // namespace

FormulaTable::FormulaTable(Plan* plan) : plan_(plan) {
  for (int i = 0; i < plan->symbols_size(); ++i) {
    symbols_[plan->symbols(i)] = static_cast<uint32_t>(i);
  }
}

uint32_t FormulaTable::Add(const DimExpr& expr) {
  if (auto known = known_.find(expr); known != known_.end()) return known->second;
  const uint32_t index =
      expr.Emit([&](int64_t value) { return Append(Formula::CONSTANT, 0, 0, value); },
                [&](std::string_view symbol) {
                  return Append(Formula::SYMBOL, symbols_.find(symbol)->second, 0, 0);
                },
                [&](char op, uint32_t a, uint32_t b) { return Append(OpOf(op), a, b, 0); });
  known_.emplace(expr, index);
  return index;
}

uint32_t FormulaTable::Append(Formula::Op op, uint32_t a, uint32_t b, int64_t value) {
  auto [entry, is_new] =
      index_.try_emplace({op, a, b, value}, static_cast<uint32_t>(plan_->formulas_size()));
  if (is_new) {
    Formula* formula = plan_->add_formulas();
    formula->set_op(op);
    formula->set_a(a);
    formula->set_b(b);
    formula->set_value(value);
  }
  return entry->second;
}

}  // namespace weft
