// Activations and other functions without parameters: compositions of ops, which the compiler fuses
// into one kernel each.
#ifndef WEFT_GRAPH_LAYERS_FUNCTIONS_H_
#define WEFT_GRAPH_LAYERS_FUNCTIONS_H_

#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace weft {

// Every function takes floats and gives a tensor of x's dtype, and of x's shape unless it says
// otherwise. Axes may be negative. Errors go to Graph::status().

// max(x, 0). The gradient at 0 is 0.
Tensor Relu(Operand x);
// x for x > 0, slope * x otherwise; the gradient at 0 is the slope.
Tensor LeakyRelu(Operand x, double slope = 0.01);
// x for x > 0, exp(x) - 1 otherwise (Clevert, Unterthiner, Hochreiter, 2015, alpha = 1). The
// gradient at 0 is 1.
Tensor Elu(Operand x);
// x * Phi(x) with the normal distribution function Phi(x) = (1 + erf(x / sqrt 2)) / 2; with
// `approximate`, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel, 2016).
Tensor Gelu(Operand x, bool approximate = false);
// x * sigmoid(x), also called swish (Elfwing, Uchibe, Doya, 2017).
Tensor Silu(Operand x);
Tensor Sigmoid(Operand x);
// log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|)): neither overflows nor loses small values. The
// gradient is sigmoid(x), at 0 too.
Tensor Softplus(Operand x);
// exp(x - m) / sum exp(x - m) along the axis, m being the largest element there. NaN where m is
// infinite.
Tensor Softmax(Operand x, int64_t axis = -1);
// x - m - log sum exp(x - m).
Tensor LogSoftmax(Operand x, int64_t axis = -1);
// log sum exp(x) along the axis, which is dropped unless keep_dims; -inf of nothing but -inf, inf
// where one is inf.
Tensor LogSumExp(Operand x, int64_t axis = -1, bool keep_dims = false);

// Mean along the axes, all of them where the list is empty; open dimensions count at run time. NaN
// of no elements.
Tensor Mean(Operand x, std::vector<int64_t> axes = {}, bool keep_dims = false);
// Mean of (x - mean)^2: the biased variance.
Tensor Variance(Operand x, std::vector<int64_t> axes = {}, bool keep_dims = false);
// [a, b, c, ...] to [a, b * c * ...]: all dimensions but the first as one.
Tensor Flatten(Operand x);

}  // namespace weft

#endif  // WEFT_GRAPH_LAYERS_FUNCTIONS_H_
