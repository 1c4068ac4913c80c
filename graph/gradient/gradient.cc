// Gradients() of graph/graph.h, and the table of gradient functions.
#include "graph/ops/gradient.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "graph/gradient/reverse.h"
#include "graph/graph.h"
#include "graph/ir/graph_impl.h"
#include "graph/ir/types.h"

namespace weft {

#include "graph/ops/gradient_table.inc"

GradientFunction GradientOf(const OpInfo& op) { return kGradientFunctions[op.index]; }

namespace {

std::string TypeOf(const Tensor& tensor) { return ir::TypeString(tensor.dtype(), tensor.shape()); }

// What is wrong with the arguments, or "".
std::string Problem(ir::GraphImpl* graph, const Tensor& y, const std::vector<Tensor>& xs,
                    const Tensor& dy) {
  if (!IsFloat(y.dtype())) return absl::StrCat("expected y to be of floats, got ", TypeOf(y));
  if (ir::ValueOf(y).getParentBlock() != graph->body().block) {
    return absl::StrCat("expected y to be made in the body in which gradients are asked for, got '",
                        y.name(), "' from outside");
  }
  if (dy.valid() && (dy.dtype() != y.dtype() || dy.shape() != y.shape())) {
    return absl::StrCat("expected dy to have y's type ", TypeOf(y), ", got ", TypeOf(dy));
  }
  for (const Tensor& x : xs) {
    if (x.graph() != graph || !graph->Localize(ir::ValueOf(x))) {
      return absl::StrCat("expected xs to be visible where y is, got '", x.name(), "'");
    }
    if (!IsFloat(x.dtype())) {
      return absl::StrCat("expected xs to be of floats, got ", TypeOf(x), " for '", x.name(), "'");
    }
  }
  return "";
}

}  // namespace

std::vector<Tensor> Gradients(Tensor y, const std::vector<Tensor>& xs, Tensor dy,
                              SourceLocation location) {
  std::vector<Tensor> invalid(xs.size());
  if (!y.valid()) return invalid;
  for (const Tensor& x : xs) {
    if (!x.valid()) return invalid;
  }
  ir::GraphImpl* graph = y.graph();
  const std::string problem = Problem(graph, y, xs, dy);
  if (!problem.empty()) {
    graph->Fail(absl::StrCat("gradients: ", problem), location);
    return invalid;
  }
  const ir::SourceLine call = ir::LineOf(location);
  graph->PushScope("gradients");
  if (!dy.valid()) dy = OnesLike(Operand(y, location));
  std::vector<Tensor> gradients = Backpropagate(graph, {y}, {dy}, xs, call);
  for (size_t i = 0; i < xs.size(); ++i) {
    if (!gradients[i].valid() && graph->status.ok()) {
      gradients[i] = ZerosLike(Operand(xs[i], location));
    }
  }
  graph->PopScope();
  return gradients;
}

}  // namespace weft
