// Gradients of control flow, and of functions whose author gave the gradient. A cond differentiates
// into a cond, which runs the taken branch again together with its adjoint. A while differentiates
// into two: one that runs forward again and keeps what each iteration began with on stacks, and one
// that takes it off them, from the last iteration to the first, and runs each iteration's adjoint.
//
// So the work is linear in the number of iterations: each runs its body once for the stacks, once
// more (as far as the adjoint needs its inner values) and its adjoint. What is kept is the carried
// values that the adjoint reads, not the values inside the body: max_iterations times their bytes.
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "graph/builder_support.h"
#include "graph/gradient/reverse.h"
#include "graph/ir/graph_impl.h"
#include "graph/ir/types.h"
#include "graph/ops/gradient_support.h"
#include "llvm/ADT/SetVector.h"
#include "mlir/IR/Operation.h"

namespace weft {
namespace {

mlir::Operation* OpOf(const GradientContext& c) { return static_cast<mlir::Operation*>(c.op()); }

// The line of the Gradients call, which the driver has set.
ir::SourceLine CallLine(const ir::GraphImpl* graph) { return graph->location_override->front(); }

std::vector<Tensor> Operands(const GradientContext& c, int first) {
  std::vector<Tensor> operands;
  for (int i = first; i < c.num_operands(); ++i) operands.push_back(c.operand(i));
  return operands;
}

// The operands from `first` on whose gradients are wanted. One value that comes in more than once
// is listed once: inside a body it is one value, whose gradient covers all its uses.
std::vector<int> Wanted(const GradientContext& c, int first) {
  std::vector<int> wanted;
  for (int i = first; i < c.num_operands(); ++i) {
    bool again = false;
    for (int earlier : wanted) again |= c.operand(earlier).value() == c.operand(i).value();
    if (c.needs(i) && !again) wanted.push_back(i);
  }
  return wanted;
}

Tensor OrZeros(Tensor gradient, Tensor like) {
  return gradient.valid() ? gradient : ZerosLike(like);
}

// Whether the adjoint of the body may look at the value of argument `index`: not where it is only
// yielded, after pushes where it is a stack, or leads to nothing but whole numbers, as the counter
// of iterations does.
bool AdjointReads(mlir::Region& body, int index) {
  llvm::SetVector<mlir::Value> values;
  values.insert(body.getArgument(index));
  for (size_t i = 0; i < values.size(); ++i) {
    for (mlir::OpOperand& use : values[i].getUses()) {
      mlir::Operation* user = use.getOwner();
      if (ir::IsOp(user, "yield")) continue;
      if (ir::IsOp(user, "print") ||
          (ir::IsOp(user, "stack_push") && use.getOperandNumber() == 0)) {
        // The adjoint does not print, and pushing does not look at the stack; who reads what comes
        // of it does.
        values.insert(user->getResult(0));
        continue;
      }
      // An assertion or a body may depend on it.
      if (!ir::InfoOf(user)->pure || user->getNumRegions() > 0) return true;
      for (mlir::Value result : user->getResults()) {
        if (IsFloat(ir::DataTypeOf(result))) return true;
        values.insert(result);
      }
    }
  }
  return false;
}

// The gradient runs bodies without their prints. Where it alone is wanted, nobody would run the
// forward op, and what that prints would be lost. So a result of one that prints, which is what
// this gives, is captured by the op that is the gradient.
Tensor ResultOfPrints(const GradientContext& c) {
  // Through which no gradient flows.
  return ir::PrintsOf(OpOf(c)).empty() ? Tensor() : StopGradient(c.result(0));
}

// In a body: makes the value, if there is one, an operand of the op around it.
void Capture(ir::GraphImpl* graph, const Tensor& value) {
  if (value.valid()) graph->Localize(ir::ValueOf(value));
}

// The forward loop once more, with stacks of what the carried values are at the start of each
// iteration.
struct Recorded {
  Tensor iterations;           // how many there were, i64
  std::vector<Tensor> stacks;  // invalid where the adjoint does not read the value
};

Recorded RunRecorded(const GradientContext& c, int carried, int64_t limit) {
  mlir::Operation* op = OpOf(c);
  ir::GraphImpl* graph = c.operand(0).graph();
  const std::vector<Tensor> captured = Operands(c, carried);
  std::vector<Tensor> initial;
  for (int i = 0; i < carried; ++i) initial.push_back(c.operand(i));
  initial.push_back(ConstantNear(c.operand(0), HostTensor::Scalar<int64_t>(0)));
  std::vector<int> kept;
  for (int i = 0; i < carried; ++i) {
    if (!AdjointReads(op->getRegion(1), i)) continue;
    kept.push_back(i);
    Shape shape = c.operand(i).shape();
    shape.insert(shape.begin(), DimExpr(limit));
    initial.push_back(ZerosOfShape(c.operand(i), shape));
  }
  auto arguments = [&](const std::vector<Tensor>& values) {
    std::vector<Tensor> all(values.begin(), values.begin() + carried);
    all.insert(all.end(), captured.begin(), captured.end());
    return all;
  };
  auto condition = [&](const std::vector<Tensor>& values) {
    return ir::InlineRegion(graph, op->getRegion(0), arguments(values), ir::Prints::kDrop).at(0);
  };
  auto body = [&](const std::vector<Tensor>& values) {
    // Before the body: what has been pushed may be written over by what comes next.
    const Tensor iteration = values[carried];
    std::vector<Tensor> pushed = {iteration + 1.0};
    for (size_t k = 0; k < kept.size(); ++k) {
      pushed.push_back(StackPush(values[carried + 1 + k], values[kept[k]], iteration));
    }
    std::vector<Tensor> next =
        ir::InlineRegion(graph, op->getRegion(1), arguments(values), ir::Prints::kDrop);
    next.insert(next.end(), pushed.begin(), pushed.end());
    return next;
  };
  const std::vector<Tensor> results = While(initial, condition, body, limit);
  Recorded recorded{results.at(carried), std::vector<Tensor>(carried)};
  for (size_t k = 0; k < kept.size(); ++k) {
    recorded.stacks[kept[k]] = results.at(carried + 1 + k);
  }
  return recorded;
}

}  // namespace

absl::Status GradientWhile(GradientContext& c) {
  mlir::Operation* op = OpOf(c);
  ir::GraphImpl* graph = c.operand(0).graph();
  const int carried = static_cast<int>(c.attributes().Int("num_carried"));
  const int64_t limit = c.attributes().Int("max_iterations");
  if (limit == 0) {
    return absl::InvalidArgumentError(
        "expected a loop with a limit of iterations, which the stacks of its gradient are sized "
        "by, got none; give While max_iterations");
  }
  const ir::SourceLine call = CallLine(graph);
  const Recorded recorded = RunRecorded(c, carried, limit);
  const Tensor forward = ResultOfPrints(c);
  if (!graph->status.ok()) return absl::OkStatus();  // the graph has the error

  // The loop back carries the number of iterations left, the gradients of the float values carried
  // forward, and those of the captured values that are wanted, which add up.
  std::vector<int> floats;
  std::vector<Tensor> initial = {recorded.iterations};
  for (int i = 0; i < carried; ++i) {
    if (!IsFloat(c.operand(i).dtype())) continue;
    floats.push_back(i);
    initial.push_back(OrZeros(c.dy(i), c.operand(i)));
  }
  const std::vector<int> wanted = Wanted(c, carried);
  // In f32 for bf16 and f16: a sum over many iterations.
  for (int i : wanted) {
    const Tensor x = c.operand(i);
    const HostTensor zero = *HostTensor::Create(WideType(x.dtype()), {});
    initial.push_back(Broadcast(ConstantNear(x, zero), x.shape()));
  }

  auto condition = [&](const std::vector<Tensor>& values) { return Greater(values[0], 0.0); };
  auto body = [&](const std::vector<Tensor>& values) {
    Capture(graph, forward);
    const Tensor iteration = values[0] - 1.0;
    std::vector<Tensor> arguments;
    for (int i = 0; i < carried; ++i) {
      arguments.push_back(recorded.stacks[i].valid() ? Gather(recorded.stacks[i], iteration, 0)
                                                     : ZerosLike(c.operand(i)));
    }
    const std::vector<Tensor> at_start = arguments;
    for (Tensor& operand : Operands(c, carried)) arguments.push_back(operand);
    const std::vector<Tensor> outs =
        ir::InlineRegion(graph, op->getRegion(1), arguments, ir::Prints::kDrop);

    std::vector<Tensor> ys, dys, xs;
    for (size_t k = 0; k < floats.size(); ++k) {
      ys.push_back(outs.at(floats[k]));
      dys.push_back(values[1 + k]);
      xs.push_back(at_start[floats[k]]);
    }
    for (int i : wanted) xs.push_back(c.operand(i));
    const std::vector<Tensor> gradients = Backpropagate(graph, ys, dys, xs, call);

    std::vector<Tensor> next = {iteration};
    for (size_t k = 0; k < floats.size(); ++k) {
      next.push_back(OrZeros(gradients[k], at_start[floats[k]]));
    }
    for (size_t k = 0; k < wanted.size(); ++k) {
      const Tensor& total = values[1 + floats.size() + k];
      const Tensor& gradient = gradients[floats.size() + k];
      next.push_back(gradient.valid() ? total + As(gradient, total.dtype()) : total);
    }
    return next;
  };
  const std::vector<Tensor> results = While(initial, condition, body, limit);
  if (!graph->status.ok()) return absl::OkStatus();
  for (size_t k = 0; k < floats.size(); ++k) c.SetGradient(floats[k], results[1 + k]);
  for (size_t k = 0; k < wanted.size(); ++k) {
    c.SetGradient(wanted[k], As(results[1 + floats.size() + k], c.operand(wanted[k]).dtype()));
  }
  return absl::OkStatus();
}

absl::Status GradientCond(GradientContext& c) {
  mlir::Operation* op = OpOf(c);
  ir::GraphImpl* graph = c.operand(0).graph();
  const ir::SourceLine call = CallLine(graph);
  const std::vector<int> wanted = Wanted(c, 1);
  if (wanted.empty()) return absl::OkStatus();
  const Tensor forward = ResultOfPrints(c);
  auto branch = [&](int index) {
    return [&, index] {
      Capture(graph, forward);
      const std::vector<Tensor> outs =
          ir::InlineRegion(graph, op->getRegion(index), Operands(c, 1), ir::Prints::kDrop);
      std::vector<Tensor> ys, dys, xs;
      for (int i = 0; i < c.num_results(); ++i) {
        if (!c.dy(i).valid()) continue;
        ys.push_back(outs.at(i));
        dys.push_back(c.dy(i));
      }
      for (int i : wanted) xs.push_back(c.operand(i));
      std::vector<Tensor> gradients = Backpropagate(graph, ys, dys, xs, call);
      for (size_t k = 0; k < wanted.size(); ++k) gradients[k] = OrZeros(gradients[k], xs[k]);
      return gradients;
    };
  };
  const std::vector<Tensor> results = Cond(c.operand(0), branch(0), branch(1));
  if (!graph->status.ok()) return absl::OkStatus();
  for (size_t k = 0; k < wanted.size(); ++k) c.SetGradient(wanted[k], results.at(k));
  return absl::OkStatus();
}

// What the author gave, in place: ordinary nodes, which can be differentiated again.
absl::Status GradientCustomGradient(GradientContext& c) {
  mlir::Operation* op = OpOf(c);
  std::vector<Tensor> arguments = Operands(c, 0);
  for (int i = 0; i < c.num_results(); ++i) arguments.push_back(c.result(i));
  for (int i = 0; i < c.num_results(); ++i) {
    if (IsFloat(c.result(i).dtype())) arguments.push_back(OrZeros(c.dy(i), c.result(i)));
  }
  const std::vector<Tensor> gradients =
      ir::InlineRegion(c.result(0).graph(), op->getRegion(1), arguments, ir::Prints::kKeep);
  size_t next = 0;
  for (int i = 0; i < c.num_operands(); ++i) {
    if (!IsFloat(c.operand(i).dtype())) continue;
    const Tensor gradient = gradients.at(next++);
    if (c.needs(i)) c.SetGradient(i, gradient);
  }
  return absl::OkStatus();
}

// The slice that was pushed is the value's, the rest still x's. An index outside names no slice.
absl::Status GradientStackPush(GradientContext& c) {
  Tensor dy = c.dy(0), index = c.operand(2);
  if (c.needs(0)) c.SetGradient(0, StackPush(dy, ZerosLike(c.operand(1)), index));
  if (c.needs(1)) c.SetGradient(1, Gather(dy, index, 0));
  return absl::OkStatus();
}

}  // namespace weft
