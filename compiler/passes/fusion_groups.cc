#include "compiler/passes/fusion_groups.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "compiler/codegen/contraction_layout.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallPtrSet.h"

namespace weft {
namespace {

// Bounds on one kernel: its code grows with the ops, and the executor passes a pointer per operand.
constexpr size_t kMaxOps = 96;
constexpr size_t kMaxOperands = 40;
// Groups that read one value and stay apart, among which more are looked for.
constexpr size_t kMaxSiblings = 8;
// Column reductions of one kernel. Each has an accumulator for every lane, which a processor's
// registers have to hold; on a GPU up to 16 bytes (a number and its place) for each of 256 threads
// in shared memory, of which every driver gives 48 KiB.
constexpr int64_t kMaxColumns = 12;

bool IsReshape(mlir::Operation* op) { return llvm::isa<ir::ReshapeOp>(op); }

// Whether a broadcast repeats dimensions behind all that it keeps, so that a row's value comes to
// be at each of its columns.
bool RepeatsLast(const Shape& from, const Shape& to) {
  const size_t leading = to.size() - from.size();
  bool repeats = false;
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i] == DimExpr(1)) continue;
    const bool kept = i >= leading && from[i - leading] == to[i];
    if (kept && repeats) return false;
    repeats |= !kept;
  }
  return true;
}

// Whether the chain repeats each value of a row along the columns: a broadcast, and reshapes.
bool IsRowBroadcast(const FusionEdge& edge, FusionDomain* row) {
  if (!row->CoverReduced(ir::ShapeOf(edge.source))) return false;
  bool is_row = true;
  for (mlir::Operation* op : edge.through) {
    const Shape from = ir::ShapeOf(op->getOperand(0)), to = ir::ShapeOf(op->getResult(0));
    if (!IsReshape(op)) {
      if (!is_row || !llvm::isa<ir::BroadcastOp>(op) || !RepeatsLast(from, to)) return false;
      is_row = false;
    }
    if (!(is_row ? row->CoverReduced(to) : row->Cover(to))) return false;
  }
  return true;
}

bool TooManyColumns(const FusionGroup& a, const FusionGroup& b) {
  const auto count = [](const FusionGroup& group) {
    return llvm::count_if(
        group.ops, [](mlir::Operation* op) { return KindOf(op) == OpKind::kColumnReduction; });
  };
  return a.kind == plan::kColumn && count(a) + count(b) > kMaxColumns;
}

}  // namespace

std::vector<mlir::Block*> BlocksOfKernels(mlir::func::FuncOp function) {
  std::vector<mlir::Block*> blocks = {&function.getBody().front()};
  function.walk([&](mlir::Operation* op) {
    if (!llvm::isa<ir::WhileOp, ir::CondOp>(op)) return;
    for (mlir::Region& region : op->getRegions()) blocks.push_back(&region.front());
  });
  return blocks;
}

bool Absorbs(mlir::Operation* consumer, mlir::Operation* free_op) {
  switch (KindOf(consumer)) {
    case OpKind::kElementwise:
    case OpKind::kMove:
    case OpKind::kFree:
    case OpKind::kRowReduction:
    case OpKind::kColumnReduction:
      return !llvm::isa<plan::UnpackOp>(free_op);
    case OpKind::kContraction:
      return llvm::isa<plan::UnpackOp>(free_op);
    default:
      return false;
  }
}

std::vector<FusionEdge> EdgesInto(mlir::Operation* op) {
  std::vector<FusionEdge> edges;
  for (mlir::Value operand : op->getOperands()) {
    FusionEdge edge{operand, op, {}};
    // A reshape counts as a step only where free ops lie around it or it is the way from a row's
    // value; otherwise it is a buffer under another shape. EdgesAllow sorts that out.
    while (mlir::Operation* made_by = edge.source.getDefiningOp()) {
      const OpKind kind = KindOf(made_by);
      const bool passes = (kind == OpKind::kFree && Absorbs(op, made_by)) ||
                          (llvm::isa<ir::ReshapeOp>(made_by) && Absorbs(op, made_by));
      if (!passes || made_by->getNumOperands() != 1) break;
      edge.through.push_back(made_by);
      edge.source = made_by->getOperand(0);
    }
    std::reverse(edge.through.begin(), edge.through.end());
    edges.push_back(std::move(edge));
  }
  return edges;
}

FusionGroups::FusionGroups(mlir::Block* block, bool merge, const Explain& explain)
    : block_(block), explain_(explain) {
  std::vector<mlir::Operation*> order;
  for (mlir::Operation& op : *block) {
    position_[&op] = static_cast<int>(order.size());
    order.push_back(&op);
    MakeGroup(&op);
  }
  order_ = GroupOrder(static_cast<int>(order.size()), Edges(order));
  if (!merge) return;
  MergeLoops(order);
  MergeAll(order);
  MergeSiblings(order);
}

void FusionGroups::MakeGroup(mlir::Operation* op) {
  FusionGroup group;
  group.ops = {op};
  group.first = group.last = position_[op];
  group.kind = FusionKindOf(op);
  switch (KindOf(op)) {
    case OpKind::kMove:
      group.has_moves = true;
      [[fallthrough]];
    case OpKind::kElementwise:
    case OpKind::kFree:
      group.domain = FusionDomain(ir::ShapeOf(op->getResult(0)));
      break;
    case OpKind::kRowReduction:
    case OpKind::kColumnReduction: {
      const bool row = KindOf(op) == OpKind::kRowReduction;
      const Shape shape = ir::ShapeOf(op->getOperand(0));
      const AxisRange range = ReducedRange(op);
      // Behind the columns of a row there are dimensions of 1 at most.
      group.domain = FusionDomain(shape, static_cast<size_t>(range.begin),
                                  row ? shape.size() : static_cast<size_t>(range.end));
      break;
    }
    case OpKind::kContraction:
      group.result_shape = ir::ShapeOf(op->getResult(0));
      break;
    default:
      break;
  }
  groups_.push_back(std::move(group));
}

std::vector<std::pair<int, int>> FusionGroups::Edges(
    const std::vector<mlir::Operation*>& order) const {
  std::vector<std::pair<int, int>> edges;
  // For each op that is copied into its users, what it is made from (-1: nothing): it lies between
  // no others. Such ops have one operand at most.
  std::vector<int> source(order.size());
  int last_effect = -1;
  for (size_t i = 0; i < order.size(); ++i) {
    const int position = static_cast<int>(i);
    const bool is_copied = IsCopied(order[i]);
    source[i] = is_copied ? -1 : position;
    // Ops in nested regions stand for the control flow op that holds them.
    order[i]->walk([&](mlir::Operation* op) {
      for (mlir::Value operand : op->getOperands()) {
        mlir::Operation* made_by = operand.getDefiningOp();
        if (made_by == nullptr || made_by->getBlock() != block_) continue;
        const int from = source[static_cast<size_t>(position_.lookup(made_by))];
        if (is_copied) {
          source[i] = from;
        } else if (from >= 0) {
          edges.emplace_back(from, position);
        }
      }
    });
    if (!HasEffects(order[i])) continue;
    if (last_effect >= 0) edges.emplace_back(last_effect, position);
    last_effect = position;
  }
  return edges;
}

int FusionGroups::Find(mlir::Operation* op) const { return order_.GroupOf(position_.lookup(op)); }

std::vector<const FusionGroup*> FusionGroups::groups() const {
  std::vector<const FusionGroup*> left;
  for (const FusionGroup& group : groups_) {
    if (!group.ops.empty()) left.push_back(&group);
  }
  std::sort(left.begin(), left.end(), [](auto* a, auto* b) { return a->first < b->first; });
  return left;
}

// From the end, so that work joins the consumer that it was made for rather than an earlier kernel
// that happens to have its operands: a gradient's element-wise work belongs to the backward pass.
void FusionGroups::MergeLoops(const std::vector<mlir::Operation*>& order) {
  for (auto op = order.rbegin(); op != order.rend(); ++op) {
    for (const FusionEdge& edge : EdgesInto(*op)) TryMerge(edge, /*loops_only=*/true);
  }
}

void FusionGroups::MergeAll(const std::vector<mlir::Operation*>& order) {
  for (mlir::Operation* op : order) {
    for (const FusionEdge& edge : EdgesInto(op)) TryMerge(edge, /*loops_only=*/false);
  }
}

// Reductions of one operand over the same extents, such as the two sums of batch normalisation, or
// the largest logit and its index, read it once.
void FusionGroups::MergeSiblings(const std::vector<mlir::Operation*>& order) {
  llvm::MapVector<mlir::Value, std::vector<mlir::Operation*>> readers;
  for (mlir::Operation* op : order) {
    const std::string& kind = groups_[Find(op)].kind;
    if (kind != plan::kRow && kind != plan::kColumn) continue;
    for (const FusionEdge& edge : EdgesInto(op)) {
      // Where the source is repeated, or a number, there is not much to save. Of one that is cut,
      // the reductions iterate over the places.
      mlir::Value read = edge.source;
      for (mlir::Operation* step : edge.through) {
        if (llvm::isa<plan::CutOp>(step)) read = step->getResult(0);
      }
      if (llvm::all_of(edge.through, [](mlir::Operation* step) {
            return IsReshape(step) || llvm::isa<plan::CutOp>(step);
          })) {
        readers[read].push_back(op);
      }
    }
  }
  for (auto& [value, ops] : readers) {
    // The first reader in each of the groups that are left.
    std::vector<mlir::Operation*> firsts;
    for (mlir::Operation* op : ops) {
      const bool merged = llvm::any_of(firsts, [&](mlir::Operation* first) {
        return SameGroup(first, op) || TryMergeSiblings(first, op, value);
      });
      if (!merged && firsts.size() < kMaxSiblings) firsts.push_back(op);
    }
  }
}

bool FusionGroups::TryMergeSiblings(mlir::Operation* first, mlir::Operation* second,
                                    mlir::Value value) {
  const int into = Find(first), from = Find(second);
  const FusionGroup &a = groups_[into], &b = groups_[from];
  const DimExpr elements = NumElements(ir::ShapeOf(value));
  FusionGroup merged = a;
  merged.has_moves |= b.has_moves;
  std::string why_not;
  if (a.kind != b.kind || elements != a.domain.Elements() || !merged.domain.Join(b.domain) ||
      a.ops.size() + b.ops.size() > kMaxOps || TooManyColumns(a, b) ||
      !EdgesAllow(into, from, &merged, &why_not) || order_.AreApart(into, from)) {
    return false;
  }
  if (explain_) {
    const DimExpr bytes = elements * DimExpr(SizeOf(ir::DataTypeOf(value)));
    explain_(absl::StrCat("fused: ", ir::Describe(second->getLoc()), " and ",
                          ir::Describe(first->getLoc()), " by rule siblings, saves ", bytes.Text(),
                          " bytes"));
  }
  Merge(into, from, std::move(merged));
  return true;
}

void FusionGroups::TryMerge(const FusionEdge& edge, bool loops_only) {
  mlir::Operation* source = edge.source.getDefiningOp();
  if (source == nullptr || KindOf(edge.consumer) == OpKind::kFree ||
      KindOf(source) == OpKind::kFree) {
    return;
  }
  const int producer = Find(source), consumer = Find(edge.consumer);
  if (producer == consumer) return;
  const bool loops = groups_[producer].kind == plan::kLoop && groups_[consumer].kind == plan::kLoop;
  if (loops_only && !loops) return;
  std::string why_not;
  std::optional<Merged> merged = Rule(producer, consumer, &why_not);
  if (merged && order_.AreApart(producer, consumer)) {
    why_not = "another kernel lies between them";
    merged.reset();
  }
  const bool kernels = !groups_[producer].kind.empty() && !groups_[consumer].kind.empty();
  if (explain_ && kernels && (merged || !loops_only)) {
    const std::string pair =
        absl::StrCat(ir::Describe(source->getLoc()), " -> ", ir::Describe(edge.consumer->getLoc()));
    const DimExpr bytes =
        NumElements(ir::ShapeOf(edge.source)) * DimExpr(2 * SizeOf(ir::DataTypeOf(edge.source)));
    explain_(merged ? absl::StrCat("fused: ", pair, " by rule ", merged->rule, ", saves ",
                                   bytes.Text(), " bytes")
                    : absl::StrCat("not fused: ", pair, ": ", why_not));
  }
  if (merged) Merge(consumer, producer, std::move(merged->group));
}

std::optional<FusionGroups::Merged> FusionGroups::Rule(int producer, int consumer,
                                                       std::string* why_not) const {
  const FusionGroup &p = groups_[producer], &c = groups_[consumer];
  Merged merged;
  if (p.kind == plan::kLoop && c.kind == plan::kLoop) {
    merged = {"elementwise", c};
  } else if (p.kind == plan::kLoop && c.kind == plan::kRow) {
    merged = {"reduction_producer", c};
  } else if (p.kind == plan::kRow && c.kind == plan::kLoop) {
    merged = {"reduction_consumer", p};
  } else if (p.kind == plan::kRow && c.kind == plan::kRow) {
    merged = {"reductions_of_a_row", p};
    if (!merged.group.domain.Join(c.domain)) {
      *why_not = "reductions over different rows";
      return std::nullopt;
    }
  } else if (p.kind == plan::kLoop && c.kind == plan::kColumn) {
    merged = {"column_producer", c};
  } else if (p.kind == plan::kColumn && c.kind == plan::kLoop) {
    merged = {"column_consumer", p};
  } else if (p.kind == plan::kContraction && c.kind == plan::kLoop) {
    merged = {"epilogue", p};
  } else {
    *why_not = absl::StrCat("no rule for ", p.kind.empty() ? "the executor's work" : p.kind,
                            " into ", c.kind.empty() ? "the executor's work" : c.kind);
    return std::nullopt;
  }
  merged.group.has_moves = p.has_moves || c.has_moves;
  if (merged.group.kind == plan::kContraction && merged.group.has_moves) {
    *why_not = "an epilogue moves no elements";
    return std::nullopt;
  }
  if (p.ops.size() + c.ops.size() > kMaxOps) {
    *why_not = absl::StrCat("a kernel holds ", kMaxOps, " ops at most");
    return std::nullopt;
  }
  if (!EdgesAllow(producer, consumer, &merged.group, why_not)) return std::nullopt;
  return merged;
}

bool FusionGroups::EdgesAllow(int producer, int consumer, FusionGroup* merged,
                              std::string* why_not) const {
  auto in = [&](mlir::Operation* op) {
    return op != nullptr && op->getBlock() == block_ &&
           (Find(op) == producer || Find(op) == consumer);
  };
  const bool row = merged->kind == plan::kRow, column = merged->kind == plan::kColumn;
  const bool contraction = merged->kind == plan::kContraction;
  // Types of element-wise work that are known to fit what the kernel iterates over.
  llvm::SmallPtrSet<const void*, 4> fitting;
  auto fits = [&](mlir::Value value) {
    if (!fitting.insert(value.getType().getAsOpaquePointer()).second) return true;
    const Shape shape = ir::ShapeOf(value);
    // The kernel of a contraction knows its result's shape alone.
    if (contraction) return shape == merged->result_shape;
    return merged->domain.Cover(shape) || ((row || column) && merged->domain.CoverReduced(shape));
  };
  llvm::DenseSet<mlir::Value> operands;
  for (int index : {producer, consumer}) {
    for (mlir::Operation* op : groups_[index].ops) {
      const OpKind kind = KindOf(op);
      if ((kind == OpKind::kElementwise || kind == OpKind::kMove) && !fits(op->getResult(0))) {
        *why_not = "they iterate over different shapes";
        return false;
      }
      for (const FusionEdge& edge : EdgesInto(op)) {
        if (!in(edge.source.getDefiningOp())) {
          operands.insert(edge.source);
          if (contraction && kind == OpKind::kElementwise &&
              !EpilogueReads(edge.source, edge.through)) {
            *why_not = "an epilogue reads what lies in memory, along its columns or repeated there";
            return false;
          }
          continue;
        }
        if (kind == OpKind::kMove) {
          *why_not = "moved elements are read from memory";
          return false;
        }
        const bool same_elements = !contraction && llvm::all_of(edge.through, IsReshape);
        if (!edge.through.empty() && !same_elements &&
            !(row && IsRowBroadcast(edge, &merged->domain))) {
          *why_not = "the value is broadcast or reshaped between them";
          return false;
        }
      }
      if (!column || NumElements(ir::ShapeOf(op->getResult(0))) != merged->domain.Elements()) {
        continue;
      }
      // What a column kernel computes before it reduces is not in memory.
      llvm::SmallVector<mlir::Operation*> needed = {op};
      while (!needed.empty()) {
        for (mlir::Operation* user : needed.pop_back_val()->getUsers()) {
          if (in(user)) continue;
          if (!IsReshape(user)) {
            *why_not = "the value is needed elsewhere as well";
            return false;
          }
          needed.push_back(user);
        }
      }
    }
  }
  if (operands.size() <= kMaxOperands) return true;
  *why_not = absl::StrCat("a kernel has ", kMaxOperands, " operands at most");
  return false;
}

void FusionGroups::Merge(int into, int from, FusionGroup merged) {
  FusionGroup &a = groups_[into], &b = groups_[from];
  merged.ops.clear();
  std::merge(a.ops.begin(), a.ops.end(), b.ops.begin(), b.ops.end(), std::back_inserter(merged.ops),
             [&](mlir::Operation* x, mlir::Operation* y) {
               return position_.lookup(x) < position_.lookup(y);
             });
  merged.first = std::min(a.first, b.first);
  merged.last = std::max(a.last, b.last);
  order_.Merge(into, from);
  a = std::move(merged);
  b.ops.clear();
}

}  // namespace weft
