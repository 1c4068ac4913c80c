#include "graph/ops/evaluate.h"

namespace weft {

absl::StatusOr<std::vector<int64_t>> EvaluateContext::Sizes(const Shape& shape) const {
  std::vector<int64_t> sizes;
  for (const DimExpr& dim : shape) {
    absl::StatusOr<int64_t> size = Size(dim);
    if (!size.ok()) return size.status();
    sizes.push_back(*size);
  }
  return sizes;
}

absl::StatusOr<HostTensor*> EvaluateContext::NewResult(int i) {
  absl::StatusOr<std::vector<int64_t>> shape = ResultShape(i);
  if (!shape.ok()) return shape.status();
  absl::StatusOr<HostTensor> tensor = HostTensor::Create(result_dtype(i), *shape);
  if (!tensor.ok()) return tensor.status();
  results_[i] = *std::move(tensor);
  return &results_[i];
}

}  // namespace weft
