// A function with a gradient of its author's is, once gradients have been taken, its body.
#include <vector>

#include "compiler/passes/passes.h"
#include "graph/ir/create.h"
#include "graph/ir/dialect.h"
#include "graph/ir/recompute.h"

namespace weft {

absl::StatusOr<bool> InlineCustomGradients(mlir::func::FuncOp function) {
  // Inner ones come first.
  std::vector<ir::CustomGradientOp> ops;
  function.walk([&](ir::CustomGradientOp op) { ops.push_back(op); });
  for (ir::CustomGradientOp op : ops) {
    mlir::Block& body = op.getBody().front();
    mlir::Operation* yield = body.getTerminator();
    for (auto [argument, operand] : llvm::zip_equal(body.getArguments(), op.getOperands())) {
      argument.replaceAllUsesWith(operand);
    }
    // The body is computed again where the op was to be.
    if (mlir::Attribute mark = op->getAttr(ir::kRecomputeAttr)) {
      for (mlir::Operation& inner : body.without_terminator()) {
        if (!inner.hasAttr(ir::kRecomputeAttr) && ir::MayRecompute(*ir::InfoOf(&inner))) {
          inner.setAttr(ir::kRecomputeAttr, mark);
        }
      }
    }
    op->getBlock()->getOperations().splice(op->getIterator(), body.getOperations(), body.begin(),
                                           yield->getIterator());
    op->replaceAllUsesWith(yield->getOperands());
    op->erase();
  }
  return !ops.empty();
}

}  // namespace weft
