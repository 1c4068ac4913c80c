#include <algorithm>
#include <vector>

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

// A product's gradient is the product of the other elements. The whole divided by the element would
// not do: it may be infinite or 0 where the others' product is neither. So each element of a group
// of kGroup multiplies the others of the group, and for the groups it is done again with their
// products. What is 0 takes part like any other, so further derivatives are exact as well.
constexpr int64_t kGroup = 16;
// Of groups of groups where the size is open: enough for 2^36 elements.
constexpr int kMaxLevels = 9;

// x: [rows, n] with n known. Of each element, the product of the others in its row: n^2 products.
Tensor ProductOfFewOthers(Tensor x, int64_t n) {
  HostTensor diagonal = *HostTensor::Create(DataType::kBool, {n, n});
  for (int64_t i = 0; i < n; ++i) diagonal.mutable_values<bool>()[i * n + i] = true;
  const Shape pairs = {x.dim(0), n, n};
  Tensor each = Broadcast(Reshape(x, {x.dim(0), 1, n}), pairs);
  Tensor itself = Broadcast(ConstantNear(x, diagonal), pairs);
  return ReduceProd(Select(itself, OnesLike(each), each), {2}, false);
}

// x: [rows, n]. Where n is open, it is at most kGroup^levels.
Tensor ProductOfOthers(Tensor x, int levels) {
  if (!x.valid()) return x;
  const DimExpr rows = x.dim(0), n = x.dim(1);
  if (n.Constant().value_or(kGroup + 1) <= kGroup) return ProductOfFewOthers(x, *n.Constant());
  if (levels == 0) return OnesLike(x);
  const DimExpr groups = DimExpr::CeilDiv(n, kGroup), padded = groups * DimExpr(kGroup);
  Tensor grouped = Reshape(Pad(x, 1.0, {0, 0}, {0, padded - n}, {0, 0}), {rows * groups, kGroup});
  if (!grouped.valid()) return grouped;  // the graph has the error
  Tensor products = Reshape(ReduceProd(grouped, {1}, false), {rows, groups});
  Tensor of_groups = Reshape(ProductOfOthers(products, levels - 1), {rows * groups, 1});
  Tensor others = ProductOfFewOthers(grouped, kGroup) * of_groups;
  return Slice(Reshape(others, {rows, padded}), {0, 0}, {rows, n}, {1, 1});
}

}  // namespace

absl::Status GradientReduceSum(GradientContext& c) {
  c.SetGradient(0, SpreadAlong(c.dy(0), c.attributes().Ints("axes"), c.operand(0).shape()));
  return absl::OkStatus();
}

absl::Status GradientReduceProd(GradientContext& c) {
  const std::vector<int64_t> axes = c.attributes().Ints("axes");
  Tensor x = c.operand(0);
  // [kept axes..., reduced axes...] as rows.
  std::vector<int64_t> permutation;
  for (int64_t axis = 0; axis < x.rank(); ++axis) {
    if (!std::binary_search(axes.begin(), axes.end(), axis)) permutation.push_back(axis);
  }
  const size_t num_kept = permutation.size();
  permutation.insert(permutation.end(), axes.begin(), axes.end());
  const DataType wide = WideType(x.dtype());
  Tensor turned = Transpose(As(x, wide), permutation);
  const Shape shape = turned.shape();
  const auto middle = shape.begin() + static_cast<int64_t>(num_kept);
  Tensor rows = Reshape(
      turned, {NumElements(Shape(shape.begin(), middle)), NumElements(Shape(middle, shape.end()))});
  Tensor others =
      Transpose(Reshape(ProductOfOthers(rows, kMaxLevels), shape), InversePermutation(permutation));
  Tensor dy = As(SpreadAlong(c.dy(0), axes, x.shape()), wide);
  c.SetGradient(0, As(others * dy, x.dtype()));
  return absl::OkStatus();
}

absl::Status GradientReduceMax(GradientContext& c) { return GradientExtreme(c); }
absl::Status GradientReduceMin(GradientContext& c) { return GradientExtreme(c); }

}  // namespace weft
