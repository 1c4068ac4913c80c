#include "graph/ops/evaluate_support.h"

namespace weft {

absl::Status EvaluateGather(EvaluateContext& c) {
  return SetOnlyResult(c,
                       reference::Gather(c.operand(0), c.operand(1), c.attributes().Int("axis")));
}

absl::Status EvaluateScatterAdd(EvaluateContext& c) {
  return SetOnlyResult(c, reference::ScatterAdd(c.operand(0), c.operand(1), c.operand(2)));
}

absl::Status EvaluateOneHot(EvaluateContext& c) {
  absl::StatusOr<int64_t> depth = c.Size(c.attributes().Dim("depth"));
  if (!depth.ok()) return depth.status();
  return SetOnlyResult(c, reference::OneHot(c.operand(0), *depth, c.result_dtype(0)));
}

}  // namespace weft
