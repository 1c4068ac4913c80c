// Which ops of a block are computed together. form_fusions.cc turns groups into plan.fusion ops.
#ifndef WEFT_COMPILER_PASSES_FUSION_GROUPS_H_
#define WEFT_COMPILER_PASSES_FUSION_GROUPS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "compiler/passes/fusion_domain.h"
#include "compiler/passes/group_order.h"
#include "compiler/passes/op_kinds.h"
#include "llvm/ADT/DenseMap.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Block.h"
#include "mlir/IR/Operation.h"
#include "proto/dim_expr.h"

namespace weft {

// How a value reaches a consumer: through free ops and aliases that a kernel can hold.
struct FusionEdge {
  mlir::Value source;         // a result of an op that is not free, or an argument of the block
  mlir::Operation* consumer;  // the op that is not free
  // From the source to the consumer's operand; empty where the consumer uses the source itself.
  std::vector<mlir::Operation*> through;
};

struct FusionGroup {
  // One of plan.h's kinds; empty where no kernel is made: host ops and aliases.
  std::string kind;
  std::vector<mlir::Operation*> ops;
  // Of loops, rows and columns; see compiler/codegen/emit.h.
  FusionDomain domain;
  // Of contractions.
  Shape result_shape;
  bool has_moves = false;  // an op of OpKind::kMove is in it
  // Positions in the block of the first and last op.
  int64_t first = 0, last = 0;
};

class FusionGroups {
 public:
  using Explain = std::function<void(const std::string& line)>;
  // Each op a group of its own; with `merge`, then merged as far as the rules allow. `explain` may
  // be empty.
  FusionGroups(mlir::Block* block, bool merge, const Explain& explain);

  // Groups that are left, in the order of their first op.
  std::vector<const FusionGroup*> groups() const;
  // The group of an op of the block.
  const FusionGroup& group(mlir::Operation* op) const { return groups_[Find(op)]; }
  bool SameGroup(mlir::Operation* a, mlir::Operation* b) const { return Find(a) == Find(b); }

 private:
  int Find(mlir::Operation* op) const;
  void MakeGroup(mlir::Operation* op);
  // From ops to those that come after: users, and where an op has effects the next one that has.
  std::vector<std::pair<int, int>> Edges(const std::vector<mlir::Operation*>& order) const;
  void MergeLoops(const std::vector<mlir::Operation*>& order);
  void MergeAll(const std::vector<mlir::Operation*>& order);
  void MergeSiblings(const std::vector<mlir::Operation*>& order);
  // Merges the groups of two reductions that read `value`, if both read all of it and reduce alike.
  bool TryMergeSiblings(mlir::Operation* first, mlir::Operation* second, mlir::Value value);
  // Merges the source's group into the consumer's where a rule allows it.
  void TryMerge(const FusionEdge& edge, bool loops_only);
  // The rule that allows producer and consumer to be one group and what that would be; nullopt
  // where none does, with the reason in `why_not`.
  struct Merged {
    std::string rule;
    FusionGroup group;
  };
  std::optional<Merged> Rule(int producer, int consumer, std::string* why_not) const;
  // Whether one kernel can hold the ops of both groups; splits the domain of `merged` as they need
  // it.
  bool EdgesAllow(int producer, int consumer, FusionGroup* merged, std::string* why_not) const;
  void Merge(int into, int from, FusionGroup merged);

  mlir::Block* block_;
  const Explain& explain_;
  std::vector<FusionGroup> groups_;
  // A group's number is the position of an op of it.
  llvm::DenseMap<mlir::Operation*, int> position_;
  GroupOrder order_{0, {}};
};

// The blocks of a function whose ops become kernels: its own, and those of loops and branches.
std::vector<mlir::Block*> BlocksOfKernels(mlir::func::FuncOp function);
// The edges into `op`. Free ops on the way are resolved where `op` can hold them.
std::vector<FusionEdge> EdgesInto(mlir::Operation* op);
// Whether the kernel that computes `consumer` can also hold the free op that makes this operand.
bool Absorbs(mlir::Operation* consumer, mlir::Operation* free_op);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_FUSION_GROUPS_H_
