// Losses: what training makes small.
#ifndef WEFT_GRAPH_LOSSES_LOSSES_H_
#define WEFT_GRAPH_LOSSES_LOSSES_H_

#include "graph/graph.h"

namespace weft {

// Operands are floats of one shape and dtype unless a comment says otherwise; other shapes are an
// error, also where an op would repeat one of them. A target may be a number. The losses that are
// per example or per element are averaged by Mean (graph/layers/functions.h), which counts open
// dimensions at run time. Errors go to Graph::status().

// Cross-entropy of softmax(logits) [..., classes] and the class of each example, labels [...] (i32,
// i64 or u8): loss [...] = log(sum_j exp(z_j)) - z_label with z = logits - max(logits), which
// neither overflows nor takes the logarithm of a rounded probability. Its gradient for the logits
// is softmax(logits) - onehot(label). A logit of -inf is a class that cannot be; where all of a row
// are, the loss is NaN. A label out of range picks no logit: the loss is log(sum_j exp(z_j)).
Tensor SoftmaxCrossEntropy(Operand logits, Operand labels);

// Cross-entropy of sigmoid(x) and targets t in [0, 1], per element:
//   max(x, 0) - x t + log(1 + exp(-|x|)) = -t log s(x) - (1 - t) log(1 - s(x)).
// Its gradient for the logits is s(x) - t everywhere, 0 included.
Tensor SigmoidCrossEntropy(Operand logits, Operand targets);

// Mean of (prediction - target)^2 over all elements, a scalar.
Tensor MeanSquaredError(Operand prediction, Operand target);
// Mean of |prediction - target| over all elements, a scalar.
Tensor MeanAbsoluteError(Operand prediction, Operand target);
// With e = |prediction - target|, the mean over all elements of e^2 / 2 where e <= delta and delta
// (e - delta / 2) beyond (Huber, 1964), a scalar. delta > 0.
Tensor HuberLoss(Operand prediction, Operand target, double delta = 1.0);

// Share of the examples whose largest logit is that of the label: a scalar of the logits' dtype.
Tensor Accuracy(Operand logits, Operand labels);

}  // namespace weft

#endif  // WEFT_GRAPH_LOSSES_LOSSES_H_
