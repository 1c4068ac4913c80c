#include "graph/ops/gradient_support.h"

#include <numeric>
#include <utility>

#include "graph/builder_support.h"

namespace weft {

Tensor ZerosOfShape(Tensor like, const Shape& shape) {
  return Broadcast(ScalarLike(like, 0.0), shape);
}

Shape KeepDims(Shape shape, const std::vector<int64_t>& axes) {
  const int64_t rank = static_cast<int64_t>(shape.size());
  for (int64_t axis : axes) shape[axis < 0 ? axis + rank : axis] = DimExpr(1);
  return shape;
}

Tensor SpreadAlong(Tensor x, const std::vector<int64_t>& axes, const Shape& full) {
  const Shape kept = KeepDims(full, axes);
  if (x.shape() != kept) x = Reshape(x, kept);
  return kept == full ? x : Broadcast(x, full);
}

std::vector<int64_t> InversePermutation(const std::vector<int64_t>& permutation) {
  std::vector<int64_t> inverse(permutation.size());
  for (size_t i = 0; i < permutation.size(); ++i) inverse[permutation[i]] = static_cast<int64_t>(i);
  return inverse;
}

Tensor TransposeLastTwo(Tensor x) {
  std::vector<int64_t> permutation(x.rank());
  std::iota(permutation.begin(), permutation.end(), 0);
  std::swap(permutation[x.rank() - 1], permutation[x.rank() - 2]);
  return Transpose(x, permutation);
}

}  // namespace weft
