#include "compiler/passes/split_kernels.h"

#include <algorithm>
#include <string>
#include <vector>

#include "compiler/passes/make_fusion.h"
#include "compiler/passes/op_kinds.h"
#include "graph/ir/device.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SetVector.h"

namespace weft {
namespace {

using Ops = std::vector<mlir::Operation*>;

// Whether kernels take it from their own bodies whatever they are split into.
bool StaysInBodies(mlir::Operation* op) {
  return llvm::isa<plan::UnpackOp>(op) || SplatOfValue(op->getResult(0));
}

// The op's result, or that under another shape.
bool IsYielded(mlir::Operation* op) {
  return llvm::any_of(op->getUsers(), [](mlir::Operation* user) {
    return llvm::isa<plan::YieldOp>(user) || (llvm::isa<ir::ReshapeOp>(user) && IsYielded(user));
  });
}

// What is shared out among kernels, in order; the rest is copied into those that use it. Empty
// where it is one op.
Ops OpsToSplit(plan::FusionOp fusion) {
  for (const bool copies_too : {false, true}) {
    Ops ops;
    for (mlir::Operation& op : fusion.body()->without_terminator()) {
      if (llvm::isa<ir::ReshapeOp>(op)) continue;
      const bool computes = copies_too ? !StaysInBodies(&op) : !IsCopied(&op);
      if (computes || IsYielded(&op)) ops.push_back(&op);
    }
    if (ops.size() > 1) return ops;
  }
  return {};
}

// Neighbours among the ops of a fusion that are a fusion as well. In one, all ops are of the
// elements that it iterates over or, of those that reduce, of their results; and whatever is
// computed may be a result, but what a `column` computes before it reduces. So without reductions,
// all results have to be of one number of elements.
class Part {
 public:
  explicit Part(mlir::Operation* first)
      : ops_{first}, kind_(FusionKindOf(first)), results_(ElementsOf(first->getResult(0))) {
    domain_ = reduces() ? ElementsOf(first->getOperand(0)) : results_;
  }

  // Puts the op behind those that are there, where that is a fusion.
  bool Join(mlir::Operation* op) {
    const llvm::StringRef kind = FusionKindOf(op);
    const DimExpr results = ElementsOf(op->getResult(0));
    if (kind == plan::kLoop) {
      if (kind_ != plan::kLoop && kind_ != plan::kContraction && !reduces()) return false;
      if (results != results_ && !(kind_ == plan::kRow && results == domain_)) return false;
    } else if (kind == plan::kRow || kind == plan::kColumn) {
      const DimExpr domain = ElementsOf(op->getOperand(0));
      const bool same = kind_ == kind && domain == domain_ && results == results_;
      const bool begins =
          kind == plan::kRow && kind_ == plan::kLoop && (results_ == domain || results_ == results);
      if (!same && !begins) return false;
      kind_ = kind.str();
      domain_ = domain;
      results_ = results;
    } else {
      return false;
    }
    ops_.push_back(op);
    return true;
  }

  const Ops& ops() const { return ops_; }
  const std::string& kind() const { return kind_; }

 private:
  static DimExpr ElementsOf(mlir::Value value) { return NumElements(ir::ShapeOf(value)); }
  bool reduces() const { return kind_ == plan::kRow || kind_ == plan::kColumn; }

  Ops ops_;
  std::string kind_;
  DimExpr domain_, results_;  // elements
};

class Splitter {
 public:
  explicit Splitter(plan::FusionOp fusion)
      : fusion_(fusion), device_(ir::DeviceOf(fusion)), builder_(fusion) {}

  int Run() {
    const Ops ops = OpsToSplit(fusion_);
    if (ops.empty()) return 0;
    split_.insert(ops.begin(), ops.end());
    // What is copied stands for itself alone.
    const size_t most = llvm::any_of(ops, IsCopied) ? 1 : (ops.size() + 1) / 2;
    std::vector<Part> parts;
    for (mlir::Operation* op : ops) {
      const bool joins =
          !parts.empty() && parts.back().ops().size() < most && parts.back().Join(op);
      if (!joins) parts.emplace_back(op);
    }
    for (auto [argument, input] : llvm::zip(fusion_.body()->getArguments(), fusion_.getInputs())) {
      made_[argument] = input;
    }
    for (const Part& part : parts) Emit(part);
    for (auto [result, yielded] : llvm::zip(fusion_.getOuts(), fusion_.yield()->getOperands())) {
      result.replaceAllUsesWith(InMemory(yielded));
    }
    fusion_.erase();
    return static_cast<int>(parts.size());
  }

 private:
  // The value where it lies in memory, outside of the fusion; null where it does not.
  mlir::Value InMemory(mlir::Value value) {
    if (const auto made = made_.find(value); made != made_.end()) return made->second;
    auto reshape = value.getDefiningOp<ir::ReshapeOp>();
    mlir::Value from = reshape ? InMemory(reshape->getOperand(0)) : mlir::Value();
    if (!from) return nullptr;
    // Of what is in memory, it is no code.
    mlir::Operation* alias = builder_.clone(*reshape);
    alias->setOperand(0, from);
    ir::SetDevice(alias, device_);
    return made_[value] = alias->getResult(0);
  }

  // A fusion of the ops and of what their operands are made of that is not in memory.
  void Emit(const Part& part) {
    const llvm::DenseSet<mlir::Operation*> own(part.ops().begin(), part.ops().end());
    llvm::DenseSet<mlir::Operation*> needed = own;
    llvm::SetVector<mlir::Value> inputs;
    Ops ops;
    for (mlir::Operation* op = part.ops().back(); op != nullptr; op = op->getPrevNode()) {
      if (!needed.contains(op)) continue;
      ops.push_back(op);
      for (mlir::Value operand : op->getOperands()) {
        if (InMemory(operand)) {
          inputs.insert(operand);
        } else {
          needed.insert(operand.getDefiningOp());
        }
      }
    }
    std::reverse(ops.begin(), ops.end());
    std::vector<mlir::Value> operands, outputs;
    for (mlir::Value input : inputs) operands.push_back(InMemory(input));
    for (mlir::Operation* op : part.ops()) {
      for (mlir::Value result : op->getResults()) {
        if (Leaves(result, own)) outputs.push_back(result);
      }
    }
    plan::FusionOp made = MakeFusion(builder_, {.location = part.ops().back()->getLoc(),
                                                .kind = part.kind(),
                                                .device = device_,
                                                .inputs = inputs.getArrayRef(),
                                                .operands = operands,
                                                .ops = ops,
                                                .outputs = outputs});
    for (auto [output, result] : llvm::zip(outputs, made.getOuts())) made_[output] = result;
  }

  // Whether others than these ops need the value, or what is copied of it.
  bool Leaves(mlir::Value value, const llvm::DenseSet<mlir::Operation*>& own) {
    return llvm::any_of(value.getUsers(), [&](mlir::Operation* user) {
      if (own.contains(user)) return false;
      if (llvm::isa<plan::YieldOp>(user)) return true;
      const bool is_copied = llvm::isa<ir::ReshapeOp>(user) || !split_.contains(user);
      return !is_copied || Leaves(user->getResult(0), own);
    });
  }

  plan::FusionOp fusion_;
  const std::string device_;
  mlir::OpBuilder builder_;
  llvm::DenseSet<mlir::Operation*> split_;
  // Values of the body that lie in memory, outside of it.
  llvm::DenseMap<mlir::Value, mlir::Value> made_;
};

}  // namespace

int SplitKernel(plan::FusionOp fusion) { return Splitter(fusion).Run(); }

bool CanSplitKernel(plan::FusionOp fusion) { return !OpsToSplit(fusion).empty(); }

}  // namespace weft
