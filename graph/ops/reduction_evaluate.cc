#include "graph/ops/evaluate_support.h"

namespace weft {
namespace {

absl::Status EvaluateReduction(EvaluateContext& c, reference::Reduction reduction) {
  return SetOnlyResult(c, reference::Reduce(reduction, c.operand(0), c.attributes().Ints("axes"),
                                            c.attributes().Bool("keep_dims")));
}

absl::Status EvaluateArgReduction(EvaluateContext& c, bool max) {
  return SetOnlyResult(c, reference::ArgReduce(max, c.operand(0), c.attributes().Int("axis"),
                                               c.attributes().Bool("keep_dims")));
}

}  // namespace

absl::Status EvaluateReduceSum(EvaluateContext& c) {
  return EvaluateReduction(c, reference::Reduction::kSum);
}
absl::Status EvaluateReduceProd(EvaluateContext& c) {
  return EvaluateReduction(c, reference::Reduction::kProd);
}
absl::Status EvaluateReduceMax(EvaluateContext& c) {
  return EvaluateReduction(c, reference::Reduction::kMax);
}
absl::Status EvaluateReduceMin(EvaluateContext& c) {
  return EvaluateReduction(c, reference::Reduction::kMin);
}
absl::Status EvaluateReduceAnd(EvaluateContext& c) {
  return EvaluateReduction(c, reference::Reduction::kAnd);
}
absl::Status EvaluateReduceOr(EvaluateContext& c) {
  return EvaluateReduction(c, reference::Reduction::kOr);
}
absl::Status EvaluateArgMax(EvaluateContext& c) { return EvaluateArgReduction(c, true); }
absl::Status EvaluateArgMin(EvaluateContext& c) { return EvaluateArgReduction(c, false); }

absl::Status EvaluateCumSum(EvaluateContext& c) {
  const Attributes& a = c.attributes();
  return SetOnlyResult(
      c, reference::CumSum(c.operand(0), a.Int("axis"), a.Bool("exclusive"), a.Bool("reverse")));
}

}  // namespace weft
