#include "graph/ops/evaluate_support.h"

namespace weft {

absl::Status EvaluateMatMul(EvaluateContext& c) {
  return SetOnlyResult(
      c, reference::MatMul(c.operand(0), c.operand(1), c.attributes().Bool("transpose_a"),
                           c.attributes().Bool("transpose_b")));
}

}  // namespace weft
