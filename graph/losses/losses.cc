#include "graph/losses/losses.h"

#include "graph/builder_support.h"
#include "graph/layers/functions.h"

namespace weft {

Tensor SoftmaxCrossEntropy(Operand logits, Operand labels) {
  if (!logits.tensor().valid() || !labels.tensor().valid()) return {};
  const CallerLocation at(logits.tensor(), logits.location());
  Tensor shifted = logits - StopGradient(ReduceMax(logits, {-1}, true));
  Tensor log_sum = Log(ReduceSum(Exp(shifted), {-1}));
  Tensor picked = OneHot(labels, logits.tensor().dim(-1), logits.tensor().dtype());
  return log_sum - ReduceSum(shifted * picked, {-1});
}

Tensor SigmoidCrossEntropy(Operand logits, Operand targets) {
  if (!logits.tensor().valid()) return {};
  const CallerLocation at(logits.tensor(), logits.location());
  return Maximum(logits, 0.0) - logits * targets + Log1p(Exp(-Abs(logits)));
}

Tensor MeanSquaredError(Operand prediction, Operand target) {
  if (!prediction.tensor().valid()) return {};
  const CallerLocation at(prediction.tensor(), prediction.location());
  Tensor error = prediction - target;
  return Mean(error * error);
}

Tensor MeanAbsoluteError(Operand prediction, Operand target) {
  if (!prediction.tensor().valid()) return {};
  const CallerLocation at(prediction.tensor(), prediction.location());
  return Mean(Abs(prediction - target));
}

Tensor HuberLoss(Operand prediction, Operand target, double delta) {
  if (!prediction.tensor().valid()) return {};
  const CallerLocation at(prediction.tensor(), prediction.location());
  // With q = min(e, delta): q (e - q / 2) is both branches at once.
  Tensor error = Abs(prediction - target);
  Tensor quadratic = Minimum(error, delta);
  return Mean(quadratic * (error - quadratic * 0.5));
}

Tensor Accuracy(Operand logits, Operand labels) {
  if (!logits.tensor().valid()) return {};
  const CallerLocation at(logits.tensor(), logits.location());
  Tensor right = Equal(ArgMax(logits, -1), Cast(labels, DataType::kI64));
  return Mean(Cast(right, logits.tensor().dtype()));
}

}  // namespace weft
