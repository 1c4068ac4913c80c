#include "graph/ops/evaluate.h"

namespace weft {

#include "graph/ops/evaluate_table.inc"

EvaluateFunction EvaluateOf(const OpInfo& op) { return kEvaluateFunctions[op.index]; }

}  // namespace weft
