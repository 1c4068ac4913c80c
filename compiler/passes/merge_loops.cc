// The gradient of a loop runs the loop again, without its prints, and keeps what each iteration
// began with. Where the loop's own results are wanted as well, as the loss of a training step is,
// one loop gives both: the first one's body, prints and assertions included, and then what the one
// that keeps more has besides.
#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "compiler/passes/passes.h"
#include "graph/ir/device.h"
#include "graph/ir/dialect.h"
#include "graph/ir/recompute.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/Hashing.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace weft {
namespace {

// Loops that look the same and still do not merge (something between them is in the way) are rare;
// no more than so many are compared with each later one.
constexpr size_t kMaxAttempts = 8;

size_t Carried(ir::WhileOp loop) { return static_cast<size_t>(loop.getNumCarried()); }

bool Prints(mlir::Operation* op) {
  return op->walk([](ir::PrintOp) { return mlir::WalkResult::interrupt(); }).wasInterrupted();
}

// Whether the op, or one inside it, has an effect other than to print.
bool HasOtherEffects(mlir::Operation* op) {
  return op
      ->walk([](mlir::Operation* each) {
        const bool other = each->getNumRegions() == 0 && !llvm::isa<ir::PrintOp>(each) &&
                           !mlir::isMemoryEffectFree(each);
        return other ? mlir::WalkResult::interrupt() : mlir::WalkResult::advance();
      })
      .wasInterrupted();
}

// What is printed: print hands it on.
mlir::Value WithoutPrints(mlir::Value value) {
  while (auto print = value.getDefiningOp<ir::PrintOp>()) value = print.getX();
  return value;
}

// But for their operands and bodies.
bool SameOp(mlir::Operation* p, mlir::Operation* q) {
  return p->getName() == q->getName() && p->getAttrDictionary() == q->getAttrDictionary() &&
         p->getNumOperands() == q->getNumOperands() && p->getResultTypes() == q->getResultTypes() &&
         p->getNumRegions() == q->getNumRegions();
}

// Whether the bodies of two ops inside loops have the same ops in the same order, but for what the
// first op's print.
bool SameBodies(mlir::Operation* p, mlir::Operation* q) {
  for (auto [of_p, of_q] : llvm::zip_equal(p->getRegions(), q->getRegions())) {
    mlir::Block &block = of_p.front(), &other = of_q.front();
    if (block.getArgumentTypes() != other.getArgumentTypes()) return false;
    llvm::DenseMap<mlir::Value, mlir::Value> counterpart;
    for (auto [x, y] : llvm::zip_equal(block.getArguments(), other.getArguments())) {
      counterpart[x] = y;
    }
    auto next = other.begin();
    for (mlir::Operation& op : block) {
      if (llvm::isa<ir::PrintOp>(op)) continue;
      if (next == other.end() || !SameOp(&op, &*next)) return false;
      for (auto [x, y] : llvm::zip_equal(op.getOperands(), next->getOperands())) {
        if (counterpart.lookup(WithoutPrints(x)) != y) return false;
      }
      if (!SameBodies(&op, &*next)) return false;
      for (auto [x, y] : llvm::zip_equal(op.getResults(), next->getResults())) counterpart[x] = y;
      ++next;
    }
    if (next != other.end()) return false;
  }
  return true;
}

// Two loops, of which `large` has as many carried values as `small` or more, and prints nothing.
class Pair {
 public:
  Pair(ir::WhileOp small, ir::WhileOp large) : small_(small), large_(large) {}

  // Whether the first carried values of the large one are those of the small one, and the small one
  // has all effects of the large one.
  bool Same() {
    const size_t carried = Carried(small_);
    if (carried > Carried(large_) || small_.getMaxIterations() != large_.getMaxIterations()) {
      return false;
    }
    for (size_t i = 0; i < carried; ++i) {
      if (small_->getOperand(i) != large_->getOperand(i)) return false;
    }
    return SameResults(small_.getCondition().front(), large_.getCondition().front(), 1) &&
           SameResults(small_.getBody().front(), large_.getBody().front(), carried) &&
           SameEffects(small_.getCondition().front(), large_.getCondition().front()) &&
           SameEffects(small_.getBody().front(), large_.getBody().front());
  }

  // Puts the small loop's ops into the large one, in place of those that are the same, and the
  // large one in its place. What the small one's operands need precedes the large one.
  void Merge() {
    const std::vector<unsigned> places = PlaceOperands();
    llvm::DenseSet<mlir::Operation*> has_same = same_effects_;
    for (auto [value, same] : same_) has_same.insert(value.getDefiningOp());
    std::vector<mlir::Operation*> own;
    for (unsigned r = 0; r < small_->getNumRegions(); ++r) {
      mlir::Block &from = small_->getRegion(r).front(), &to = large_->getRegion(r).front();
      for (mlir::BlockArgument argument : from.getArguments()) {
        argument.replaceAllUsesWith(to.getArgument(places[argument.getArgNumber()]));
      }
      for (mlir::Operation& op : to.without_terminator()) own.push_back(&op);
      // What the large one does first it still does first: a push of a value that the body can then
      // write over. None of that needs what is the same in both.
      mlir::Operation* place = to.getTerminator();
      for (mlir::Operation& op : llvm::reverse(to)) {
        if (has_same.contains(&op)) place = &op;
      }
      to.getOperations().splice(place->getIterator(), from.getOperations(), from.begin(),
                                from.getTerminator()->getIterator());
    }
    for (auto [value, same] : same_) value.replaceAllUsesWith(same);
    // Only now, since all that is the same has been looked at.
    for (auto op = own.rbegin(); op != own.rend(); ++op) {
      if ((*op)->use_empty() && (same_effects_.contains(*op) || mlir::isMemoryEffectFree(*op))) {
        (*op)->erase();
      }
    }
    small_->replaceAllUsesWith(large_->getResults().take_front(small_.getNumResults()));
    small_->erase();
  }

 private:
  // What both bodies yield first comes from the same ops on the same arguments.
  bool SameResults(mlir::Block& a, mlir::Block& b, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      Compare(a.getTerminator()->getOperand(i), b.getTerminator()->getOperand(i));
    }
    return CompareOpen();
  }

  bool SameEffects(mlir::Block& a, mlir::Block& b) {
    std::vector<mlir::Operation*> of_a, of_b;
    for (mlir::Operation& op : a.without_terminator()) {
      if (HasOtherEffects(&op)) of_a.push_back(&op);
    }
    for (mlir::Operation& op : b.without_terminator()) {
      if (HasOtherEffects(&op)) of_b.push_back(&op);
    }
    if (of_b.empty()) return true;
    if (of_a.size() != of_b.size()) return false;
    for (size_t i = 0; i < of_b.size(); ++i) {
      if (!CompareOps(of_a[i], of_b[i])) return false;
      same_effects_.insert(of_b[i]);
    }
    return CompareOpen();
  }

  void Compare(mlir::Value x, mlir::Value y) {
    x = WithoutPrints(x);
    if (seen_.insert({x, y}).second) open_.emplace_back(x, y);
  }

  // A list of what is still to compare, since bodies may be deep.
  bool CompareOpen() {
    while (!open_.empty()) {
      auto [x, y] = open_.back();
      open_.pop_back();
      auto x_argument = llvm::dyn_cast<mlir::BlockArgument>(x);
      auto y_argument = llvm::dyn_cast<mlir::BlockArgument>(y);
      if (x_argument || y_argument) {
        if (!x_argument || !y_argument || !SameArgument(x_argument, y_argument)) return false;
        continue;
      }
      if (llvm::cast<mlir::OpResult>(x).getResultNumber() !=
              llvm::cast<mlir::OpResult>(y).getResultNumber() ||
          !CompareOps(x.getDefiningOp(), y.getDefiningOp())) {
        return false;
      }
    }
    return true;
  }

  // Leaves their operands to compare.
  bool CompareOps(mlir::Operation* p, mlir::Operation* q) {
    if (!SameOp(p, q) || !SameBodies(p, q)) return false;
    for (auto [x, y] : llvm::zip_equal(p->getResults(), q->getResults())) same_.insert({y, x});
    for (auto [x, y] : llvm::zip_equal(p->getOperands(), q->getOperands())) Compare(x, y);
    return true;
  }

  bool SameArgument(mlir::BlockArgument x, mlir::BlockArgument y) {
    const size_t i = x.getArgNumber(), k = y.getArgNumber();
    if (i < Carried(small_)) return i == k;
    return k >= Carried(large_) && small_->getOperand(i) == large_->getOperand(k);
  }

  // Which operand of the large loop each of the small one's is. Those it lacks, captured for
  // nothing but effects, it gets.
  std::vector<unsigned> PlaceOperands() {
    llvm::DenseMap<mlir::Value, unsigned> captured;
    for (unsigned k = static_cast<unsigned>(Carried(large_)); k < large_->getNumOperands(); ++k) {
      captured.insert({large_->getOperand(k), k});
    }
    std::vector<unsigned> places;
    for (unsigned i = 0; i < small_->getNumOperands(); ++i) {
      if (i < Carried(small_)) {
        places.push_back(i);
        continue;
      }
      mlir::Value operand = small_->getOperand(i);
      const auto [place, is_new] = captured.insert({operand, large_->getNumOperands()});
      places.push_back(place->second);
      if (!is_new) continue;
      large_->insertOperands(large_->getNumOperands(), operand);
      for (mlir::Region& region : large_->getRegions()) {
        region.addArgument(operand.getType(), operand.getLoc());
      }
    }
    return places;
  }

  ir::WhileOp small_, large_;
  std::vector<std::pair<mlir::Value, mlir::Value>> open_;
  llvm::DenseSet<std::pair<mlir::Value, mlir::Value>> seen_;
  // The large loop's values that are some of the small one's, and its ops whose effects are.
  llvm::MapVector<mlir::Value, mlir::Value> same_;
  llvm::DenseSet<mlir::Operation*> same_effects_;
};

// Hashes of the values in one of a loop's regions; the same for those that a Pair finds the same.
class ValueHashes {
 public:
  ValueHashes(ir::WhileOp loop, mlir::Block& block) {
    for (mlir::BlockArgument argument : block.getArguments()) {
      const unsigned i = argument.getArgNumber();
      hashes_[argument] =
          i < Carried(loop) ? llvm::hash_value(i) : mlir::hash_value(loop->getOperand(i));
    }
    for (mlir::Operation& op : block.without_terminator()) {
      if (llvm::isa<ir::PrintOp>(op)) continue;
      llvm::hash_code hash = llvm::hash_combine(op.getName(), op.getAttrDictionary());
      for (mlir::Value operand : op.getOperands()) hash = llvm::hash_combine(hash, Of(operand));
      for (mlir::Region& region : op.getRegions()) {
        region.walk([&](mlir::Operation* inner) {
          if (llvm::isa<ir::PrintOp>(inner)) return;
          hash = llvm::hash_combine(hash, inner->getName(), inner->getAttrDictionary());
        });
      }
      for (mlir::OpResult result : op.getResults()) {
        hashes_[result] = llvm::hash_combine(hash, result.getResultNumber(), result.getType());
      }
    }
  }

  llvm::hash_code Of(mlir::Value value) const { return hashes_.find(WithoutPrints(value))->second; }

 private:
  llvm::DenseMap<mlir::Value, llvm::hash_code> hashes_;
};

// Of a loop's limit, its condition and its first n carried values, for each n.
std::vector<size_t> Keys(ir::WhileOp loop) {
  mlir::Block &condition = loop.getCondition().front(), &body = loop.getBody().front();
  const ValueHashes in_condition(loop, condition), in_body(loop, body);
  llvm::hash_code hash = llvm::hash_combine(
      loop.getMaxIterations(), in_condition.Of(condition.getTerminator()->getOperand(0)));
  std::vector<size_t> keys = {hash};
  for (unsigned i = 0; i < Carried(loop); ++i) {
    hash = llvm::hash_combine(hash, loop->getOperand(i),
                              in_body.Of(body.getTerminator()->getOperand(i)));
    keys.push_back(hash);
  }
  return keys;
}

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

// The loops of a block by all they compute; a later one may compute the same and more.
class BlockMerger {
 public:
  bool Run(mlir::Block& block) {
    std::vector<ir::WhileOp> loops(block.getOps<ir::WhileOp>().begin(),
                                   block.getOps<ir::WhileOp>().end());
    if (loops.size() < 2) return false;
    bool changed = false;
    for (ir::WhileOp loop : loops) {
      const std::vector<size_t> keys = Keys(loop);
      changed |= MergeInto(loop, keys);
      by_key_[keys.back()].push_back(loop);
    }
    return changed;
  }

 private:
  // Merges an earlier loop into this one. Two that both print are two.
  bool MergeInto(ir::WhileOp large, const std::vector<size_t>& keys) {
    if (Prints(large)) return false;
    for (size_t key : keys) {
      auto found = by_key_.find(key);
      if (found == by_key_.end()) continue;
      std::vector<ir::WhileOp>& earlier = found->second;
      size_t attempts = 0;
      for (size_t i = earlier.size(); i-- > 0 && attempts++ < kMaxAttempts;) {
        Pair pair(earlier[i], large);
        if (Recomputes(earlier[i], large) || ir::DeviceOf(earlier[i]) != ir::DeviceOf(large) ||
            !pair.Same() || !MoveBefore(large, earlier[i])) {
          continue;
        }
        pair.Merge();
        earlier.erase(earlier.begin() + static_cast<std::ptrdiff_t>(i));
        return true;
      }
    }
    return false;
  }

  // Under the last of their keys.
  std::unordered_map<size_t, std::vector<ir::WhileOp>> by_key_;
};

}  // namespace

absl::StatusOr<bool> MergeLoops(mlir::func::FuncOp function) {
  bool changed = false;
  function.walk([&](mlir::Block* block) { changed |= BlockMerger().Run(*block); });
  return changed;
}

}  // namespace weft
