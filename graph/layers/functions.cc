#include "graph/layers/functions.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "graph/builder_support.h"

namespace weft {
namespace {

// An empty list stands for all axes.
std::vector<int64_t> AxesOrAll(std::vector<int64_t> axes, int64_t rank) {
  if (axes.empty()) {
    axes.resize(rank);
    std::iota(axes.begin(), axes.end(), 0);
  }
  return axes;
}

// How many elements are averaged, as a scalar of x's dtype.
Tensor CountAlong(const Tensor& x, const std::vector<int64_t>& axes) {
  Shape sizes;
  for (int64_t axis : axes) {
    // An axis out of range is the reduction's error to report.
    if (axis >= -x.rank() && axis < x.rank()) sizes.push_back(x.dim(axis));
  }
  return SizeLike(x, NumElements(sizes));
}

}  // namespace

Tensor Relu(Operand x) { return Maximum(x, 0.0); }

Tensor LeakyRelu(Operand x, double slope) {
  const CallerLocation at(x.tensor(), x.location());
  return Select(Greater(x, 0.0), x, x * slope);
}

Tensor Elu(Operand x) {
  const CallerLocation at(x.tensor(), x.location());
  // The branch that is not taken must not overflow: its gradient would be 0 * inf. At 0 the
  // gradient of the minimum goes to its second operand.
  return Select(Greater(x, 0.0), x, Expm1(Minimum(0.0, x)));
}

Tensor Gelu(Operand x, bool approximate) {
  const CallerLocation at(x.tensor(), x.location());
  if (approximate) {
    const double scale = std::sqrt(2 / std::numbers::pi);
    // Beyond 10 the tangent is 1 or -1 in every dtype; without the bound the cube would overflow,
    // in f16 from 41 on, and the gradient be 0 * inf.
    Tensor near = Clamp(x, -10.0, 10.0);
    return x * 0.5 * (Tanh((near + near * near * near * 0.044715) * scale) + 1.0);
  }
  return x * 0.5 * (Erf(x * (1 / std::numbers::sqrt2)) + 1.0);
}

Tensor Silu(Operand x) {
  const CallerLocation at(x.tensor(), x.location());
  return x * Logistic(x);
}

Tensor Sigmoid(Operand x) { return Logistic(x); }

Tensor Softplus(Operand x) {
  const CallerLocation at(x.tensor(), x.location());
  // At 0 the gradient of both goes to their second operand: 1 - 1 / 2, as it should. With |x| it
  // would be 0.
  return Maximum(0.0, x) + Log1p(Exp(Minimum(x, -x)));
}

// Shifting x changes no result, so no gradient has to flow through the largest element.
Tensor Softmax(Operand x, int64_t axis) {
  const CallerLocation at(x.tensor(), x.location());
  Tensor exponential = Exp(x - StopGradient(ReduceMax(x, {axis}, true)));
  return exponential / ReduceSum(exponential, {axis}, true);
}

Tensor LogSoftmax(Operand x, int64_t axis) {
  const CallerLocation at(x.tensor(), x.location());
  Tensor shifted = x - StopGradient(ReduceMax(x, {axis}, true));
  return shifted - Log(ReduceSum(Exp(shifted), {axis}, true));
}

Tensor LogSumExp(Operand x, int64_t axis, bool keep_dims) {
  const CallerLocation at(x.tensor(), x.location());
  Tensor largest = StopGradient(ReduceMax(x, {axis}, true));
  // An infinite one would leave inf - inf.
  largest = Select(IsFinite(largest), largest, 0.0);
  Tensor sum = ReduceSum(Exp(x - largest), {axis}, keep_dims);
  return Log(sum) + (keep_dims ? largest : ReduceSum(largest, {axis}));
}

Tensor Mean(Operand x, std::vector<int64_t> axes, bool keep_dims) {
  if (!x.tensor().valid()) return {};
  const CallerLocation at(x.tensor(), x.location());
  const DataType dtype = x.tensor().dtype();
  axes = AxesOrAll(std::move(axes), x.tensor().rank());
  // The sum of many elements, and their number, may be out of the range of 16 bits.
  Tensor wide = As(x.tensor(), WideType(dtype));
  return As(ReduceSum(wide, axes, keep_dims) / CountAlong(wide, axes), dtype);
}

Tensor Variance(Operand x, std::vector<int64_t> axes, bool keep_dims) {
  if (!x.tensor().valid()) return {};
  const CallerLocation at(x.tensor(), x.location());
  axes = AxesOrAll(std::move(axes), x.tensor().rank());
  Tensor centered = x - Mean(x, axes, true);
  return Mean(centered * centered, axes, keep_dims);
}

Tensor Flatten(Operand x) {
  if (!x.tensor().valid()) return {};
  const Shape shape = x.tensor().shape();
  if (shape.empty()) return Reshape(x, {DimExpr(1), DimExpr(1)});
  return Reshape(x, {shape[0], NumElements(Shape(shape.begin() + 1, shape.end()))});
}

}  // namespace weft
