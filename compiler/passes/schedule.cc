// Orders the ops of each block: the order they come in, but an op that frees more than it needs
// goes as early as it can (an optimizer's update right after its gradient), and one that writes a
// variable goes after the other readers of that variable, so that it can write in place.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "compiler/passes/memory_profile.h"
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

int64_t BytesOf(mlir::Value value) { return BytesAt(value, {}); }

// The variables' arguments that an op's results become the new values of.
using Written = llvm::DenseMap<mlir::Operation*, llvm::SmallVector<mlir::Value>>;

class BlockScheduler {
 public:
  BlockScheduler(mlir::Block* block, const Written& written) : block_(block) {
    for (mlir::Operation& op : block->without_terminator()) {
      index_[&op] = nodes_.size();
      nodes_.push_back({&op, {}, {}, {}, 0, 0, false});
    }
    FindDependences();
    for (size_t i = 0; i < nodes_.size(); ++i) {
      auto variables = written.find(nodes_[i].op);
      if (variables == written.end()) continue;
      nodes_[i].written.assign(variables->second.begin(), variables->second.end());
      for (mlir::Value variable : variables->second) roots_[variable].writers.push_back(i);
    }
  }

  bool Run() {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].waiting == 0) MakeReady(i);
    }
    std::vector<size_t> order;
    while (order.size() < nodes_.size()) {
      const size_t next = Choose();
      order.push_back(next);
      Finish(next);
    }
    for (size_t i : order) nodes_[i].op->moveBefore(block_->getTerminator());
    return !std::is_sorted(order.begin(), order.end());
  }

 private:
  // An op; its index is its place in the order in which ops come.
  struct Node {
    mlir::Operation* op;
    llvm::SmallVector<mlir::Value, 4> reads;    // roots of the operands, each once
    llvm::SmallVector<mlir::Value, 2> written;  // variables
    std::vector<size_t> users;
    size_t waiting;  // for ops whose results it needs
    int64_t result_bytes;
    bool ready;
  };
  // A value that has memory of its own, and what is yet to come of those who read it.
  struct Root {
    int64_t bytes = 0;
    size_t readers_left = 0;
    std::vector<size_t> readers, writers;
  };

  void FindDependences() {
    std::optional<size_t> last_effect;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      Node& node = nodes_[i];
      if (mlir::Value operand = AliasedOperand(node.op)) {
        alias_of_[node.op->getResult(0)] = RootOf(operand);
      }
      llvm::SmallSetVector<size_t, 8> needs;
      llvm::SmallSetVector<mlir::Value, 8> reads;
      for (mlir::Value operand : node.op->getOperands()) {
        if (auto made_by = index_.find(operand.getDefiningOp()); made_by != index_.end()) {
          needs.insert(made_by->second);
        }
        reads.insert(RootOf(operand));
      }
      if (HasEffects(node.op)) {
        if (last_effect) needs.insert(*last_effect);
        last_effect = i;
      }
      for (size_t need : needs) nodes_[need].users.push_back(i);
      node.waiting = needs.size();
      for (mlir::Value read : reads) {
        Root& root = RootAt(read);
        root.readers.push_back(i);
        ++root.readers_left;
        node.reads.push_back(read);
      }
      for (mlir::Value result : node.op->getResults()) node.result_bytes += BytesOf(result);
    }
    // What the block gives away lives on.
    for (mlir::Value operand : block_->getTerminator()->getOperands()) {
      ++RootAt(RootOf(operand)).readers_left;
    }
  }

  // The value whose memory this one is.
  mlir::Value RootOf(mlir::Value value) const {
    auto alias = alias_of_.find(value);
    return alias == alias_of_.end() ? value : alias->second;
  }

  Root& RootAt(mlir::Value value) {
    auto [root, is_new] = roots_.try_emplace(value);
    // What others own does not go when it is read for the last time.
    mlir::Operation* made_by = value.getDefiningOp();
    if (is_new && made_by != nullptr && !llvm::isa<ir::ConstantOp, plan::WeightOp>(made_by)) {
      root->second.bytes = BytesOf(value);
    }
    return root->second;
  }

  // Bytes that live after the op and did not before.
  int64_t Growth(const Node& node) const {
    if (!llvm::isa<plan::FusionOp>(node.op)) return 0;
    int64_t growth = node.result_bytes;
    for (mlir::Value read : node.reads) {
      const Root& root = roots_.find(read)->second;
      if (root.readers_left == 1) growth -= root.bytes;
    }
    return growth;
  }

  // Whether others are still to read a variable that the op writes.
  bool MustWait(const Node& node) const {
    return llvm::any_of(node.written, [&](mlir::Value variable) {
      const size_t own = llvm::is_contained(node.reads, variable) ? 1 : 0;
      return roots_.find(variable)->second.readers_left > own;
    });
  }

  // Puts a ready op where Choose looks for it; again, after what it depends on has changed.
  void Place(size_t index) {
    Remove(index);
    const Node& node = nodes_[index];
    if (MustWait(node)) {
      held_.insert(index);
      return;
    }
    free_.insert(index);
    if (const int64_t growth = Growth(node); growth < 0) {
      shrinking_.insert({growth, index});
      growth_[index] = growth;
    }
  }

  void Remove(size_t index) {
    held_.erase(index);
    free_.erase(index);
    if (auto growth = growth_.find(index); growth != growth_.end()) {
      shrinking_.erase({growth->second, index});
      growth_.erase(growth);
    }
  }

  void MakeReady(size_t index) {
    nodes_[index].ready = true;
    Place(index);
  }

  size_t Choose() const {
    if (!shrinking_.empty()) return shrinking_.begin()->second;
    return free_.empty() ? *held_.begin() : *free_.begin();
  }

  void Finish(size_t index) {
    Remove(index);
    Node& node = nodes_[index];
    node.ready = false;
    for (mlir::Value read : node.reads) {
      Root& root = roots_.find(read)->second;
      // The last reader would free it, and writers need not wait for others.
      if (--root.readers_left > 1) continue;
      for (const std::vector<size_t>* affected : {&root.readers, &root.writers}) {
        for (size_t other : *affected) {
          if (nodes_[other].ready) Place(other);
        }
      }
    }
    for (size_t user : node.users) {
      if (--nodes_[user].waiting == 0) MakeReady(user);
    }
  }

  mlir::Block* block_;
  std::vector<Node> nodes_;
  llvm::DenseMap<mlir::Operation*, size_t> index_;
  llvm::DenseMap<mlir::Value, mlir::Value> alias_of_;
  llvm::DenseMap<mlir::Value, Root> roots_;
  // Ready ops: those that others should precede; the rest, and those of the rest that free more
  // than they need, the most first.
  std::set<size_t> held_, free_;
  std::set<std::pair<int64_t, size_t>> shrinking_;
  llvm::DenseMap<size_t, int64_t> growth_;
};

}  // namespace

absl::StatusOr<bool> Schedule(mlir::func::FuncOp function) {
  mlir::Block* entry = &function.getBody().front();
  Written written;
  size_t next = NamesIn(function, kOutputsAttr).size();
  for (mlir::BlockArgument variable : AssignedArguments(function)) {
    mlir::Value value = entry->getTerminator()->getOperand(static_cast<unsigned>(next++));
    while (mlir::Value operand = AliasedOperand(value.getDefiningOp())) value = operand;
    if (mlir::Operation* op = value.getDefiningOp()) written[op].push_back(variable);
  }
  bool changed = BlockScheduler(entry, written).Run();
  function.walk([&](mlir::Operation* op) {
    if (!llvm::isa<ir::WhileOp, ir::CondOp>(op)) return;
    for (mlir::Region& region : op->getRegions()) {
      changed |= BlockScheduler(&region.front(), Written()).Run();
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
    if (kind == OpKind::kAlias ||
        llvm::isa<ir::WhileOp, ir::CondOp, ir::AssertOp, ir::PrintOp, plan::TransferOp>(op)) {
      return mlir::WalkResult::advance();
    }
    status = absl::InternalError(absl::StrCat(
        "'", op->getName().getStringRef().str(),
        kind == OpKind::kHost ? "' is an op without code: no pass takes it apart, and it has no "
                                "kind of kernel (compiler/passes/op_kinds.h)"
                              : "' is in no fusion",
        ", at ", ir::Describe(op->getLoc())));
    return mlir::WalkResult::interrupt();
  });
  return status;
}

}  // namespace weft
