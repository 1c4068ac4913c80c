// The generated evaluators of element-wise ops: each maps the scalar expression of its
// entry in graph/ops/elementwise.td over whole tensors.
#include <cmath>

#include "graph/ops/evaluate_support.h"
#include "graph/reference/elementwise.h"
#include "graph/reference/scalar.h"

namespace weft {
namespace {

using reference::Absolute;
using reference::Complement;
using reference::Divide;
using reference::Maximum;
using reference::Minimum;
using reference::Remainder;
using reference::Sign;

template <typename Types, int kOperands, bool kCondition, typename Function>
absl::Status EvaluateElementwise(EvaluateContext& c, Function function) {
  return SetOnlyResult(c, reference::Map<Types, kOperands, kCondition>(c.operands(), function));
}

// The element type changes: reference::Cast is the definition.
absl::Status ConvertElementwise(EvaluateContext& c) {
  return SetOnlyResult(c, reference::Cast(c.operand(0), c.result_dtype(0)));
}

}  // namespace

#include "graph/ops/elementwise_evaluate.inc"

}  // namespace weft
