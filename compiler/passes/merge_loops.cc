// The gradient of a loop runs the loop again and keeps what each iteration began with. Where the
// loop's own results are wanted as well, as the loss of a training step is, the one that keeps more
// gives them too.
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "compiler/passes/passes.h"
#include "graph/ir/dialect.h"
#include "graph/ir/recompute.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SetVector.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace weft {
namespace {

// Whether two loops compute the same with their first carried values: those of `small`, of which
// `large` has as many or more.
class Comparison {
 public:
  Comparison(ir::WhileOp small, ir::WhileOp large) : small_(small), large_(large) {}

  bool Same() {
    const size_t carried = Carried(small_);
    if (carried > Carried(large_) || small_.getMaxIterations() != large_.getMaxIterations()) {
      return false;
    }
    for (size_t i = 0; i < carried; ++i) {
      if (small_->getOperand(i) != large_->getOperand(i)) return false;
    }
    mlir::Operation* condition = small_.getCondition().front().getTerminator();
    mlir::Operation* body = small_.getBody().front().getTerminator();
    return SameResults(condition, large_.getCondition().front().getTerminator(), 1) &&
           SameResults(body, large_.getBody().front().getTerminator(), carried);
  }

 private:
  static size_t Carried(ir::WhileOp loop) { return static_cast<size_t>(loop.getNumCarried()); }

  // What both bodies yield first comes from the same ops on the same arguments. A list of what is
  // still to compare, since bodies may be deep.
  bool SameResults(mlir::Operation* a, mlir::Operation* b, size_t count) {
    std::vector<std::pair<mlir::Value, mlir::Value>> open;
    llvm::DenseSet<std::pair<mlir::Value, mlir::Value>> seen;
    auto compare = [&](mlir::Value x, mlir::Value y) {
      if (seen.insert({x, y}).second) open.emplace_back(x, y);
    };
    for (size_t i = 0; i < count; ++i) compare(a->getOperand(i), b->getOperand(i));
    while (!open.empty()) {
      auto [x, y] = open.back();
      open.pop_back();
      auto x_argument = llvm::dyn_cast<mlir::BlockArgument>(x);
      auto y_argument = llvm::dyn_cast<mlir::BlockArgument>(y);
      if (x_argument || y_argument) {
        if (!x_argument || !y_argument || !SameArgument(x_argument, y_argument)) return false;
        continue;
      }
      mlir::Operation *p = x.getDefiningOp(), *q = y.getDefiningOp();
      if (llvm::cast<mlir::OpResult>(x).getResultNumber() !=
              llvm::cast<mlir::OpResult>(y).getResultNumber() ||
          !SameOp(p, q)) {
        return false;
      }
      for (auto [of_p, of_q] : llvm::zip_equal(p->getOperands(), q->getOperands())) {
        compare(of_p, of_q);
      }
    }
    return true;
  }

  bool SameArgument(mlir::BlockArgument x, mlir::BlockArgument y) {
    const size_t i = x.getArgNumber(), k = y.getArgNumber();
    if (i < Carried(small_)) return i == k;
    return k >= Carried(large_) && small_->getOperand(i) == large_->getOperand(k);
  }

  // But for their operands.
  static bool SameOp(mlir::Operation* p, mlir::Operation* q) {
    if (p->getName() != q->getName() || p->getAttrDictionary() != q->getAttrDictionary() ||
        p->getNumOperands() != q->getNumOperands() || p->getResultTypes() != q->getResultTypes() ||
        p->getNumRegions() != q->getNumRegions()) {
      return false;
    }
    for (auto [of_p, of_q] : llvm::zip_equal(p->getRegions(), q->getRegions())) {
      if (!mlir::OperationEquivalence::isRegionEquivalentTo(
              &of_p, &of_q, mlir::OperationEquivalence::IgnoreLocations)) {
        return false;
      }
    }
    return true;
  }

  ir::WhileOp small_, large_;
};

// Moves `op` and what it needs before `place`, an earlier op of its block. False, and nothing is
// moved, where it needs `place` or something with an effect.
bool MoveBefore(mlir::Operation* op, mlir::Operation* place) {
  llvm::SetVector<mlir::Operation*> needed;
  needed.insert(op);
  for (size_t i = 0; i < needed.size(); ++i) {
    for (mlir::Value operand : needed[i]->getOperands()) {
      mlir::Operation* maker = operand.getDefiningOp();
      if (maker == nullptr || maker->getBlock() != place->getBlock()) continue;
      if (maker == place) return false;
      if (maker->isBeforeInBlock(place)) continue;
      if (!mlir::isMemoryEffectFree(maker)) return false;
      needed.insert(maker);
    }
  }
  std::vector<mlir::Operation*> ordered(needed.begin(), needed.end());
  std::sort(ordered.begin(), ordered.end(),
            [](mlir::Operation* a, mlir::Operation* b) { return a->isBeforeInBlock(b); });
  for (mlir::Operation* each : ordered) each->moveBefore(place);
  return true;
}

// Whether `again` is there to run again what `first` ran, rather than to keep what it makes.
bool Recomputes(mlir::Operation* first, mlir::Operation* again) {
  const std::optional<ir::RecomputeMark> a = ir::RecomputeMarkOf(first),
                                         b = ir::RecomputeMarkOf(again);
  return a && b && a->scope == b->scope && a->level < b->level;
}

bool MergeInBlock(mlir::Block& block) {
  std::vector<ir::WhileOp> loops(block.getOps<ir::WhileOp>().begin(),
                                 block.getOps<ir::WhileOp>().end());
  bool changed = false;
  for (size_t i = 0; i < loops.size(); ++i) {
    for (size_t k = i + 1; k < loops.size() && loops[i]; ++k) {
      if (!loops[k] || Recomputes(loops[i], loops[k]) || !Comparison(loops[i], loops[k]).Same() ||
          !MoveBefore(loops[k], loops[i])) {
        continue;
      }
      loops[i]->replaceAllUsesWith(loops[k]->getResults().take_front(loops[i].getNumResults()));
      loops[i]->erase();
      loops[i] = nullptr;
      changed = true;
    }
  }
  return changed;
}

}  // namespace

absl::StatusOr<bool> MergeLoops(mlir::func::FuncOp function) {
  bool changed = false;
  function.walk([&](mlir::Block* block) { changed |= MergeInBlock(*block); });
  return changed;
}

}  // namespace weft
