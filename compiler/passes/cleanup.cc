// Common subexpressions and dead code, by MLIR's own means.
#include "compiler/passes/passes.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/Iterators.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/CSE.h"

namespace weft {

absl::StatusOr<bool> EliminateCommonSubexpressions(mlir::func::FuncOp function) {
  mlir::IRRewriter rewriter(function.getContext());
  mlir::DominanceInfo dominance(function);
  bool changed = false;
  mlir::eliminateCommonSubExpressions(rewriter, dominance, function, &changed);
  return changed;
}

absl::StatusOr<bool> EliminateDeadCode(mlir::func::FuncOp function) {
  bool changed = false;
  // Users come after what they use, so one sweep from the end of each block finds all.
  function.walk<mlir::WalkOrder::PostOrder, mlir::ReverseIterator>([&](mlir::Operation* op) {
    if (op == function || !mlir::isOpTriviallyDead(op)) return;
    op->erase();
    changed = true;
  });
  return changed;
}

}  // namespace weft
