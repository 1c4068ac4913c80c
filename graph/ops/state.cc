#include "graph/ops/infer.h"

namespace weft {
namespace {

absl::Status CheckVariable(const InferContext& c) {
  if (!c.variable() || *c.variable() == c.operand(0)) return absl::OkStatus();
  return c.Error(1,
                 "a value of type " + c.variable()->ToString() + " for variable '" +
                     c.attributes().Symbol("variable") + "'",
                 c.operand(0).ToString());
}

}  // namespace

absl::Status InferInput(InferContext& c) {
  c.AddResult(c.attributes().DType("dtype"), c.attributes().Dims("shape"));
  return absl::OkStatus();
}

// The rules of what stands in the graph as a whole (one initializer a variable, what a signature
// lists) are checked where the graph is: graph/ir/graph_rules.h.
absl::Status InferVariable(InferContext&) { return absl::OkStatus(); }
absl::Status InferSignature(InferContext&) { return absl::OkStatus(); }
absl::Status InferGraph(InferContext&) { return absl::OkStatus(); }

absl::Status InferReadVariable(InferContext& c) {
  if (!c.variable()) {
    return c.Error(0, "a variable of the graph", "'" + c.attributes().Symbol("variable") + "'");
  }
  c.AddResult(c.variable()->dtype, c.variable()->shape);
  return absl::OkStatus();
}

absl::Status InferAssign(InferContext& c) {
  if (absl::Status s = CheckVariable(c); !s.ok()) return s;
  c.AddResult(c.dtype(0), c.shape(0));
  return absl::OkStatus();
}

absl::Status InferInitializer(InferContext& c) { return CheckVariable(c); }

absl::Status InferCheckNumerics(InferContext& c) {
  if (absl::Status s = c.CheckDType(0); !s.ok()) return s;
  c.AddResult(c.dtype(0), c.shape(0));
  return absl::OkStatus();
}

absl::Status InferPrint(InferContext& c) {
  c.AddResult(c.dtype(0), c.shape(0));
  return absl::OkStatus();
}

absl::Status InferAssert(InferContext& c) {
  if (c.operand(0) != TensorType{DataType::kBool, {}}) {
    return c.Error(1, "a condition of type bool[]", c.operand(0).ToString());
  }
  c.AddResult(c.dtype(1), c.shape(1));
  return absl::OkStatus();
}

}  // namespace weft
