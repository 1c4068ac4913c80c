// Ops whose operands are constants become constants.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/passes/pack.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/weight_table.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/evaluate.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/Support/raw_ostream.h"

namespace weft {
namespace {

// The evaluator is right, not quick, and a folded value takes room in the package.
constexpr int64_t kMaxComputedBytes = 1 << 18;
// Moving elements is quick and mostly makes nothing larger; weights may be large.
constexpr int64_t kMaxMovedBytes = int64_t{1} << 30;
// What one pass makes of all constants together: so many times their bytes, and so many more. A
// file may move one weight over and over.
constexpr int64_t kMaxGrowth = 4;
constexpr int64_t kMaxMadeBytes = int64_t{64} << 20;

int64_t BytesOf(mlir::Value value) {
  return NumElements(ir::ShapeOf(value)).Constant().value_or(0) * SizeOf(ir::DataTypeOf(value));
}

bool IsKnown(mlir::Value value) {
  return llvm::isa_and_nonnull<ir::ConstantOp, plan::WeightOp>(value.getDefiningOp());
}

// Of something known, what it holds in memory: of one number in any shape, that number.
int64_t BytesHeld(mlir::Value value) {
  auto constant = value.getDefiningOp<ir::ConstantOp>();
  if (!constant) return BytesOf(value);
  auto elements = llvm::cast<mlir::DenseElementsAttr>(constant.getValue());
  return static_cast<int64_t>(elements.getRawData().size());
}

bool IsMoving(mlir::Operation* op) {
  return llvm::isa<ir::ReshapeOp, ir::TransposeOp, ir::ReverseOp, ir::SliceOp, plan::PackOp>(op);
}

// Of pooling: whether all windows together have few places, padding counted.
bool HasFewSteps(mlir::Operation* op) {
  // There is a window for each element of the result or, in gradients, of the operand.
  const int64_t most = kMaxComputedBytes;
  int64_t steps = 0;
  for (mlir::Value value : {op->getOperand(0), mlir::Value(op->getResult(0))}) {
    steps = std::max(steps, NumElements(ir::ShapeOf(value)).Constant().value_or(most + 1));
  }
  for (int64_t size : op->getAttrOfType<mlir::DenseI64ArrayAttr>("window").asArrayRef()) {
    if (steps > most / size) return false;
    steps *= size;
  }
  return true;
}

bool IsWorthFolding(mlir::Operation* op) {
  const OpKind kind = KindOf(op);
  // A free op costs nothing where it is used, and its result may be large.
  if (op->getNumOperands() == 0 || op->getNumResults() != 1 || op->getNumRegions() != 0 ||
      kind == OpKind::kHost || (kind == OpKind::kFree && !llvm::isa<plan::UnpackOp>(op)) ||
      llvm::isa<plan::PartialSumsOp>(op)) {
    return false;
  }
  const Shape shape = ir::ShapeOf(op->getResult(0));
  // Also where there are no elements, whatever the open sizes.
  if (!llvm::all_of(shape, [](const DimExpr& dim) { return dim.IsConstant(); })) return false;
  const std::optional<int64_t> elements = NumElements(shape).Constant();
  if (!elements) return false;
  int64_t bytes = *elements * SizeOf(ir::DataTypeOf(op->getResult(0)));
  if (IsMoving(op)) return bytes <= kMaxMovedBytes;
  for (mlir::Value operand : op->getOperands()) {
    bytes += NumElements(ir::ShapeOf(operand)).Constant().value_or(kMaxMovedBytes) *
             SizeOf(ir::DataTypeOf(operand));
  }
  // A contraction reads each operand often.
  if (kind == OpKind::kContraction) bytes *= 64;
  return bytes <= kMaxComputedBytes && (kind != OpKind::kWindow || HasFewSteps(op));
}

absl::Status At(const absl::Status& status, mlir::Operation* op) {
  // Errors of evaluating an op say where already.
  const std::string where = ir::Describe(op->getLoc());
  if (absl::EndsWith(status.message(), where)) return status;
  return absl::Status(status.code(), absl::StrCat(status.message(), ", at ", where));
}

class Folder {
 public:
  explicit Folder(WeightTable& weights) : weights_(weights) {}

  absl::StatusOr<bool> Run(mlir::func::FuncOp function) {
    std::vector<mlir::Operation*> ops;
    function.walk([&](mlir::Operation* op) {
      if (op->getParentOfType<plan::FusionOp>() == nullptr) ops.push_back(op);
    });
    bytes_left_ = kMaxMadeBytes + kMaxGrowth * BytesOfConstants(ops);
    bool changed = false;
    for (mlir::Operation* op : ops) {
      // What is known need not be computed again later.
      if (auto barrier = llvm::dyn_cast<plan::BarrierOp>(op)) {
        if (!IsKnown(barrier.getX())) continue;
        barrier.getY().replaceAllUsesWith(barrier.getX());
        barrier.erase();
        changed = true;
        continue;
      }
      if (!IsWorthFolding(op)) continue;
      absl::StatusOr<bool> folded = Fold(op);
      if (!folded.ok()) return folded;
      changed |= *folded;
    }
    return changed;
  }

 private:
  // Each once, whatever names it.
  static int64_t BytesOfConstants(const std::vector<mlir::Operation*>& ops) {
    llvm::DenseSet<mlir::Attribute> seen;
    int64_t bytes = 0;
    for (mlir::Operation* op : ops) {
      mlir::Attribute which;
      if (auto weight = llvm::dyn_cast<plan::WeightOp>(op)) which = weight.getIndexAttr();
      if (auto constant = llvm::dyn_cast<ir::ConstantOp>(op)) which = constant.getValue();
      if (which && seen.insert(which).second) bytes += BytesHeld(op->getResult(0));
    }
    return bytes;
  }

  absl::StatusOr<bool> Fold(mlir::Operation* op) {
    if (BytesOf(op->getResult(0)) > bytes_left_) return false;
    // All are known before any is computed.
    for (mlir::Value operand : op->getOperands()) {
      if (!RootOf(operand)) return false;
    }
    std::vector<HostTensor> operands;
    for (mlir::Value operand : op->getOperands()) {
      absl::StatusOr<std::optional<HostTensor>> value = ValueOf(operand);
      if (!value.ok()) return At(value.status(), op);
      if (!*value) return false;
      operands.push_back(**std::move(value));
    }
    if (llvm::isa<plan::UnpackOp>(op)) return false;
    absl::StatusOr<HostTensor> result = Compute(op, operands);
    if (!result.ok()) return At(result.status(), op);
    mlir::OpBuilder builder(op);
    mlir::Value constant = MakeConstant(builder, op->getLoc(), *result, weights_);
    bytes_left_ -= BytesHeld(constant);
    op->getResult(0).replaceAllUsesWith(constant);
    op->erase();
    return true;
  }

  absl::StatusOr<HostTensor> Compute(mlir::Operation* op, const std::vector<HostTensor>& operands) {
    auto compute = [&]() -> absl::StatusOr<HostTensor> {
      if (auto pack = llvm::dyn_cast<plan::PackOp>(op)) return PackTensor(pack, operands[0]);
      absl::StatusOr<std::vector<HostTensor>> results = EvaluateOp(op, operands);
      if (!results.ok()) return results.status();
      return (*results)[0];
    };
    // What is made of a weight, other functions of the compilation may want as well.
    auto weight = op->getOperand(0).getDefiningOp<plan::WeightOp>();
    if (!weight || op->getNumOperands() != 1) return compute();
    std::string how;
    llvm::raw_string_ostream stream(how);
    stream << op->getName() << op->getResult(0).getType();
    // Not those that say where it comes from, which have a dialect's name in front.
    for (mlir::NamedAttribute attribute : op->getAttrs()) {
      if (attribute.getNameDialect() != nullptr) continue;
      stream << attribute.getName() << attribute.getValue();
    }
    absl::StatusOr<int64_t> index =
        weights_.Derive(static_cast<int64_t>(weight.getIndex()), how, compute);
    if (!index.ok()) return index.status();
    return weights_.at(*index);
  }

  // The constant that a value is, or that a chain of broadcasts repeats to make it; null where
  // there is none.
  mlir::Value RootOf(mlir::Value value) {
    std::vector<mlir::Value> chain;
    while (!IsKnown(value)) {
      if (auto root = roots_.find(value); root != roots_.end()) {
        value = root->second;
        break;
      }
      auto broadcast = value.getDefiningOp<ir::BroadcastOp>();
      if (!broadcast) {
        value = {};
        break;
      }
      chain.push_back(value);
      value = broadcast.getX();
    }
    for (mlir::Value broadcast : chain) roots_[broadcast] = value;
    return value;
  }

  // The value of a constant, or of small broadcasts of one. It is made for whoever asks and then
  // forgotten, so one number in a large shape is none here.
  absl::StatusOr<std::optional<HostTensor>> ValueOf(mlir::Value value) {
    const mlir::Value root = RootOf(value);
    if (!root) return std::nullopt;
    absl::StatusOr<std::optional<HostTensor>> known = KnownValue(root);
    if (root == value || !known.ok() || !*known) return known;
    if (!NumElements(ir::ShapeOf(value)).IsConstant() || BytesOf(value) > kMaxComputedBytes) {
      return std::nullopt;
    }
    // The last broadcast of a chain makes of its root what all do one after the other.
    absl::StatusOr<std::vector<HostTensor>> results = EvaluateOp(value.getDefiningOp(), {**known});
    if (!results.ok()) return std::nullopt;
    return (*results)[0];
  }

  absl::StatusOr<std::optional<HostTensor>> KnownValue(mlir::Value value) {
    if (auto weight = value.getDefiningOp<plan::WeightOp>()) {
      return weights_.at(static_cast<int64_t>(weight.getIndex()));
    }
    auto elements =
        llvm::cast<mlir::DenseElementsAttr>(value.getDefiningOp<ir::ConstantOp>().getValue());
    if (elements.isSplat() && BytesOf(value) > kMaxComputedBytes) return std::nullopt;
    return ir::HostTensorOf(elements);
  }

  WeightTable& weights_;
  int64_t bytes_left_ = 0;
  // For broadcasts. What comes before an op is not replaced after it was looked at.
  llvm::DenseMap<mlir::Value, mlir::Value> roots_;
};

}  // namespace

absl::StatusOr<bool> FoldConstants(mlir::func::FuncOp function, WeightTable& weights) {
  return Folder(weights).Run(function);
}

}  // namespace weft
