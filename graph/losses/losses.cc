#include "graph/losses/losses.h"

#include "absl/strings/str_cat.h"
#include "graph/builder_support.h"
#include "graph/layers/functions.h"

namespace weft {
namespace {

// Whether both are of one shape (or one is a number). Repeating along dimensions of size 1 would
// make [n, 1] and [n] a loss over n * n pairs, which nobody means.
bool SameShape(const char* loss, const Operand& a, const Operand& b) {
  for (const Operand* operand : {&a, &b}) {
    if (!operand->is_number() && !operand->tensor().valid()) return false;
  }
  if (a.is_number() || b.is_number() || a.tensor().shape() == b.tensor().shape()) return true;
  ReportError(
      a.tensor(),
      absl::StrCat(loss, ": expected operands of one shape, got ", ToString(a.tensor().shape()),
                   " and ", ToString(b.tensor().shape()), "; reshape one of them"),
      a.location());
  return false;
}

// Whether there is a label for each row of logits.
bool LabelsFit(const char* loss, const Tensor& logits, const Operand& labels,
               const SourceLocation& location) {
  if (!logits.valid() || !labels.tensor().valid()) return false;
  Shape rows = logits.shape();
  if (!rows.empty()) rows.pop_back();
  if (logits.rank() >= 1 && labels.tensor().shape() == rows) return true;
  ReportError(logits,
              absl::StrCat(loss, ": expected logits [..., classes] and labels [...], got ",
                           ToString(logits.shape()), " and ", ToString(labels.tensor().shape())),
              location);
  return false;
}

}  // namespace

Tensor SoftmaxCrossEntropy(Operand logits, Operand labels) {
  if (!LabelsFit("SoftmaxCrossEntropy", logits.tensor(), labels, logits.location())) return {};
  const CallerLocation at(logits.tensor(), logits.location());
  Tensor shifted = logits - StopGradient(ReduceMax(logits, {-1}, true));
  Tensor log_sum = Log(ReduceSum(Exp(shifted), {-1}));
  // Chosen rather than multiplied by 0 and 1: a class that is masked by -inf adds no NaN.
  Tensor picked = OneHot(labels, logits.tensor().dim(-1), DataType::kBool);
  return log_sum - ReduceSum(Select(picked, shifted, 0.0), {-1});
}

Tensor SigmoidCrossEntropy(Operand logits, Operand targets) {
  if (!SameShape("SigmoidCrossEntropy", logits, targets)) return {};
  const CallerLocation at(logits.tensor(), logits.location());
  return Softplus(logits) - logits * targets;
}

Tensor MeanSquaredError(Operand prediction, Operand target) {
  if (!SameShape("MeanSquaredError", prediction, target)) return {};
  const CallerLocation at(prediction.tensor(), prediction.location());
  Tensor error = prediction - target;
  return Mean(error * error);
}

Tensor MeanAbsoluteError(Operand prediction, Operand target) {
  if (!SameShape("MeanAbsoluteError", prediction, target)) return {};
  const CallerLocation at(prediction.tensor(), prediction.location());
  return Mean(Abs(prediction - target));
}

Tensor HuberLoss(Operand prediction, Operand target, double delta) {
  if (!SameShape("HuberLoss", prediction, target)) return {};
  if (!(delta > 0)) {
    ReportError(prediction.tensor(), absl::StrCat("HuberLoss: expected delta > 0, got ", delta),
                prediction.location());
    return {};
  }
  const CallerLocation at(prediction.tensor(), prediction.location());
  // With q the error within [-delta, delta], q (error - q / 2) is both branches at once, and at 0
  // both derivatives are right, which |error| would not give.
  Tensor error = prediction - target;
  Tensor quadratic = Clamp(error, -delta, delta);
  return Mean(quadratic * (error - quadratic * 0.5));
}

Tensor Accuracy(Operand logits, Operand labels) {
  if (!LabelsFit("Accuracy", logits.tensor(), labels, logits.location())) return {};
  const CallerLocation at(logits.tensor(), logits.location());
  Tensor right = Equal(ArgMax(logits, -1), Cast(labels, DataType::kI64));
  return Mean(Cast(right, logits.tensor().dtype()));
}

}  // namespace weft
