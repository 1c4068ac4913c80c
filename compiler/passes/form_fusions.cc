// Wraps what needs code into plan.fusion ops, one for each kernel. Which ops go together is decided
// in fusion_groups.cc.
#include <algorithm>
#include <queue>

#include "absl/strings/str_cat.h"
#include "compiler/passes/fusion_groups.h"
#include "compiler/passes/make_fusion.h"
#include "compiler/passes/passes.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/device.h"
#include "graph/ir/dialect.h"
#include "graph/ir/recompute.h"
#include "graph/ir/types.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SetVector.h"
#include "mlir/IR/IRMapping.h"

namespace weft {
namespace {

// An edge into a unit: what must be in memory for it, and what the kernel computes from that.
struct UnitEdge {
  mlir::Value boundary;                  // null where the chain starts with a constant
  std::vector<mlir::Operation*> copies;  // in order
};

// What becomes one op: a group that gets a kernel, or an op that stays as it is.
struct Unit {
  const FusionGroup* group;
  std::vector<UnitEdge> edges;
};

// Rewrites one block.
class BlockFuser {
 public:
  BlockFuser(mlir::Block* block, bool merge, const FusionGroups::Explain& explain)
      : block_(block), groups_(block, merge, explain) {}

  absl::Status Run() {
    FindUnits();
    const std::vector<int> order = Order();
    if (order.size() != units_.size()) return Cycle(order);
    for (int unit : order) Emit(units_[static_cast<size_t>(unit)]);
    for (mlir::Operation* op : to_erase_) op->dropAllReferences();
    for (mlir::Operation* op : to_erase_) op->erase();
    return absl::OkStatus();
  }

 private:
  UnitEdge Resolve(const FusionEdge& edge, mlir::Value operand) const {
    mlir::Operation* source = edge.source.getDefiningOp();
    if (source != nullptr && source->getBlock() != block_) source = nullptr;
    if (source != nullptr && source->getNumOperands() == 0 && KindOf(source) == OpKind::kFree &&
        Absorbs(edge.consumer, source)) {
      UnitEdge resolved{{}, {source}};
      resolved.copies.insert(resolved.copies.end(), edge.through.begin(), edge.through.end());
      return resolved;
    }
    const bool same_group = source != nullptr && !groups_.group(source).kind.empty() &&
                            KindOf(source) != OpKind::kFree &&
                            groups_.SameGroup(source, edge.consumer);
    size_t cut = 0;
    // A reshape of what is in memory is no code.
    while (!same_group && cut < edge.through.size() &&
           llvm::isa<ir::ReshapeOp>(edge.through[cut])) {
      ++cut;
    }
    if (cut == edge.through.size()) return {edge.through.empty() ? edge.source : operand, {}};
    return {edge.through[cut]->getOperand(0),
            {edge.through.begin() + static_cast<int64_t>(cut), edge.through.end()}};
  }

  std::vector<UnitEdge> ResolvedEdges(mlir::Operation* op) const {
    std::vector<UnitEdge> resolved;
    const std::vector<FusionEdge> edges = EdgesInto(op);
    for (size_t i = 0; i < edges.size(); ++i) {
      resolved.push_back(Resolve(edges[i], op->getOperand(static_cast<unsigned>(i))));
    }
    return resolved;
  }

  mlir::Operation* MadeBy(const UnitEdge& edge) const {
    mlir::Operation* op = edge.boundary ? edge.boundary.getDefiningOp() : nullptr;
    return op != nullptr && op->getBlock() == block_ ? op : nullptr;
  }

  // Groups that are needed; copied ops are where somebody wants them in memory.
  void FindUnits() {
    llvm::DenseSet<mlir::Operation*> needed;
    for (mlir::Operation& op : llvm::reverse(*block_)) {
      const bool vanishes = IsCopied(&op) && !needed.contains(&op);
      if (IsCopied(&op) || !groups_.group(&op).kind.empty()) to_erase_.push_back(&op);
      if (vanishes) continue;
      std::vector<UnitEdge>& edges = edges_of_[&op] = ResolvedEdges(&op);
      for (const UnitEdge& edge : edges) {
        if (mlir::Operation* made_by = MadeBy(edge)) needed.insert(made_by);
      }
    }
    for (const FusionGroup* group : groups_.groups()) {
      if (IsCopied(group->ops.front()) && !needed.contains(group->ops.front())) continue;
      Unit unit{group, {}};
      for (mlir::Operation* op : group->ops) {
        unit_of_[op] = static_cast<int>(units_.size());
        const std::vector<UnitEdge>& edges = edges_of_[op];
        unit.edges.insert(unit.edges.end(), edges.begin(), edges.end());
      }
      units_.push_back(std::move(unit));
    }
    for (size_t i = 0; i < units_.size(); ++i) {
      for (const UnitEdge& edge : units_[i].edges) {
        mlir::Operation* made_by = MadeBy(edge);
        if (made_by != nullptr && unit_of_.lookup(made_by) != static_cast<int>(i)) {
          leaves_unit_.insert(edge.boundary);
        }
      }
    }
  }

  // Units in topological order, among those that are ready the one whose last op came first. Ops
  // with effects keep their order.
  std::vector<int> Order() const {
    std::vector<llvm::SetVector<int>> users(units_.size());
    std::vector<int> waiting(units_.size(), 0);
    auto depend = [&](int on, int unit) {
      if (on != unit && users[static_cast<size_t>(on)].insert(unit)) {
        ++waiting[static_cast<size_t>(unit)];
      }
    };
    int last_effect = -1;
    for (size_t i = 0; i < units_.size(); ++i) {
      const int unit = static_cast<int>(i);
      for (const UnitEdge& edge : units_[i].edges) {
        if (mlir::Operation* made_by = MadeBy(edge)) depend(unit_of_.lookup(made_by), unit);
      }
      if (HasEffects(units_[i].group->ops.front())) {
        if (last_effect >= 0) depend(last_effect, unit);
        last_effect = unit;
      }
    }
    auto later = [&](int a, int b) {
      return units_[static_cast<size_t>(a)].group->last >
             units_[static_cast<size_t>(b)].group->last;
    };
    std::priority_queue<int, std::vector<int>, decltype(later)> ready(later);
    for (size_t i = 0; i < units_.size(); ++i) {
      if (waiting[i] == 0) ready.push(static_cast<int>(i));
    }
    std::vector<int> order;
    while (!ready.empty()) {
      const int unit = ready.top();
      ready.pop();
      order.push_back(unit);
      for (int user : users[static_cast<size_t>(unit)]) {
        if (--waiting[static_cast<size_t>(user)] == 0) ready.push(user);
      }
    }
    return order;
  }

  // Where the first unit is that is not in `order`.
  absl::Status Cycle(const std::vector<int>& order) const {
    std::vector<bool> ordered(units_.size(), false);
    for (int unit : order) ordered[static_cast<size_t>(unit)] = true;
    const auto first = std::find(ordered.begin(), ordered.end(), false) - ordered.begin();
    const mlir::Location at = units_[static_cast<size_t>(first)].group->ops.front()->getLoc();
    return absl::InternalError(absl::StrCat("groups of ops depend on each other in a cycle, at ",
                                            ir::Describe(at),
                                            "; disable the pass 'fuse' to go on"));
  }

  void Emit(const Unit& unit) {
    mlir::Operation* last = unit.group->ops.back();
    if (unit.group->kind.empty() && IsCopied(last)) {
      // As a copy, since kernels may hold others, made of the op as it is.
      mlir::OpBuilder(block_->getTerminator()).clone(*last, final_);
      return;
    }
    if (unit.group->kind.empty()) {
      for (mlir::OpOperand& operand : last->getOpOperands()) {
        operand.set(final_.lookupOrDefault(operand.get()));
      }
      if (last != block_->getTerminator()) last->moveBefore(block_->getTerminator());
      return;
    }
    const int index = unit_of_.lookup(last);
    llvm::SetVector<mlir::Value> inputs;
    for (const UnitEdge& edge : unit.edges) {
      mlir::Operation* made_by = MadeBy(edge);
      if (edge.boundary && (made_by == nullptr || unit_of_.lookup(made_by) != index)) {
        inputs.insert(edge.boundary);
      }
    }
    std::vector<mlir::Value> outputs, operands;
    llvm::SetVector<mlir::Operation*> ops;
    for (mlir::Operation* op : unit.group->ops) {
      for (const UnitEdge& edge : edges_of_[op]) {
        for (mlir::Operation* copy : edge.copies) {
          if (!inputs.contains(copy->getResult(0))) ops.insert(copy);
        }
      }
      ops.insert(op);
      for (mlir::Value result : op->getResults()) {
        if (leaves_unit_.contains(result)) outputs.push_back(result);
      }
    }
    for (mlir::Value input : inputs) operands.push_back(final_.lookupOrDefault(input));
    mlir::OpBuilder builder(block_->getTerminator());
    plan::FusionOp fusion = MakeFusion(builder, {.location = last->getLoc(),
                                                 .kind = unit.group->kind,
                                                 .device = ir::DeviceOf(last),
                                                 .inputs = inputs.getArrayRef(),
                                                 .operands = operands,
                                                 .ops = ops.getArrayRef(),
                                                 .outputs = outputs});
    final_.map(outputs, fusion.getResults());
  }

  mlir::Block* block_;
  FusionGroups groups_;
  std::vector<Unit> units_;
  llvm::DenseMap<mlir::Operation*, std::vector<UnitEdge>> edges_of_;
  llvm::DenseMap<mlir::Operation*, int> unit_of_;
  // Values that some other unit needs in memory.
  llvm::DenseSet<mlir::Value> leaves_unit_;
  // From values of the block to results of fusions.
  mlir::IRMapping final_;
  std::vector<mlir::Operation*> to_erase_;
};

}  // namespace

absl::StatusOr<bool> FormFusions(mlir::func::FuncOp function, bool merge,
                                 const std::function<void(const std::string&)>& explain) {
  if (absl::Status status = AssignDevices(function); !status.ok()) return status;
  // Marks to compute again have been acted on, and say nothing of what a kernel is.
  function.walk([](mlir::Operation* op) { op->removeAttr(ir::kRecomputeAttr); });
  // A kernel without results would be left of dead ops.
  if (absl::StatusOr<bool> status = EliminateDeadCode(function); !status.ok()) return status;
  for (mlir::Block* block : BlocksOfKernels(function)) {
    if (absl::Status status = BlockFuser(block, merge, explain).Run(); !status.ok()) return status;
  }
  // The fusion says it, and equal kernels are one.
  function.walk([](plan::FusionOp fusion) {
    for (mlir::Operation& op : *fusion.body()) op.removeAttr(ir::kDeviceAttr);
  });
  return true;
}

}  // namespace weft
