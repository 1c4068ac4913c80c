#include "graph/ops/gradient_support.h"

namespace weft {
namespace {

// Shared equally among the elements that are the extreme one.
absl::Status GradientExtreme(GradientContext& c) {
  const std::vector<int64_t> axes = c.attributes().Ints("axes");
  Tensor x = c.operand(0);
  Tensor extreme = Cast(Equal(x, SpreadAlong(c.result(0), axes, x.shape())), x.dtype());
  Tensor share = Reshape(c.dy(0), KeepDims(x.shape(), axes)) / ReduceSum(extreme, axes, true);
  c.SetGradient(0, extreme * Broadcast(share, x.shape()));
  return absl::OkStatus();
}

}  // namespace

absl::Status GradientReduceSum(GradientContext& c) {
  c.SetGradient(0, SpreadAlong(c.dy(0), c.attributes().Ints("axes"), c.operand(0).shape()));
  return absl::OkStatus();
}

// The product of the other elements: y / x where no element is 0. Where exactly one is, it alone
// has a gradient, the product of the others; where more are, none has one. (The second derivative
// is exact where no element is 0.)
absl::Status GradientReduceProd(GradientContext& c) {
  const std::vector<int64_t> axes = c.attributes().Ints("axes");
  Tensor x = c.operand(0);
  Tensor is_zero = Equal(x, 0.0);
  Tensor factors = Select(is_zero, OnesLike(x), x);
  Tensor zeros = ReduceSum(Cast(is_zero, x.dtype()), axes, true);
  Tensor weight = ReduceProd(factors, axes, true) * Reshape(c.dy(0), zeros.shape());
  Tensor if_none = Broadcast(Select(Equal(zeros, 0.0), weight, ZerosLike(weight)), x.shape());
  Tensor if_one = Broadcast(Select(Equal(zeros, 1.0), weight, ZerosLike(weight)), x.shape());
  c.SetGradient(0, Select(is_zero, if_one, if_none / factors));
  return absl::OkStatus();
}

absl::Status GradientReduceMax(GradientContext& c) { return GradientExtreme(c); }
absl::Status GradientReduceMin(GradientContext& c) { return GradientExtreme(c); }

}  // namespace weft
