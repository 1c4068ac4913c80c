// The formulas of a plan.
#ifndef WEFT_COMPILER_PLAN_FORMULAS_H_
#define WEFT_COMPILER_PLAN_FORMULAS_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "proto/dim_expr.h"
#include "proto/plan.pb.h"

namespace weft {

// Appends to a plan's formulas, each only once.
class FormulaTable {
 public:
  // `plan` must outlive the table and have its symbols.
  explicit FormulaTable(Plan* plan);
  // The index of the formula with this value. Every symbol in `expr` is one of the plan's.
  uint32_t Add(const DimExpr& expr);

 private:
  uint32_t Append(Formula::Op op, uint32_t a, uint32_t b, int64_t value);

  Plan* plan_;
  std::map<std::string, uint32_t, std::less<>> symbols_;
  std::map<std::tuple<int, uint32_t, uint32_t, int64_t>, uint32_t> index_;
  std::map<DimExpr, uint32_t> known_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_PLAN_FORMULAS_H_
