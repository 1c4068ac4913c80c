#include <vector>

#include "graph/ops/evaluate_support.h"
#include "graph/reference/elementwise.h"

namespace weft {

absl::Status EvaluateReshape(EvaluateContext& c) {
  absl::StatusOr<std::vector<int64_t>> shape = c.ResultShape(0);
  if (!shape.ok()) return shape.status();
  return SetOnlyResult(c, reference::Reshape(c.operand(0), *shape));
}

absl::Status EvaluateTranspose(EvaluateContext& c) {
  return SetOnlyResult(c, reference::Transpose(c.operand(0), c.attributes().Ints("permutation")));
}

absl::Status EvaluateBroadcast(EvaluateContext& c) {
  absl::StatusOr<std::vector<int64_t>> shape = c.ResultShape(0);
  if (!shape.ok()) return shape.status();
  return SetOnlyResult(c, reference::Broadcast(c.operand(0), *shape));
}

absl::Status EvaluateConcat(EvaluateContext& c) {
  return SetOnlyResult(c, reference::Concat(c.operands(), c.attributes().Int("axis")));
}

absl::Status EvaluateSlice(EvaluateContext& c) {
  absl::StatusOr<std::vector<int64_t>> starts = c.Sizes(c.attributes().Dims("starts"));
  absl::StatusOr<std::vector<int64_t>> limits = c.Sizes(c.attributes().Dims("limits"));
  if (!starts.ok()) return starts.status();
  if (!limits.ok()) return limits.status();
  return SetOnlyResult(
      c, reference::Slice(c.operand(0), *starts, *limits, c.attributes().Ints("steps")));
}

absl::Status EvaluatePad(EvaluateContext& c) {
  absl::StatusOr<std::vector<int64_t>> low = c.Sizes(c.attributes().Dims("low"));
  absl::StatusOr<std::vector<int64_t>> high = c.Sizes(c.attributes().Dims("high"));
  if (!low.ok()) return low.status();
  if (!high.ok()) return high.status();
  return SetOnlyResult(
      c, reference::Pad(c.operand(0), c.operand(1), *low, *high, c.attributes().Ints("interior")));
}

absl::Status EvaluateReverse(EvaluateContext& c) {
  return SetOnlyResult(c, reference::Reverse(c.operand(0), c.attributes().Ints("axes")));
}

absl::Status EvaluateIota(EvaluateContext& c) {
  absl::StatusOr<std::vector<int64_t>> shape = c.ResultShape(0);
  if (!shape.ok()) return shape.status();
  return SetOnlyResult(c, reference::Iota(*shape, c.attributes().Int("axis"), c.result_dtype(0)));
}

absl::Status EvaluateDimSize(EvaluateContext& c) {
  absl::StatusOr<int64_t> size = c.Size(c.attributes().Dim("expr"));
  if (!size.ok()) return size.status();
  return SetOnlyResult(c, reference::Cast(HostTensor::Scalar<int64_t>(*size), c.result_dtype(0)));
}

absl::Status EvaluateConstant(EvaluateContext& c) {
  return SetOnlyResult(c, c.attributes().Elements("value"));
}

}  // namespace weft
