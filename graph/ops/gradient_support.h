// Shared by the gradient functions of graph/ops/*_gradient.cc: small compositions of ops.
#ifndef WEFT_GRAPH_OPS_GRADIENT_SUPPORT_H_
#define WEFT_GRAPH_OPS_GRADIENT_SUPPORT_H_

#include <cstdint>
#include <vector>

#include "graph/graph.h"
#include "graph/ops/gradient.h"

namespace weft {

// Zeros in the graph and of the dtype of `like`, in another shape.
Tensor ZerosOfShape(Tensor like, const Shape& shape);

// x, in which the axes of `full` were reduced, as `full` has it: axes of size 1 put in, and
// repeated along them.
Tensor SpreadAlong(Tensor x, const std::vector<int64_t>& axes, const Shape& full);
// x's shape with size 1 along the axes.
Shape KeepDims(Shape shape, const std::vector<int64_t>& axes);

// The permutation that undoes another one.
std::vector<int64_t> InversePermutation(const std::vector<int64_t>& permutation);
// 0, 1, ... rank - 1 with the last two swapped.
Tensor TransposeLastTwo(Tensor x);

}  // namespace weft

#endif  // WEFT_GRAPH_OPS_GRADIENT_SUPPORT_H_
