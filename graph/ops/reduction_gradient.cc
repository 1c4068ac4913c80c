#include "graph/builder_support.h"
#include "graph/ops/gradient_support.h"

namespace weft {
namespace {

// Shared equally among the elements that are the extreme one.
absl::Status GradientExtreme(GradientContext& c) {
  const std::vector<int64_t> axes = c.attributes().Ints("axes");
  Tensor x = c.operand(0);
  Tensor extreme = Equal(x, SpreadAlong(c.result(0), axes, x.shape()));
  // Counted in f32: 16 bits would round the count, or end at 65504.
  const DataType wide = WideType(x.dtype());
  Tensor ties = ReduceSum(Cast(extreme, wide), axes, true);
  Tensor share = As(As(Reshape(c.dy(0), ties.shape()), wide) / ties, x.dtype());
  c.SetGradient(0, Select(extreme, Broadcast(share, x.shape()), ZerosLike(x)));
  return absl::OkStatus();
}

}  // namespace

absl::Status GradientReduceSum(GradientContext& c) {
  c.SetGradient(0, SpreadAlong(c.dy(0), c.attributes().Ints("axes"), c.operand(0).shape()));
  return absl::OkStatus();
}

// The product of the other elements, as (product of those that are not 0) times (product of those
// that are): the former by dividing the whole by the element, the latter 1 where there is none,
// that element itself where there is one, else 0. An element that is 0 takes part as the variable
// it is, so the second derivative is exact as well.
absl::Status GradientReduceProd(GradientContext& c) {
  const std::vector<int64_t> axes = c.attributes().Ints("axes");
  Tensor x = c.operand(0);
  Tensor is_zero = Equal(x, 0.0);
  auto others = [&](Tensor of_each) {
    return Broadcast(ReduceSum(of_each, axes, true), x.shape()) - of_each;
  };
  Tensor factors = Select(is_zero, OnesLike(x), x);
  Tensor other_zeros = others(Cast(is_zero, WideType(x.dtype())));
  Tensor product_of_zeros = Select(
      Equal(other_zeros, 0.0), OnesLike(x),
      Select(Equal(other_zeros, 1.0), others(Select(is_zero, x, ZerosLike(x))), ZerosLike(x)));
  Tensor product = ReduceProd(factors, axes, true);
  Tensor weight = Broadcast(product * Reshape(c.dy(0), product.shape()), x.shape());
  c.SetGradient(0, weight / factors * product_of_zeros);
  return absl::OkStatus();
}

absl::Status GradientReduceMax(GradientContext& c) { return GradientExtreme(c); }
absl::Status GradientReduceMin(GradientContext& c) { return GradientExtreme(c); }

}  // namespace weft
