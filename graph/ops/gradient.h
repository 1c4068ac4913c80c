// What a gradient function sees: a node, the gradients of its results, and the builder.
#ifndef WEFT_GRAPH_OPS_GRADIENT_H_
#define WEFT_GRAPH_OPS_GRADIENT_H_

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "graph/graph.h"
#include "graph/ops/attributes.h"
#include "graph/ops/op_info.h"

namespace weft {

class GradientContext {
 public:
  // `op` is mlir::Operation*, for control flow, which has bodies. `dys` has an entry per result,
  // invalid where no gradient flows; at least one is valid.
  GradientContext(const OpInfo& info, void* op, Attributes attributes, std::vector<Tensor> operands,
                  std::vector<Tensor> results, std::vector<Tensor> dys, std::vector<bool> needs)
      : info_(info),
        op_(op),
        attributes_(attributes),
        operands_(std::move(operands)),
        results_(std::move(results)),
        dys_(std::move(dys)),
        needs_(std::move(needs)),
        gradients_(operands_.size()) {}

  const OpInfo& info() const { return info_; }
  void* op() const { return op_; }
  const Attributes& attributes() const { return attributes_; }
  int num_operands() const { return static_cast<int>(operands_.size()); }
  int num_results() const { return static_cast<int>(results_.size()); }
  Tensor operand(int i) const { return operands_[i]; }
  Tensor result(int i) const { return results_[i]; }
  // Invalid where no gradient flows to that result.
  Tensor dy(int i) const { return dys_[i]; }
  // Whether somebody wants the gradient of operand i.
  bool needs(int i) const { return needs_[i]; }
  // The gradient of operand i, of its dtype and shape. Not setting it means there is none (zero).
  void SetGradient(int i, Tensor gradient) { gradients_[i] = gradient; }

  const std::vector<Tensor>& gradients() const { return gradients_; }

 private:
  const OpInfo& info_;
  void* op_;
  Attributes attributes_;
  std::vector<Tensor> operands_, results_, dys_;
  std::vector<bool> needs_;
  std::vector<Tensor> gradients_;
};

using GradientFunction = absl::Status (*)(GradientContext&);

// The function Gradient<Class> of the op's family (graph/ops/<family>_gradient.cc; those by rules
// are generated). nullptr only where op.gradient is kNone. Omission is a link error.
GradientFunction GradientOf(const OpInfo& op);

}  // namespace weft

#endif  // WEFT_GRAPH_OPS_GRADIENT_H_
