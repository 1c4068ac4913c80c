// Cuts a function into parts that each run on one device.
#include "compiler/passes/place.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/signature.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/device.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "mlir/IR/Builders.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace weft {
namespace {

// On a function with more than one device.
constexpr char kPlacedAttr[] = "plan.placed";

// A device by name, or nothing where any would do.
using Place = std::optional<std::string>;

bool HasBodies(mlir::Operation* op) { return llvm::isa<ir::WhileOp, ir::CondOp>(op); }

bool IsKnown(mlir::Operation* op) {
  return llvm::isa_and_nonnull<ir::ConstantOp, plan::WeightOp>(op);
}

std::string ArgumentDevice(mlir::func::FuncOp function, unsigned argument) {
  auto device = function.getArgAttrOfType<mlir::StringAttr>(argument, ir::kDeviceAttr);
  return device ? device.str() : "";
}

// Where the end of a block wants each of its operands: results of bodies where the op of control
// flow is, new values of variables where these live, outputs anywhere.
std::vector<Place> WantedByEnd(mlir::func::FuncOp function, mlir::Operation* end) {
  mlir::Operation* around = end->getParentOp();
  if (around != function.getOperation()) {
    return std::vector<Place>(end->getNumOperands(), std::string(ir::DeviceOf(around)));
  }
  std::vector<Place> wanted(NamesIn(function, kOutputsAttr).size());
  for (mlir::BlockArgument variable : AssignedArguments(function)) {
    wanted.push_back(ArgumentDevice(function, variable.getArgNumber()));
  }
  return wanted;
}

std::vector<mlir::Block*> BlocksOf(mlir::func::FuncOp function) {
  std::vector<mlir::Block*> blocks = {&function.getBody().front()};
  function.walk<mlir::WalkOrder::PreOrder>([&](mlir::Operation* op) {
    if (!HasBodies(op)) return;
    for (mlir::Region& region : op->getRegions()) blocks.push_back(&region.front());
  });
  return blocks;
}

// Puts transfers into one block.
class BlockPlacer {
 public:
  BlockPlacer(mlir::func::FuncOp function, mlir::Block* block)
      : function_(function), block_(block) {}

  void Run() {
    for (mlir::Operation& op : *block_) {
      if (op.hasTrait<mlir::OpTrait::IsTerminator>()) {
        const std::vector<Place> wanted = WantedByEnd(function_, &op);
        for (mlir::OpOperand& operand : op.getOpOperands()) {
          if (const Place& place = wanted[operand.getOperandNumber()]) Bring(operand, *place);
        }
        return;
      }
      if (IsAnywhere(&op)) {
        op.removeAttr(ir::kDeviceAttr);
        continue;
      }
      const std::string device(ir::DeviceOf(&op));
      for (mlir::OpOperand& operand : op.getOpOperands()) Bring(operand, device);
      for (mlir::Value result : op.getResults()) places_[result] = device;
    }
  }

 private:
  Place PlaceOf(mlir::Value value) const {
    if (auto argument = llvm::dyn_cast<mlir::BlockArgument>(value)) {
      return std::string(DeviceOfValue(argument));
    }
    const auto place = places_.find(value);
    return place == places_.end() ? Place() : place->second;
  }

  // What costs nothing is computed on each device that asks for it.
  bool IsAnywhere(mlir::Operation* op) const {
    if (IsKnown(op)) return true;
    if (KindOf(op) != OpKind::kFree && !llvm::isa<ir::ReshapeOp>(op)) return false;
    return llvm::none_of(op->getOperands(),
                         [&](mlir::Value value) { return PlaceOf(value).has_value(); });
  }

  void Bring(mlir::OpOperand& operand, const std::string& device) {
    mlir::Value value = operand.get();
    const Place place = PlaceOf(value);
    if (!place || *place == device) return;
    mlir::Value& there = transfers_[{value.getAsOpaquePointer(), device}];
    if (!there) {
      mlir::OpBuilder builder(operand.getOwner());
      auto transfer = plan::TransferOp::create(builder, value.getLoc(), value.getType(), value);
      ir::SetDevice(transfer, device);
      there = transfer.getY();
    }
    operand.set(there);
  }

  mlir::func::FuncOp function_;
  mlir::Block* block_;
  // Of results, but of those that are anywhere.
  llvm::DenseMap<mlir::Value, Place> places_;
  std::map<std::pair<const void*, std::string>, mlir::Value> transfers_;
};

// Finds the devices of one block's ops.
class BlockAssigner {
 public:
  BlockAssigner(mlir::func::FuncOp function, mlir::Block* block)
      : function_(function), block_(block) {}

  absl::Status Run() {
    for (mlir::Operation& op : llvm::make_early_inc_range(block_->without_terminator())) {
      // A copy of what is known is known.
      if (llvm::isa<plan::TransferOp>(op) && IsKnown(op.getOperand(0).getDefiningOp())) {
        op.getResult(0).replaceAllUsesWith(op.getOperand(0));
        op.erase();
        continue;
      }
      const Place place = DecidedBy(&op);
      if (place && !IsSaid(&op)) ir::SetDevice(&op, *place);
      if (place || IsSaid(&op)) decided_.insert(&op);
    }
    // From the end, so that readers come before what they read.
    for (mlir::Operation& op : llvm::make_early_inc_range(llvm::reverse(*block_))) {
      if (!decided_.contains(&op) && !op.hasTrait<mlir::OpTrait::IsTerminator>()) Spread(&op);
    }
    return Check();
  }

 private:
  // Whether the op itself says where it is, whatever it reads.
  static bool IsSaid(mlir::Operation* op) {
    return HasBodies(op) || llvm::isa<plan::TransferOp>(op);
  }

  // The device of the first operand that has one.
  Place DecidedBy(mlir::Operation* op) const {
    for (mlir::Value operand : op->getOperands()) {
      mlir::Operation* maker = operand.getDefiningOp();
      if (maker == nullptr || decided_.contains(maker)) return std::string(DeviceOfValue(operand));
    }
    return std::nullopt;
  }

  Place WantedBy(mlir::OpOperand& use) const {
    mlir::Operation* user = use.getOwner();
    if (llvm::isa<plan::TransferOp>(user)) return std::nullopt;
    if (user->hasTrait<mlir::OpTrait::IsTerminator>()) {
      return WantedByEnd(function_, user)[use.getOperandNumber()];
    }
    return std::string(ir::DeviceOf(user));
  }

  // An op that reads nothing of any device goes where it was placed, and to each other device with
  // readers goes a copy; where it was not placed, to its readers alone.
  void Spread(mlir::Operation* op) {
    std::set<std::string> wanted;
    for (mlir::OpOperand& use : op->getUses()) {
      if (Place place = WantedBy(use)) wanted.insert(*std::move(place));
    }
    if (op->hasAttr(ir::kDeviceAttr) || wanted.empty() || !mlir::isMemoryEffectFree(op)) {
      wanted.erase(std::string(ir::DeviceOf(op)));
    } else {
      ir::SetDevice(op, *wanted.begin());
      wanted.erase(wanted.begin());
    }
    if (!mlir::isMemoryEffectFree(op)) return;
    for (const std::string& device : wanted) {
      mlir::OpBuilder builder(op);
      mlir::Operation* copy = builder.clone(*op);
      ir::SetDevice(copy, device);
      for (auto [from, to] : llvm::zip_equal(op->getResults(), copy->getResults())) {
        from.replaceUsesWithIf(to, [&](mlir::OpOperand& use) { return WantedBy(use) == device; });
      }
    }
  }

  absl::Status Check() {
    for (mlir::Operation& op : *block_) {
      if (llvm::isa<plan::TransferOp>(op)) continue;
      const bool is_end = op.hasTrait<mlir::OpTrait::IsTerminator>();
      const std::vector<Place> wanted =
          is_end ? WantedByEnd(function_, &op)
                 : std::vector<Place>(op.getNumOperands(), std::string(ir::DeviceOf(&op)));
      for (mlir::OpOperand& operand : op.getOpOperands()) {
        const Place& place = wanted[operand.getOperandNumber()];
        if (!place || *place == DeviceOfValue(operand.get())) continue;
        return absl::InternalError(
            absl::StrCat("'", op.getName().getStringRef().str(), "' on device '", *place,
                         "' reads a value on device '", std::string(DeviceOfValue(operand.get())),
                         "', at ", ir::Describe(op.getLoc())));
      }
    }
    return absl::OkStatus();
  }

  mlir::func::FuncOp function_;
  mlir::Block* block_;
  llvm::DenseSet<mlir::Operation*> decided_;
};

}  // namespace

uint32_t DeviceTargets::IndexOf(std::string_view device) const {
  for (size_t i = 0; i < placed.size(); ++i) {
    if (placed[i].device == device) return static_cast<uint32_t>(i + 1);
  }
  return 0;
}

const Target& DeviceTargets::Of(mlir::Operation* op) const { return At(IndexOf(ir::DeviceOf(op))); }

std::string_view DeviceOfValue(mlir::Value value) {
  auto argument = llvm::dyn_cast<mlir::BlockArgument>(value);
  if (!argument) return ir::DeviceOf(value.getDefiningOp());
  mlir::Operation* around = argument.getOwner()->getParentOp();
  auto function = llvm::dyn_cast<mlir::func::FuncOp>(around);
  if (!function) return ir::DeviceOf(around);
  auto device =
      function.getArgAttrOfType<mlir::StringAttr>(argument.getArgNumber(), ir::kDeviceAttr);
  return device ? std::string_view(device.getValue()) : std::string_view();
}

void FindDevices(mlir::func::FuncOp function,
                 llvm::function_ref<void(std::string_view device, mlir::Location location)> found) {
  ir::FindPlaced(
      function, [&](mlir::Operation* op, std::string_view device) { found(device, op->getLoc()); });
  for (mlir::BlockArgument argument : function.getArguments()) {
    const std::string_view device = DeviceOfValue(argument);
    if (!device.empty()) found(device, argument.getLoc());
  }
}

absl::StatusOr<bool> PlaceOps(mlir::func::FuncOp function, const DeviceTargets& targets) {
  bool placed = false, changed = false;
  const auto keep = [&](std::string_view device) {
    const bool kept = targets.IndexOf(device) != 0;
    placed |= kept;
    changed |= !kept;
    return kept;
  };
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    const std::string device = ArgumentDevice(function, i);
    if (!device.empty() && !keep(device)) function.removeArgAttr(i, ir::kDeviceAttr);
  }
  function.walk([&](mlir::Operation* op) {
    const std::string_view device = ir::DeviceOf(op);
    if (!device.empty() && !keep(device)) op->removeAttr(ir::kDeviceAttr);
  });
  if (!placed) return changed;
  function->setAttr(kPlacedAttr, mlir::UnitAttr::get(function.getContext()));
  for (mlir::Block* block : BlocksOf(function)) BlockPlacer(function, block).Run();
  return true;
}

absl::Status AssignDevices(mlir::func::FuncOp function) {
  if (!function->hasAttr(kPlacedAttr)) return absl::OkStatus();
  for (mlir::Block* block : BlocksOf(function)) {
    if (absl::Status status = BlockAssigner(function, block).Run(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace weft
