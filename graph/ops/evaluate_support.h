// Shared by the evaluators of graph/ops/*_evaluate.cc, which read a node's attributes and call the
// kernels of graph/reference.
#ifndef WEFT_GRAPH_OPS_EVALUATE_SUPPORT_H_
#define WEFT_GRAPH_OPS_EVALUATE_SUPPORT_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/ops/evaluate.h"
#include "graph/reference/kernels.h"

namespace weft {

// Makes `value` the first result, or hands on its error.
inline absl::Status SetOnlyResult(EvaluateContext& c, absl::StatusOr<HostTensor> value) {
  if (!value.ok()) return value.status();
  c.SetResult(0, *std::move(value));
  return absl::OkStatus();
}

}  // namespace weft

#endif  // WEFT_GRAPH_OPS_EVALUATE_SUPPORT_H_
