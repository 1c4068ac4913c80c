#include <numeric>
#include <vector>

#include "graph/builder_support.h"
#include "graph/ops/gradient_support.h"

namespace weft {

namespace {

// Zeros of `shape`, and each slice of dy added where its index says: in f32 for bf16 and f16, whose
// sums stand still once they are some hundred times what is added. A single slice adds to nothing.
Tensor AddSlices(const Shape& shape, Tensor indices, Tensor dy) {
  const bool one = NumElements(indices.shape()).Constant() == 1;
  Tensor slices = one ? dy : As(dy, WideType(dy.dtype()));
  return As(ScatterAdd(ZerosOfShape(slices, shape), indices, slices), dy.dtype());
}

}  // namespace

// Adds each slice back where it was taken from. scatter_add works along the first axis, so another
// one is moved there and back.
absl::Status GradientGather(GradientContext& c) {
  if (!c.needs(0)) return absl::OkStatus();
  Tensor x = c.operand(0), indices = c.operand(1), dy = c.dy(0);
  int64_t axis = c.attributes().Int("axis");
  if (axis < 0) axis += x.rank();
  if (axis == 0) {
    c.SetGradient(0, AddSlices(x.shape(), indices, dy));
    return absl::OkStatus();
  }
  // dy is [before, indices, after] and becomes [indices, before, after].
  std::vector<int64_t> to_front;
  for (int64_t d = 0; d < indices.rank(); ++d) to_front.push_back(axis + d);
  for (int64_t d = 0; d < dy.rank(); ++d) {
    if (d < axis || d >= axis + indices.rank()) to_front.push_back(d);
  }
  std::vector<int64_t> x_to_front = {axis};
  for (int64_t d = 0; d < x.rank(); ++d) {
    if (d != axis) x_to_front.push_back(d);
  }
  Shape moved;
  for (int64_t d : x_to_front) moved.push_back(x.dim(d));
  Tensor added = AddSlices(moved, indices, Transpose(dy, to_front));
  c.SetGradient(0, Transpose(added, InversePermutation(x_to_front)));
  return absl::OkStatus();
}

absl::Status GradientScatterAdd(GradientContext& c) {
  if (c.needs(0)) c.SetGradient(0, c.dy(0));
  if (c.needs(2)) c.SetGradient(2, Gather(c.dy(0), c.operand(1), 0));
  return absl::OkStatus();
}

}  // namespace weft
