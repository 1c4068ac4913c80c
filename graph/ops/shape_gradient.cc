#include <numeric>

#include "graph/ops/gradient_support.h"

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

// Each element back to its place, zeros elsewhere.
absl::Status GradientSlice(GradientContext& c) {
  const Shape starts = c.attributes().Dims("starts"), sizes = c.operand(0).shape(),
              taken = c.result(0).shape();
  std::vector<int64_t> interior = c.attributes().Ints("steps");
  Shape high;
  for (size_t d = 0; d < starts.size(); ++d) {
    --interior[d];
    high.push_back(sizes[d] - starts[d] - Reach(taken[d], interior[d]));
  }
  c.SetGradient(0, Pad(c.dy(0), 0.0, starts, high, interior));
  return absl::OkStatus();
}

// The places of x go to x, everything else to the value.
absl::Status GradientPad(GradientContext& c) {
  const Shape low = c.attributes().Dims("low"), sizes = c.operand(0).shape();
  std::vector<int64_t> steps = c.attributes().Ints("interior");
  Shape limits;
  for (size_t d = 0; d < low.size(); ++d) {
    limits.push_back(low[d] + Reach(sizes[d], steps[d]));
    ++steps[d];
  }
  Tensor dx = Slice(c.dy(0), low, limits, steps);
  if (c.needs(0)) c.SetGradient(0, dx);
  if (c.needs(1)) c.SetGradient(1, SumOfAll(c.dy(0)) - SumOfAll(dx));
  return absl::OkStatus();
}

absl::Status GradientReverse(GradientContext& c) {
  c.SetGradient(0, Reverse(c.dy(0), c.attributes().Ints("axes")));
  return absl::OkStatus();
}

}  // namespace weft
