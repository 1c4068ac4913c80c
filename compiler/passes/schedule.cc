// Orders the ops of each block: the order they come in, but an op that frees more than it needs
// goes as early as it can (an optimizer's update right after its gradient), and one that writes a
// variable goes after the other readers of that variable, so that it can write in place.
#include <algorithm>
#include <map>
#include <vector>

#include "compiler/passes/op_kinds.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/signature.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SetVector.h"

namespace weft {
namespace {

// Stands for an open dimension.
constexpr int64_t kTypicalSize = 64;
// The search looks at every op that is ready; longer blocks keep their order.
constexpr size_t kMaxOps = 20000;

int64_t BytesOf(mlir::Value value) {
  const DimExpr bytes = NumElements(ir::ShapeOf(value)) * DimExpr(SizeOf(ir::DataTypeOf(value)));
  std::map<std::string, int64_t> sizes;
  for (const std::string& symbol : bytes.Symbols()) sizes[symbol] = kTypicalSize;
  return bytes.Evaluate(sizes).value_or(0);
}

// The value whose memory this one is.
mlir::Value RootOf(mlir::Value value) {
  mlir::Operation* op = value.getDefiningOp();
  while (op != nullptr && llvm::isa<ir::ReshapeOp, ir::PrintOp, ir::AssertOp>(op)) {
    value = llvm::isa<ir::AssertOp>(op) ? llvm::cast<ir::AssertOp>(op).getX() : op->getOperand(0);
    op = value.getDefiningOp();
  }
  return value;
}

class BlockScheduler {
 public:
  explicit BlockScheduler(mlir::Block* block) : block_(block) {}

  // `written` maps the op that makes a variable's new value to the variable's argument.
  bool Run(const llvm::DenseMap<mlir::Operation*, llvm::SmallVector<mlir::Value>>& written) {
    for (mlir::Operation& op : block_->without_terminator()) ops_.push_back(&op);
    if (ops_.size() > kMaxOps) return false;
    Prepare();
    std::vector<mlir::Operation*> order;
    while (!ready_.empty()) {
      const size_t best = Choose(written);
      mlir::Operation* op = ready_[best];
      ready_.erase(ready_.begin() + static_cast<int64_t>(best));
      order.push_back(op);
      Finish(op);
    }
    const bool changed = order != ops_;
    for (mlir::Operation* op : order) op->moveBefore(block_->getTerminator());
    return changed;
  }

 private:
  void Prepare() {
    mlir::Operation* last_effect = nullptr;
    for (size_t i = 0; i < ops_.size(); ++i) {
      mlir::Operation* op = ops_[i];
      position_[op] = i;
      llvm::SmallSetVector<mlir::Operation*, 8> needs;
      llvm::SmallSetVector<mlir::Value, 8> roots;
      for (mlir::Value operand : op->getOperands()) {
        mlir::Operation* made_by = operand.getDefiningOp();
        if (made_by != nullptr) needs.insert(made_by);
        roots.insert(RootOf(operand));
      }
      if (KindOf(op) == OpKind::kHost && !llvm::isa<plan::FusionOp>(op)) {
        if (last_effect != nullptr) needs.insert(last_effect);
        last_effect = op;
      }
      for (mlir::Operation* need : needs) users_[need].push_back(op);
      waiting_[op] = needs.size();
      if (needs.empty()) ready_.push_back(op);
      for (mlir::Value root : roots) ++readers_[root];
    }
    // What the block gives away lives on.
    for (mlir::Value operand : block_->getTerminator()->getOperands()) ++readers_[RootOf(operand)];
  }

  llvm::SmallSetVector<mlir::Value, 8> Roots(mlir::Operation* op) const {
    llvm::SmallSetVector<mlir::Value, 8> roots;
    for (mlir::Value operand : op->getOperands()) roots.insert(RootOf(operand));
    return roots;
  }

  // Bytes that live after the op and did not before.
  int64_t Growth(mlir::Operation* op) const {
    if (!llvm::isa<plan::FusionOp>(op)) return 0;
    int64_t growth = 0;
    for (mlir::Value result : op->getResults()) growth += BytesOf(result);
    for (mlir::Value root : Roots(op)) {
      if (root.getDefiningOp() == nullptr || llvm::isa<ir::ConstantOp>(root.getDefiningOp())) {
        continue;
      }
      if (readers_.lookup(root) == 1) growth -= BytesOf(root);
    }
    return growth;
  }

  // Index in ready_.
  size_t Choose(
      const llvm::DenseMap<mlir::Operation*, llvm::SmallVector<mlir::Value>>& written) const {
    auto must_wait = [&](mlir::Operation* op) {
      auto variables = written.find(op);
      if (variables == written.end()) return false;
      return llvm::any_of(variables->second, [&](mlir::Value variable) {
        const unsigned own = llvm::is_contained(Roots(op), variable) ? 1 : 0;
        return readers_.lookup(variable) > own;
      });
    };
    size_t first = ready_.size(), shrinking = ready_.size(), waiting = 0;
    int64_t least = 0;
    for (size_t i = 0; i < ready_.size(); ++i) {
      mlir::Operation* op = ready_[i];
      if (must_wait(op)) {
        if (position_.lookup(op) < position_.lookup(ready_[waiting])) waiting = i;
        continue;
      }
      if (first == ready_.size() || position_.lookup(op) < position_.lookup(ready_[first])) {
        first = i;
      }
      const int64_t growth = Growth(op);
      if (growth < least || (growth == least && growth < 0 &&
                             position_.lookup(op) < position_.lookup(ready_[shrinking]))) {
        least = growth;
        shrinking = i;
      }
    }
    return shrinking < ready_.size() ? shrinking : first < ready_.size() ? first : waiting;
  }

  void Finish(mlir::Operation* op) {
    for (mlir::Value root : Roots(op)) --readers_[root];
    for (mlir::Operation* user : users_[op]) {
      if (--waiting_[user] == 0) ready_.push_back(user);
    }
  }

  mlir::Block* block_;
  std::vector<mlir::Operation*> ops_, ready_;
  llvm::DenseMap<mlir::Operation*, size_t> position_, waiting_;
  llvm::DenseMap<mlir::Operation*, std::vector<mlir::Operation*>> users_;
  // Ops yet to come that read a value's memory.
  llvm::DenseMap<mlir::Value, unsigned> readers_;
};

}  // namespace

absl::StatusOr<bool> Schedule(mlir::func::FuncOp function) {
  mlir::Block* entry = &function.getBody().front();
  llvm::DenseMap<mlir::Operation*, llvm::SmallVector<mlir::Value>> written;
  const std::vector<std::string> variables = NamesIn(function, kVariablesAttr);
  const std::vector<std::string> assigned = NamesIn(function, kAssignedAttr);
  const size_t first_variable = NamesIn(function, kInputsAttr).size();
  const size_t first_assigned = NamesIn(function, kOutputsAttr).size();
  for (size_t i = 0; i < assigned.size(); ++i) {
    mlir::Value value =
        RootOf(entry->getTerminator()->getOperand(static_cast<unsigned>(first_assigned + i)));
    const size_t variable = static_cast<size_t>(
        std::find(variables.begin(), variables.end(), assigned[i]) - variables.begin());
    if (mlir::Operation* op = value.getDefiningOp()) {
      written[op].push_back(function.getArgument(static_cast<unsigned>(first_variable + variable)));
    }
  }
  bool changed = BlockScheduler(entry).Run(written);
  const llvm::DenseMap<mlir::Operation*, llvm::SmallVector<mlir::Value>> none;
  function.walk([&](mlir::Operation* op) {
    if (!llvm::isa<ir::WhileOp, ir::CondOp>(op)) return;
    for (mlir::Region& region : op->getRegions()) {
      changed |= BlockScheduler(&region.front()).Run(none);
    }
  });
  return changed;
}

absl::Status CheckFused(mlir::func::FuncOp function) {
  absl::Status status;
  function.walk<mlir::WalkOrder::PreOrder>([&](mlir::Operation* op) {
    if (op == function || llvm::isa<mlir::func::ReturnOp, ir::YieldOp>(op)) {
      return mlir::WalkResult::advance();
    }
    if (llvm::isa<plan::FusionOp>(op)) return mlir::WalkResult::skip();
    const OpKind kind = KindOf(op);
    // A constant of one number has been copied, or filled by a kernel.
    if (kind == OpKind::kHost || kind == OpKind::kAlias) return mlir::WalkResult::advance();
    status = absl::InternalError("'" + op->getName().getStringRef().str() +
                                 "' is in no fusion, at " + ir::Describe(op->getLoc()));
    return mlir::WalkResult::interrupt();
  });
  return status;
}

}  // namespace weft
