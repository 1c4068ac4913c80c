// Values that would wait in memory from the forward to the backward pass are computed again next to
// those who read them late. Which: those that the author marked (Graph::Recompute), and, within a
// budget, those that save the most bytes for the longest time at the least work.
//
// What is computed again is a copy of the ops that made it, down to values that are in memory
// anyway. A barrier (plan.barrier) stands between those and the copies: it keeps later passes from
// taking the copies for the originals, and fusion from computing them where the originals are.
// Copies have the same operands and counters of random numbers, so they give the same bits, but for
// what the kernels that hold them round differently.
#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "compiler/codegen/contraction_layout.h"
#include "compiler/passes/memory_profile.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/passes/passes.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/recompute.h"
#include "graph/ir/types.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SetVector.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace weft {
namespace {

using Explain = std::function<void(const std::string&)>;

// Costs nothing where it is used, so it is copied with what uses it.
bool IsFree(mlir::Operation* op) {
  return llvm::isa<ir::ReshapeOp>(op) || KindOf(op) == OpKind::kFree;
}

bool IsConstant(mlir::Operation* op) {
  return llvm::isa<ir::ConstantOp, plan::WeightOp>(op) || (IsFree(op) && op->getNumOperands() == 0);
}

// The value that barriers are of.
mlir::Value NamedBy(mlir::Value value) {
  while (auto barrier = value.getDefiningOp<plan::BarrierOp>()) value = barrier.getX();
  return value;
}

// Whether running the op twice does no more than running it once. Loops and branches are not worth
// it: their gradients run them again by themselves.
bool MayRunAgain(mlir::Operation* op) {
  return op != nullptr && op->getNumRegions() == 0 && op->getNumResults() > 0 &&
         mlir::isMemoryEffectFree(op);
}

// The op of `block` that is or holds `op`.
mlir::Operation* InBlock(mlir::Block* block, mlir::Operation* op) {
  return block->findAncestorOpInBlock(*op);
}

// Copies of ops of one block, each made once.
class Recomputer {
 public:
  // `again` says which values of the block are computed again; the rest is taken from memory.
  Recomputer(mlir::Block* block, const std::string& label, const Explain& explain,
             std::function<bool(mlir::Value)> again)
      : block_(block),
        label_(mlir::StringAttr::get(block->getParentOp()->getContext(), label)),
        explain_(explain),
        again_(std::move(again)) {}

  // What stands for the value in ops from `at` on: copies that are still missing are made there.
  mlir::Value Get(mlir::Value value, mlir::Operation* at) {
    mlir::OpBuilder builder(at);
    // Graphs may be deep: no recursion.
    std::vector<mlir::Value> open = {value};
    while (!open.empty()) {
      mlir::Value next = open.back();
      mlir::Operation* op = next.getDefiningOp();
      if (mapping_.contains(next)) {
        open.pop_back();
      } else if (op != nullptr && IsConstant(op)) {
        mapping_.map(next, next);
      } else if (mlir::Value named = NamedBy(next); named != next) {
        // What is computed again may have been a barrier's.
        if (mapping_.contains(named)) {
          mapping_.map(next, mapping_.lookup(named));
        } else {
          open.push_back(named);
        }
      } else if (op == nullptr || op->getBlock() != block_ || !(again_(next) || IsFree(op))) {
        mapping_.map(
            next,
            plan::BarrierOp::create(builder, next.getLoc(), next.getType(), next, label_).getY());
      } else {
        const size_t before = open.size();
        for (mlir::Value operand : op->getOperands()) {
          if (!mapping_.contains(operand)) open.push_back(operand);
        }
        if (open.size() > before) continue;
        builder.clone(*op, mapping_)->removeAttr(ir::kRecomputeAttr);
        ++copies_;
        if (explain_ && !IsFree(op)) {
          explain_(absl::StrCat("computed again: ", ir::Describe(op->getLoc()), " for ",
                                ir::Describe(at->getLoc()), " by ", label_.getValue().str()));
        }
      }
    }
    return mapping_.lookup(value);
  }

  int copies() const { return copies_; }

 private:
  mlir::Block* block_;
  mlir::StringAttr label_;
  const Explain& explain_;
  std::function<bool(mlir::Value)> again_;
  mlir::IRMapping mapping_;
  int copies_ = 0;
};

// The marks of one block.
class MarkedBlock {
 public:
  MarkedBlock(mlir::Block* block, const Explain& explain) : block_(block), explain_(explain) {
    int64_t position = 0;
    for (mlir::Operation& op : *block) {
      position_[&op] = position++;
      if (std::optional<ir::RecomputeMark> mark = ir::RecomputeMarkOf(&op)) {
        // Ops that read, of each level: the gradients of gradients first, while what they read is
        // still marked.
        if (mark->level > 0) readers_[{-mark->level, mark->scope}].push_back(&op);
        marks_[&op] = *std::move(mark);
      }
    }
  }

  bool Run() {
    std::vector<std::pair<std::pair<int, std::string>, std::vector<mlir::Operation*>>> groups(
        readers_.begin(), readers_.end());
    // Scopes in the order of the backward pass: what one takes from memory, the next may as well.
    // (No two have their first reader in common: an op is in one group.)
    std::sort(groups.begin(), groups.end(), [&](const auto& a, const auto& b) {
      if (a.first.first != b.first.first) return a.first.first < b.first.first;
      return position_.lookup(a.second.front()) < position_.lookup(b.second.front());
    });
    bool changed = false;
    for (const auto& [key, readers] : groups) {
      changed |= RunScope(key.second, -key.first, readers);
    }
    return changed;
  }

 private:
  bool RunScope(const std::string& scope, int level, const std::vector<mlir::Operation*>& readers) {
    const int64_t late = position_.lookup(readers.front());
    llvm::DenseMap<mlir::Value, bool> known;
    auto again = [&](mlir::Value value) {
      auto [entry, is_new] = known.try_emplace(value, false);
      if (is_new) entry->second = IsOfScope(value, scope, level) && !IsKept(value, scope, late);
      return entry->second;
    };
    Recomputer recomputer(block_, absl::StrCat(scope, ":", level), explain_, again);
    for (mlir::Operation* reader : readers) {
      mlir::Operation* before = reader->getPrevNode();
      for (mlir::OpOperand& operand : reader->getOpOperands()) {
        if (again(operand.get())) operand.set(recomputer.Get(operand.get(), reader));
      }
      mlir::Operation* made = before == nullptr ? &block_->front() : before->getNextNode();
      for (; made != reader; made = made->getNextNode()) {
        position_[made] = position_.lookup(reader);
      }
    }
    return recomputer.copies() > 0;
  }

  bool IsOfScope(mlir::Value value, const std::string& scope, int level) const {
    mlir::Operation* op = value.getDefiningOp();
    auto mark = marks_.find(op);
    return mark != marks_.end() && mark->second.scope == scope && mark->second.level < level &&
           MayRunAgain(op);
  }

  // Whether others read the value so late that it is kept for most of the time anyway.
  bool IsKept(mlir::Value value, const std::string& scope, int64_t late) const {
    const int64_t begin = position_.lookup(value.getDefiningOp());
    return llvm::any_of(value.getUsers(), [&](mlir::Operation* user) {
      user = InBlock(block_, user);
      auto mark = marks_.find(user);
      if (mark != marks_.end() && mark->second.scope == scope) return false;
      return user->hasTrait<mlir::OpTrait::IsTerminator>() ||
             position_.lookup(user) >= begin + (late - begin) / 2;
    });
  }

  mlir::Block* block_;
  const Explain& explain_;
  llvm::DenseMap<mlir::Operation*, int64_t> position_;
  llvm::DenseMap<mlir::Operation*, ir::RecomputeMark> marks_;
  std::map<std::pair<int, std::string>, std::vector<mlir::Operation*>> readers_;
};

// Multiplications and additions, or elements read and written where there are more of those.
double WorkOf(mlir::Operation* op, const DimSizes& sizes) {
  double elements = 0;
  auto add = [&](mlir::Value value) {
    elements += static_cast<double>(SizeAt(NumElements(ir::ShapeOf(value)), sizes));
  };
  for (mlir::Value operand : op->getOperands()) add(operand);
  for (mlir::Value result : op->getResults()) add(result);
  if (KindOf(op) != OpKind::kContraction) return elements;
  const ContractionShape shape = ShapeOfContraction(op);
  double product = 2;
  for (const DimExpr& size :
       {shape.whole_batches(), shape.rows, shape.columns, shape.segments, shape.depth}) {
    product *= static_cast<double>(SizeAt(size, sizes));
  }
  return std::max(product, elements);
}

// Fits a function into a budget, round by round: what the memory is held by is found in a copy that
// has gone through the passes to come.
class BudgetFitter {
 public:
  BudgetFitter(mlir::func::FuncOp function, const MemoryBudget& budget)
      : function_(function), block_(&function.getBody().front()), budget_(budget) {}

  absl::StatusOr<bool> Run() {
    bool changed = false;
    int64_t best = 0;
    int rounds_since = 0;
    for (int round = 0; round < kMaxRounds; ++round) {
      if (absl::Status status = Look(); !status.ok()) return status;
      if (profile_.peak_bytes <= budget_.bytes) break;
      if (round == 0 || profile_.peak_bytes < best) {
        best = profile_.peak_bytes;
        rounds_since = 0;
      } else if (++rounds_since > kMaxRoundsWithoutGain) {
        break;
      }
      if (!Improve(round)) break;
      changed = true;
    }
    return changed;
  }

 private:
  static constexpr int kMaxRounds = 64;
  static constexpr int kMaxRoundsWithoutGain = 6;
  // Ops that are computed again for one value.
  static constexpr size_t kMaxChain = 48;
  // A note on ops of the copy: which op of the function it is a copy of.
  static constexpr char kOrigin[] = "plan.origin";

  struct Candidate {
    size_t held = 0;  // which of held_values_ this is
    mlir::Value value;
    int64_t bytes = 0, from = 0, until = 0;  // the positions between which it need not be held
    llvm::SetVector<mlir::Value> again, leaves;
    double score = 0;
  };

  // Finds where values of the function are held once it is fused.
  absl::Status Look() {
    std::vector<mlir::Operation*> ops;
    mlir::Builder builder(function_.getContext());
    for (mlir::Operation& op : *block_) {
      op.setAttr(kOrigin, builder.getI64IntegerAttr(static_cast<int64_t>(ops.size())));
      ops.push_back(&op);
    }
    mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(function_.getLoc());
    mlir::func::FuncOp copy = function_.clone();
    module->push_back(copy);
    for (mlir::Operation* op : ops) op->removeAttr(kOrigin);
    if (absl::Status status = budget_.finish(copy); !status.ok()) return status;
    profile_ = ProfileMemory(copy, budget_.sizes);
    auto origin = [&](mlir::Operation* op) -> mlir::Operation* {
      auto index =
          op == nullptr ? mlir::IntegerAttr() : op->getAttrOfType<mlir::IntegerAttr>(kOrigin);
      return index ? ops[static_cast<size_t>(index.getInt())] : nullptr;
    };
    position_.clear();
    held_.clear();
    held_values_.assign(profile_.values.size(), {});
    int64_t position = 0;
    for (mlir::Operation& op : copy.getBody().front()) {
      if (mlir::Operation* of = origin(&op)) position_[of] = position;
      if (auto fusion = llvm::dyn_cast<plan::FusionOp>(op)) {
        for (mlir::Operation& inner : fusion.body()->without_terminator()) {
          if (mlir::Operation* of = origin(&inner)) position_[of] = position;
        }
      }
      ++position;
    }
    for (size_t i = 0; i < profile_.values.size(); ++i) {
      mlir::Value value = profile_.values[i].value;
      if (auto fusion = value.getDefiningOp<plan::FusionOp>()) {
        value = fusion.yield()->getOperand(llvm::cast<mlir::OpResult>(value).getResultNumber());
      }
      auto result = llvm::dyn_cast<mlir::OpResult>(value);
      mlir::Operation* of = result ? origin(result.getOwner()) : nullptr;
      if (of != nullptr && of->getNumResults() > result.getResultNumber()) {
        held_values_[i] = of->getResult(result.getResultNumber());
        held_[held_values_[i]] = i;
      }
    }
    return absl::OkStatus();
  }

  // Computes some of what is held at the peak again. False where nothing can be.
  bool Improve(int round) {
    std::vector<Candidate> candidates;
    for (size_t i = 0; i < held_values_.size(); ++i) {
      Candidate candidate;
      candidate.held = i;
      if (held_values_[i] && MakeCandidate(held_values_[i], profile_.values[i], &candidate)) {
        candidates.push_back(std::move(candidate));
      }
    }
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
      return a.score != b.score ? a.score > b.score : a.held < b.held;
    });
    int64_t excess = profile_.peak_bytes - budget_.bytes;
    llvm::DenseSet<mlir::Value> leaves, picked;
    int count = 0;
    for (const Candidate& candidate : candidates) {
      if (excess <= 0) break;
      // One counts on what another one is about to let go of.
      if (leaves.contains(candidate.value) ||
          llvm::any_of(candidate.leaves, [&](mlir::Value leaf) { return picked.contains(leaf); })) {
        continue;
      }
      if (!Apply(candidate, absl::StrCat("budget:", round, ":", count))) continue;
      leaves.insert(candidate.leaves.begin(), candidate.leaves.end());
      picked.insert(candidate.value);
      excess -= candidate.bytes;
      ++count;
    }
    return count > 0;
  }

  bool MakeCandidate(mlir::Value value, const HeldValue& held, Candidate* candidate) const {
    const int64_t peak = profile_.peak_at;
    if (held.bytes == 0 || held.begin >= peak || held.end <= peak ||
        !MayRunAgain(value.getDefiningOp())) {
      return false;
    }
    auto next = std::lower_bound(held.reads.begin(), held.reads.end(), peak);
    if (next == held.reads.end() || *next == peak) return false;
    candidate->value = value;
    candidate->bytes = held.bytes;
    candidate->from = next == held.reads.begin() ? held.begin : *(next - 1);
    candidate->until = *next;
    if (!FindChain(candidate)) return false;
    double work = 1;
    for (mlir::Value again : candidate->again) work += WorkOf(again.getDefiningOp(), budget_.sizes);
    candidate->score = static_cast<double>(held.bytes) *
                       static_cast<double>(candidate->until - candidate->from) / work;
    return true;
  }

  // What has to be computed again for the value, and what that is computed from.
  bool FindChain(Candidate* candidate) const {
    candidate->again.insert(candidate->value);
    llvm::SetVector<mlir::Value> open;
    open.insert(candidate->value);
    for (size_t i = 0; i < open.size(); ++i) {
      for (mlir::Value operand : open[i].getDefiningOp()->getOperands()) {
        operand = NamedBy(operand);
        mlir::Operation* op = operand.getDefiningOp();
        if (op == nullptr || IsConstant(op) || open.contains(operand)) continue;
        if (IsFree(op)) {
          open.insert(operand);
          continue;
        }
        auto held = held_.find(operand);
        if (held != held_.end() && profile_.values[held->second].end >= candidate->until) {
          candidate->leaves.insert(operand);
          continue;
        }
        if (!MayRunAgain(op) || candidate->again.size() >= kMaxChain) return false;
        candidate->again.insert(operand);
        open.insert(operand);
      }
    }
    return true;
  }

  // Gives the copies to all who read the value from `until` on. False where there are none.
  bool Apply(const Candidate& candidate, const std::string& label) {
    // Free ops are copied into what uses them, so it is their users that read.
    std::vector<std::pair<mlir::Operation*, unsigned>> readers;
    llvm::SetVector<mlir::Value> names;
    names.insert(candidate.value);
    for (size_t i = 0; i < names.size(); ++i) {
      for (mlir::OpOperand& use : names[i].getUses()) {
        mlir::Operation* user = use.getOwner();
        if (user->getBlock() != block_ || user->hasTrait<mlir::OpTrait::IsTerminator>()) continue;
        if (IsFree(user) || llvm::isa<plan::BarrierOp>(user)) {
          names.insert(user->getResult(0));
        } else if (auto at = position_.find(user);
                   at != position_.end() && at->second >= candidate.until) {
          readers.emplace_back(user, use.getOperandNumber());
        }
      }
    }
    std::sort(readers.begin(), readers.end(), [](const auto& a, const auto& b) {
      return a.first == b.first ? a.second < b.second : a.first->isBeforeInBlock(b.first);
    });
    Recomputer recomputer(block_, label, budget_.explain,
                          [&](mlir::Value value) { return candidate.again.contains(value); });
    for (auto [reader, operand] : readers) {
      reader->setOperand(operand, recomputer.Get(reader->getOperand(operand), reader));
    }
    return !readers.empty();
  }

  mlir::func::FuncOp function_;
  mlir::Block* block_;
  const MemoryBudget& budget_;
  MemoryProfile profile_;
  // Where ops of the function are computed, and which of its values are held in memory: by place in
  // the profile (null for what is not the function's own), and the other way round.
  llvm::DenseMap<mlir::Operation*, int64_t> position_;
  std::vector<mlir::Value> held_values_;
  llvm::DenseMap<mlir::Value, size_t> held_;
};

}  // namespace

absl::StatusOr<bool> Rematerialize(mlir::func::FuncOp function, const MemoryBudget& budget) {
  bool changed = false;
  std::vector<mlir::Block*> blocks;
  function.walk([&](mlir::Block* block) { blocks.push_back(block); });
  for (mlir::Block* block : blocks) changed |= MarkedBlock(block, budget.explain).Run();
  function.walk([](mlir::Operation* op) { op->removeAttr(ir::kRecomputeAttr); });
  if (budget.bytes == 0) return changed;
  absl::StatusOr<bool> fitted = BudgetFitter(function, budget).Run();
  if (!fitted.ok()) return fitted;
  return changed || *fitted;
}

}  // namespace weft
