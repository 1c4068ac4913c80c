#include <algorithm>
#include <numeric>

#include "graph/builder_support.h"
#include "graph/ops/gradient_support.h"
#include "graph/ops/infer.h"

namespace weft {
namespace {

// How far n elements reach with `interior` ones between them.
DimExpr Reach(const DimExpr& n, int64_t interior) {
  if (interior == 0) return n;
  return n + DimExpr::Max(n - DimExpr(1), DimExpr(0)) * DimExpr(interior);
}

Tensor SumOfAll(Tensor x) {
  std::vector<int64_t> axes(x.rank());
  std::iota(axes.begin(), axes.end(), 0);
  return ReduceSum(x, axes, false);
}

}  // namespace

absl::Status GradientReshape(GradientContext& c) {
  c.SetGradient(0, Reshape(c.dy(0), c.operand(0).shape()));
  return absl::OkStatus();
}

absl::Status GradientTranspose(GradientContext& c) {
  c.SetGradient(0, Transpose(c.dy(0), InversePermutation(c.attributes().Ints("permutation"))));
  return absl::OkStatus();
}

// Sums over what was repeated.
absl::Status GradientBroadcast(GradientContext& c) {
  const Shape from = c.operand(0).shape(), to = c.result(0).shape();
  const size_t leading = to.size() - from.size();
  std::vector<int64_t> axes;
  for (size_t d = 0; d < to.size(); ++d) {
    if (d < leading || from[d - leading] != to[d]) axes.push_back(static_cast<int64_t>(d));
  }
  Tensor dx = axes.empty() ? c.dy(0) : ReduceSum(c.dy(0), axes, false);
  if (dx.shape() != from) dx = Reshape(dx, from);
  c.SetGradient(0, dx);
  return absl::OkStatus();
}

absl::Status GradientConcat(GradientContext& c) {
  const int64_t rank = c.result(0).rank();
  int64_t axis = c.attributes().Int("axis");
  if (axis < 0) axis += rank;
  DimExpr at = 0;
  for (int i = 0; i < c.num_operands(); ++i) {
    const DimExpr end = at + c.operand(i).dim(axis);
    if (c.needs(i)) {
      Shape starts(rank, DimExpr(0)), limits = c.result(0).shape();
      starts[axis] = at;
      limits[axis] = end;
      c.SetGradient(i, Slice(c.dy(0), starts, limits, std::vector<int64_t>(rank, 1)));
    }
    at = end;
  }
  return absl::OkStatus();
}

// Each element back to its place, zeros elsewhere. Where an open size may be below the start, the
// zeros in front are more than all elements, and are cut.
absl::Status GradientSlice(GradientContext& c) {
  const Shape starts = c.attributes().Dims("starts"), sizes = c.operand(0).shape(),
              taken = c.result(0).shape();
  std::vector<int64_t> interior = c.attributes().Ints("steps");
  Shape high;
  for (size_t d = 0; d < starts.size(); ++d) {
    --interior[d];
    high.push_back(NonNegative(sizes[d] - starts[d] - Reach(taken[d], interior[d])));
  }
  Tensor dx = Pad(c.dy(0), 0.0, starts, high, interior);
  if (dx.valid() && dx.shape() != sizes) {
    const std::vector<int64_t> ones(sizes.size(), 1);
    dx = Slice(dx, Shape(sizes.size(), DimExpr(0)), sizes, ones);
  }
  c.SetGradient(0, dx);
  return absl::OkStatus();
}

// The places of x go to x, everything else to the value.
absl::Status GradientPad(GradientContext& c) {
  const Shape low = c.attributes().Dims("low"), sizes = c.operand(0).shape();
  const Shape high = c.attributes().Dims("high");
  std::vector<int64_t> steps = c.attributes().Ints("interior");
  if (c.needs(1)) {
    // The sum of dy without that of x's places would be what large numbers there leave of it.
    Tensor of_x = Broadcast(ConstantNear(c.dy(0), HostTensor::Scalar(true)), sizes);
    Tensor is_x = Pad(of_x, 0.0, low, high, steps);
    c.SetGradient(1, SumOfAll(Select(is_x, ZerosLike(c.dy(0)), c.dy(0))));
  }
  if (!c.needs(0)) return absl::OkStatus();
  // Of n places `step` apart, the last one's gap is left out: how many elements there are is seen
  // from n * step. What that reads beyond dy is never taken.
  Shape limits, beyond;
  for (size_t d = 0; d < low.size(); ++d) {
    const int64_t room = high[d].LowerBound().value_or(0);
    const bool whole = !sizes[d].IsConstant();
    beyond.emplace_back(whole ? std::max<int64_t>(steps[d] - room, 0) : 0);
    limits.push_back(low[d] +
                     (whole ? sizes[d] * DimExpr(steps[d] + 1) : Reach(sizes[d], steps[d])));
    ++steps[d];
  }
  const std::vector<int64_t> none(low.size(), 0);
  const Shape zeros(low.size(), DimExpr(0));
  Tensor longer = beyond == zeros ? c.dy(0) : Pad(c.dy(0), 0.0, zeros, beyond, none);
  c.SetGradient(0, Slice(longer, low, limits, steps));
  return absl::OkStatus();
}

absl::Status GradientReverse(GradientContext& c) {
  c.SetGradient(0, Reverse(c.dy(0), c.attributes().Ints("axes")));
  return absl::OkStatus();
}

}  // namespace weft
