#include "compiler/passes/split_kernels.h"

#include <algorithm>
#include <vector>

#include "compiler/passes/op_kinds.h"
#include "graph/ir/device.h"
#include "graph/ir/dialect.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SetVector.h"
#include "mlir/IR/IRMapping.h"

namespace weft {
namespace {

// Whether kernels take it from their own bodies whatever they are split into.
bool StaysInBodies(mlir::Operation* op) {
  return llvm::isa<plan::UnpackOp>(op) || SplatOfValue(op->getResult(0));
}

class Splitter {
 public:
  explicit Splitter(plan::FusionOp fusion) : fusion_(fusion), builder_(fusion) {}

  bool Run() {
    for (const bool copies_too : {false, true}) {
      llvm::DenseSet<mlir::Operation*> alone;
      for (mlir::Operation& op : fusion_.body()->without_terminator()) {
        if (llvm::isa<ir::ReshapeOp>(op)) continue;
        const bool computes = copies_too ? !StaysInBodies(&op) : !IsCopied(&op);
        if (computes || IsYielded(&op)) alone.insert(&op);
      }
      if (alone.size() < 2) continue;
      Replace(alone);
      return true;
    }
    return false;
  }

 private:
  // The op's result, or that under another shape.
  bool IsYielded(mlir::Operation* op) const {
    return llvm::any_of(op->getUsers(), [&](mlir::Operation* user) {
      return llvm::isa<plan::YieldOp>(user) || (llvm::isa<ir::ReshapeOp>(user) && IsYielded(user));
    });
  }

  void Replace(const llvm::DenseSet<mlir::Operation*>& alone) {
    for (auto [argument, input] : llvm::zip(fusion_.body()->getArguments(), fusion_.getInputs())) {
      made_[argument] = input;
    }
    for (mlir::Operation& op : fusion_.body()->without_terminator()) {
      if (alone.contains(&op)) {
        EmitAlone(&op);
      } else if (llvm::isa<ir::ReshapeOp>(op) && made_.contains(op.getOperand(0))) {
        // Of what is in memory, it is no code.
        mlir::Operation* alias = builder_.clone(op);
        alias->setOperand(0, made_.lookup(op.getOperand(0)));
        made_[op.getResult(0)] = alias->getResult(0);
      }
    }
    for (auto [result, yielded] : llvm::zip(fusion_.getOuts(), fusion_.yield()->getOperands())) {
      result.replaceAllUsesWith(made_.lookup(yielded));
    }
    fusion_.erase();
  }

  // A fusion of the op and of what its operands are made of that is not in memory.
  void EmitAlone(mlir::Operation* op) {
    llvm::DenseSet<mlir::Operation*> needed = {op};
    llvm::SetVector<mlir::Value> inputs;
    std::vector<mlir::Operation*> ops;
    for (mlir::Operation* next = op; next != nullptr; next = next->getPrevNode()) {
      if (!needed.contains(next)) continue;
      ops.push_back(next);
      for (mlir::Value operand : next->getOperands()) {
        if (made_.contains(operand)) {
          inputs.insert(operand);
        } else {
          needed.insert(operand.getDefiningOp());
        }
      }
    }
    std::vector<mlir::Value> operands, results;
    std::vector<mlir::Type> types;
    for (mlir::Value input : inputs) operands.push_back(made_.lookup(input));
    for (mlir::Value result : op->getResults()) {
      if (result.use_empty()) continue;
      results.push_back(result);
      types.push_back(result.getType());
    }
    auto part = plan::FusionOp::create(builder_, op->getLoc(), types, operands, FusionKindOf(op));
    ir::SetDevice(part, ir::DeviceOf(fusion_));
    mlir::IRMapping mapping;
    mapping.map(inputs.getArrayRef(), part.body()->getArguments());
    mlir::OpBuilder inside = mlir::OpBuilder::atBlockEnd(part.body());
    for (mlir::Operation* copied : llvm::reverse(ops)) inside.clone(*copied, mapping);
    std::vector<mlir::Value> yielded;
    for (mlir::Value result : results) yielded.push_back(mapping.lookup(result));
    plan::YieldOp::create(inside, op->getLoc(), yielded);
    for (auto [result, made] : llvm::zip(results, part.getOuts())) made_[result] = made;
  }

  plan::FusionOp fusion_;
  mlir::OpBuilder builder_;
  // Values of the body that lie in memory, outside of it.
  llvm::DenseMap<mlir::Value, mlir::Value> made_;
};

}  // namespace

bool SplitKernel(plan::FusionOp fusion) { return Splitter(fusion).Run(); }

}  // namespace weft
