#include <algorithm>

#include "graph/ops/infer.h"

namespace weft {
namespace {

Shape WithoutAxes(const Shape& shape, const std::vector<int64_t>& axes, bool keep_dims) {
  Shape result;
  for (int64_t i = 0; i < static_cast<int64_t>(shape.size()); ++i) {
    if (!std::binary_search(axes.begin(), axes.end(), i)) {
      result.push_back(shape[i]);
    } else if (keep_dims) {
      result.emplace_back(1);
    }
  }
  return result;
}

}  // namespace

absl::Status InferReduce(InferContext& c) {
  if (absl::Status s = c.CheckDType(0); !s.ok()) return s;
  absl::StatusOr<std::vector<int64_t>> axes = c.AxesAttribute(1, 2, c.rank(0));
  if (!axes.ok()) return axes.status();
  c.AddResult(c.dtype(0), WithoutAxes(c.shape(0), *axes, c.attributes().Bool("keep_dims")));
  return absl::OkStatus();
}

absl::Status InferArgReduce(InferContext& c) {
  if (absl::Status s = c.CheckDType(0); !s.ok()) return s;
  absl::StatusOr<int64_t> axis = c.AxisAttribute(1, c.rank(0));
  if (!axis.ok()) return axis.status();
  if (c.declares() && c.shape(0)[*axis] == DimExpr(0)) {
    return c.Error(2, "an axis with elements", c.operand(0).ToString());
  }
  c.AddResult(DataType::kI64, WithoutAxes(c.shape(0), {*axis}, c.attributes().Bool("keep_dims")));
  return absl::OkStatus();
}

absl::Status InferCumSum(InferContext& c) {
  if (absl::Status s = c.CheckDType(0); !s.ok()) return s;
  absl::StatusOr<int64_t> axis = c.AxisAttribute(1, c.rank(0));
  if (!axis.ok()) return axis.status();
  c.AddResult(c.dtype(0), c.shape(0));
  return absl::OkStatus();
}

}  // namespace weft
