#include "graph/gradient/reverse.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "graph/builder_support.h"
#include "graph/ir/device.h"
#include "graph/ir/recompute.h"
#include "graph/ir/types.h"
#include "graph/ops/gradient.h"
#include "graph/ops/op_info.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "mlir/IR/Operation.h"

namespace weft {
namespace {

bool IsFloatValue(mlir::Value value) { return IsFloat(ir::DataTypeOf(value)); }

// Nodes made while it lives belong to the line of the Gradients call and to the forward node's.
class AdjointLocation {
 public:
  AdjointLocation(ir::GraphImpl* graph, const ir::SourceLine& call, mlir::Location forward)
      : graph_(graph), saved_(graph->location_override) {
    std::vector<ir::SourceLine> lines = {call};
    // Of a forward node that is itself an adjoint, the line of the model, which comes last.
    std::vector<ir::SourceLine> of_forward = ir::SourceLinesOf(forward);
    if (!of_forward.empty()) lines.push_back(std::move(of_forward.back()));
    graph_->location_override = std::move(lines);
  }
  AdjointLocation(const AdjointLocation&) = delete;
  ~AdjointLocation() { graph_->location_override = std::move(saved_); }

 private:
  ir::GraphImpl* graph_;
  std::optional<std::vector<ir::SourceLine>> saved_;
};

// Nodes made while it lives compute again what they read of the forward node's scope, if that is
// one to recompute.
class AdjointRecompute {
 public:
  AdjointRecompute(ir::GraphImpl* graph, mlir::Operation* forward)
      : graph_(graph), saved_(graph->recompute) {
    if (std::optional<ir::RecomputeMark> mark = ir::RecomputeMarkOf(forward)) {
      graph_->recompute = ++mark->level <= ir::kMaxRecomputeLevel ? mark->Text() : "";
    }
  }
  AdjointRecompute(const AdjointRecompute&) = delete;
  ~AdjointRecompute() { graph_->recompute = std::move(saved_); }

 private:
  ir::GraphImpl* graph_;
  std::string saved_;
};

// Nodes made while it lives run where the forward node does.
class AdjointDevice {
 public:
  AdjointDevice(ir::GraphImpl* graph, mlir::Operation* forward)
      : graph_(graph), saved_(graph->device) {
    graph_->device = std::string(ir::DeviceOf(forward));
  }
  AdjointDevice(const AdjointDevice&) = delete;
  ~AdjointDevice() { graph_->device = std::move(saved_); }

 private:
  ir::GraphImpl* graph_;
  std::string saved_;
};

// The ops of `block` that `values` depend on, in the order of the block.
std::vector<mlir::Operation*> OpsBehind(mlir::Block* block,
                                        const std::vector<mlir::Value>& values) {
  llvm::DenseSet<mlir::Operation*> seen;
  std::vector<mlir::Operation*> ops;
  auto visit = [&](mlir::Value value) {
    mlir::Operation* op = value.getDefiningOp();
    if (op != nullptr && op->getBlock() == block && seen.insert(op).second) ops.push_back(op);
  };
  for (mlir::Value value : values) visit(value);
  for (size_t i = 0; i < ops.size(); ++i) {
    for (mlir::Value operand : ops[i]->getOperands()) visit(operand);
  }
  std::sort(ops.begin(), ops.end(),
            [](mlir::Operation* a, mlir::Operation* b) { return a->isBeforeInBlock(b); });
  return ops;
}

// Of bf16 and f16, sums of more terms than this are taken in f32: 256 equal terms of bf16 already
// stand still. Few, such as those of an activation's readers, lose little and would take twice the
// memory.
constexpr int kMaxNarrowTerms = 8;

class Accumulation {
 public:
  Accumulation(ir::GraphImpl* graph, const ir::SourceLine& call) : graph_(graph), call_(call) {}

  void Add(mlir::Value value, Tensor gradient) {
    Sum& sum = gradients_[value];
    if (++sum.terms == 1) {
      sum.total = gradient;
      return;
    }
    const DataType dtype = gradient.dtype(),
                   kept = sum.terms > kMaxNarrowTerms ? WideType(dtype) : dtype;
    sum.total = As(sum.total, kept) + As(gradient, kept);
  }
  // Of the value's dtype; invalid where there is none.
  Tensor GradientOf(mlir::Value value) const {
    const auto it = gradients_.find(value);
    return it == gradients_.end() ? Tensor() : As(it->second.total, ir::DataTypeOf(value));
  }

  // Through which ops, in order, gradients flow from what is behind the ys to the xs.
  std::vector<mlir::Operation*> Activate(const std::vector<mlir::Operation*>& ops,
                                         const std::vector<mlir::Value>& xs) {
    active_.insert(xs.begin(), xs.end());
    std::vector<mlir::Operation*> path;
    for (mlir::Operation* op : ops) {
      const bool reached =
          llvm::any_of(op->getOperands(), [&](mlir::Value v) { return active_.contains(v); });
      if (!reached || ir::IsOp(op, "stop_gradient")) continue;
      bool passes = false;
      for (mlir::Value result : op->getResults()) {
        if (!IsFloatValue(result)) continue;
        active_.insert(result);
        passes = true;
      }
      if (passes) path.push_back(op);
    }
    return path;
  }

  // Hands the gradients of the op's results on to its operands.
  absl::Status Visit(mlir::Operation* op) {
    std::vector<Tensor> operands, results, dys;
    std::vector<bool> needs;
    for (mlir::Value operand : op->getOperands()) {
      operands.push_back(graph_->Wrap(operand));
      needs.push_back(active_.contains(operand) && IsFloatValue(operand));
    }
    const AdjointLocation at(graph_, call_, op->getLoc());
    bool reached = false;
    for (mlir::Value result : op->getResults()) {
      results.push_back(graph_->Wrap(result));
      dys.push_back(GradientOf(result));
      reached |= dys.back().valid();
    }
    if (!reached) return absl::OkStatus();
    const OpInfo* info = ir::InfoOf(op);
    const GradientFunction function = info == nullptr ? nullptr : weft::GradientOf(*info);
    if (function == nullptr) {
      return absl::UnimplementedError(
          absl::StrCat("expected a differentiable op, got ", op->getName().getStringRef().str(),
                       ", which is not: ",
                       info == nullptr ? "unknown op" : std::string(info->no_gradient_reason)));
    }
    const AdjointRecompute again(graph_, op);
    const AdjointDevice there(graph_, op);
    const mlir::DictionaryAttr attributes = op->getAttrDictionary();
    GradientContext context(*info, op, Attributes(attributes.getAsOpaquePointer()), operands,
                            std::move(results), std::move(dys), needs);
    const absl::Status status = function(context);
    if (!status.ok()) return status;
    for (size_t i = 0; i < operands.size(); ++i) {
      const Tensor& gradient = context.gradients()[i];
      if (needs[i] && gradient.valid()) Add(op->getOperand(i), gradient);
    }
    return absl::OkStatus();
  }

 private:
  struct Sum {
    Tensor total;
    int terms = 0;
  };

  ir::GraphImpl* graph_;
  const ir::SourceLine& call_;
  llvm::DenseSet<mlir::Value> active_;
  llvm::DenseMap<mlir::Value, Sum> gradients_;
};

}  // namespace

std::vector<Tensor> Backpropagate(ir::GraphImpl* graph, const std::vector<Tensor>& ys,
                                  const std::vector<Tensor>& dys, const std::vector<Tensor>& xs,
                                  const ir::SourceLine& call) {
  std::vector<mlir::Value> y_values, x_values;
  for (const Tensor& y : ys) y_values.push_back(graph->Localize(ir::ValueOf(y)));
  for (const Tensor& x : xs) x_values.push_back(graph->Localize(ir::ValueOf(x)));

  Accumulation reverse(graph, call);
  for (size_t i = 0; i < ys.size(); ++i) reverse.Add(y_values[i], dys[i]);
  const std::vector<mlir::Operation*> path =
      reverse.Activate(OpsBehind(graph->body().block, y_values), x_values);
  for (auto it = path.rbegin(); it != path.rend() && graph->status.ok(); ++it) {
    const absl::Status status = reverse.Visit(*it);
    if (!status.ok()) {
      graph->Fail(
          absl::Status(status.code(), absl::StrCat("gradient: ", std::string(status.message()),
                                                   ", at ", ir::Describe((*it)->getLoc()))));
    }
  }
  std::vector<Tensor> gradients;
  for (mlir::Value x : x_values) {
    const AdjointLocation at(graph, call, x.getLoc());
    gradients.push_back(graph->status.ok() ? reverse.GradientOf(x) : Tensor());
  }
  return gradients;
}

}  // namespace weft
