#include "compiler/plan/storage.h"

#include <algorithm>

#include "compiler/passes/op_kinds.h"
#include "compiler/passes/place.h"
#include "compiler/passes/signature.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"

namespace weft {
namespace {

DimExpr BytesOf(mlir::Value value) {
  return NumElements(ir::ShapeOf(value)) * DimExpr(SizeOf(ir::DataTypeOf(value)));
}

}  // namespace

StoragePlan::StoragePlan(mlir::func::FuncOp function, const MayShare& may_share,
                         const StorageOptions& options)
    : function_(function), may_share_(may_share), options_(options) {
  mlir::Block* entry = &function.getBody().front();
  NumberOps(entry);
  const size_t num_inputs = NamesIn(function, kInputsAttr).size();
  for (size_t i = 0; i < entry->getNumArguments(); ++i) {
    const bool input = i < num_inputs;
    mlir::Value argument = entry->getArgument(static_cast<unsigned>(i));
    storage_of_[argument] =
        NewStorage(input ? Space::kInput : Space::kVariable,
                   static_cast<int>(input ? i : i - num_inputs), argument, nullptr);
  }
  AssignBlock(entry);
  BindResults();
  RecordUses(entry);
  Resolve();
  StartLoopsInPlace();
  if (options_.in_place) ShareOperands();
  AddCopies();
  if (!options_.reuse) {
    for (Storage& storage : storages_) {
      storage.begin = 0;
      storage.end = next_position_;
    }
  }
}

int StoragePlan::Root(int storage) const {
  while (parent_[storage] != storage) storage = parent_[storage] = parent_[parent_[storage]];
  return storage;
}

int StoragePlan::NewStorage(Space space, int index, mlir::Value value, mlir::Operation* maker) {
  Storage storage;
  storage.space = space;
  storage.index = index;
  storage.bytes = BytesOf(value);
  storage.device = std::string(DeviceOfValue(value));
  storage.maker = maker;
  storage.begin = storage.end = maker == nullptr ? 0 : position_.lookup(maker);
  storages_.push_back(std::move(storage));
  parent_.push_back(static_cast<int>(parent_.size()));
  uses_.emplace_back();
  return parent_.back();
}

// Bodies lie between the position of their op and its end position.
void StoragePlan::NumberOps(mlir::Block* block) {
  for (mlir::Operation& op : *block) {
    position_[&op] = next_position_++;
    if (!llvm::isa<ir::WhileOp, ir::CondOp>(op)) continue;
    for (mlir::Region& region : op.getRegions()) NumberOps(&region.front());
    end_position_[&op] = next_position_++;
  }
}

void StoragePlan::AssignBlock(mlir::Block* block) {
  for (mlir::Operation& op : *block) {
    if (mlir::Value operand = AliasedOperand(&op)) {
      storage_of_[op.getResult(0)] = storage_of_.lookup(operand);
    } else if (llvm::isa<ir::WhileOp>(op)) {
      AssignWhile(&op);
    } else if (llvm::isa<ir::CondOp>(op)) {
      AssignCond(&op);
    } else if (auto constant = llvm::dyn_cast<ir::ConstantOp>(op)) {
      const int storage = NewStorage(Space::kConstant, 0, constant.getY(), &op);
      storages_[storage].constant = constant.getValue();
      storage_of_[constant.getY()] = storage;
    } else if (auto weight = llvm::dyn_cast<plan::WeightOp>(op)) {
      const int storage = NewStorage(Space::kConstant, 0, weight.getY(), &op);
      storages_[storage].constant = weight.getIndexAttr();
      storage_of_[weight.getY()] = storage;
    } else {
      for (mlir::Value result : op.getResults()) {
        storage_of_[result] = NewStorage(Space::kArena, 0, result, &op);
      }
    }
    if (llvm::isa<ir::AssertOp>(op)) last_failing_ = position_[&op];
  }
}

void StoragePlan::AssignWhile(mlir::Operation* op) {
  auto loop = llvm::cast<ir::WhileOp>(op);
  mlir::Block &condition = loop.getCondition().front(), &body = loop.getBody().front();
  const unsigned num_carried = static_cast<unsigned>(loop.getNumCarried());
  for (unsigned i = 0; i < op->getNumOperands(); ++i) {
    int storage = storage_of_.lookup(op->getOperand(i));
    if (i < num_carried) {
      storage = NewStorage(Space::kArena, 0, op->getOperand(i), op);
      starts_.push_back({op->getOperand(i), storage, op});
      storage_of_[op->getResult(i)] = storage;
      destinations_.push_back({body.getTerminator()->getOperand(i), storage, body.getTerminator()});
      storages_[storage].end = end_position_[op];
    }
    storage_of_[condition.getArgument(i)] = storage;
    storage_of_[body.getArgument(i)] = storage;
  }
  AssignBlock(&condition);
  AssignBlock(&body);
  // Past its limit, or where the caller stops what takes too long.
  last_failing_ = std::max(last_failing_, end_position_[op]);
}

void StoragePlan::AssignCond(mlir::Operation* op) {
  std::vector<int> results;
  for (mlir::Value result : op->getResults()) {
    results.push_back(NewStorage(Space::kArena, 0, result, op));
    storages_[results.back()].end = end_position_[op];
    storage_of_[result] = results.back();
  }
  for (mlir::Region& region : op->getRegions()) {
    mlir::Block& block = region.front();
    for (unsigned i = 0; i < block.getNumArguments(); ++i) {
      storage_of_[block.getArgument(i)] = storage_of_.lookup(op->getOperand(i + 1));
    }
    AssignBlock(&block);
    mlir::Operation* yield = block.getTerminator();
    for (unsigned i = 0; i < results.size(); ++i) {
      destinations_.push_back({yield->getOperand(i), results[i], yield});
    }
  }
}

// Variables first: what is written to one in place can be copied to an output, while the other way
// round costs a copy into the variable as well.
void StoragePlan::BindResults() {
  mlir::Operation* end = function_.getBody().front().getTerminator();
  const size_t num_outputs = NamesIn(function_, kOutputsAttr).size();
  size_t next = num_outputs;
  for (mlir::BlockArgument variable : AssignedArguments(function_)) {
    destinations_.push_back(
        {end->getOperand(static_cast<unsigned>(next++)), storage_of_.lookup(variable), end});
  }
  for (size_t i = 0; i < num_outputs; ++i) {
    mlir::Value value = end->getOperand(static_cast<unsigned>(i));
    const int output = NewStorage(Space::kOutput, static_cast<int>(i), value, nullptr);
    const Space space = storages_[Root(storage_of_.lookup(value))].space;
    if (space == Space::kArena) {
      destinations_.push_back({value, output, end});
    } else {
      // Before anything can write to a variable.
      first_copies_.push_back({storage_of_.lookup(value), output});
    }
  }
}

void StoragePlan::RecordUses(mlir::Block* block) {
  for (mlir::Operation& op : *block) {
    if (llvm::isa<plan::FusionOp, plan::TransferOp>(op)) {
      for (mlir::Value operand : op.getOperands()) RecordUse(operand, &op);
    } else if (auto print = llvm::dyn_cast<ir::PrintOp>(op)) {
      RecordUse(print.getX(), &op);
    } else if (auto assert_op = llvm::dyn_cast<ir::AssertOp>(op)) {
      RecordUse(assert_op.getCondition(), &op);
    } else if (auto cond = llvm::dyn_cast<ir::CondOp>(op)) {
      RecordUse(cond.getPredicate(), &op);
    } else if (auto loop = llvm::dyn_cast<ir::WhileOp>(op)) {
      mlir::Operation* yield = loop.getCondition().front().getTerminator();
      RecordUse(yield->getOperand(0), yield);
    }
    if (!llvm::isa<ir::WhileOp, ir::CondOp>(op)) continue;
    for (mlir::Region& region : op.getRegions()) RecordUses(&region.front());
  }
  if (block != &function_.getBody().front()) return;
  for (const Destination& start : starts_) RecordUse(start.value, start.at);
  for (const Destination& destination : destinations_) {
    // A value that stays where it is is not read.
    if (storage_of_.lookup(destination.value) != destination.storage) {
      RecordUse(destination.value, destination.at);
    }
  }
}

// A use inside a loop of what comes from outside happens until the loop ends.
void StoragePlan::RecordUse(mlir::Value value, mlir::Operation* op) {
  const int index = storage_of_.lookup(value);
  Storage& storage = storages_[index];
  int64_t position = position_[op];
  for (mlir::Operation* around = op->getParentOp(); around != function_.getOperation();
       around = around->getParentOp()) {
    if (storage.maker != nullptr && around->isAncestor(storage.maker)) break;
    if (llvm::isa<ir::WhileOp>(around)) position = end_position_[around];
  }
  uses_[index].push_back({position, op});
  storage.end = std::max(storage.end, position);
}

// Results are computed where they belong as far as possible.
void StoragePlan::Resolve() {
  std::vector<Destination> left;
  for (const Destination& destination : destinations_) {
    const int source = Root(storage_of_.lookup(destination.value));
    if (source == Root(destination.storage)) continue;
    if (!MakeDirect(destination)) left.push_back(destination);
  }
  destinations_ = std::move(left);
}

bool StoragePlan::MakeDirect(const Destination& destination) {
  const int source = storage_of_.lookup(destination.value);
  const int target = Root(destination.storage);
  const Storage& made = storages_[source];
  if (Root(source) != source || made.space != Space::kArena) return false;
  if (made.maker->getBlock() != destination.at->getBlock()) return false;
  const bool by_kernel = llvm::isa<plan::FusionOp, plan::TransferOp>(made.maker);
  switch (storages_[target].space) {
    case Space::kOutput:
      break;
    case Space::kVariable:
      // Where the run may still fail, nothing is written to variables.
      if (!by_kernel || position_[made.maker] < last_failing_) return false;
      if (OldValueIsRead(target, destination)) return false;
      break;
    default:
      if (!by_kernel || OldValueIsRead(target, destination)) return false;
  }
  Redirect(source, target);
  return true;
}

// Whether what the storage holds before the destination's value is written to it is read
// afterwards.
bool StoragePlan::OldValueIsRead(int storage, const Destination& destination) const {
  const int source = storage_of_.lookup(destination.value);
  mlir::Operation* maker = storages_[source].maker;
  const int64_t position = position_.lookup(maker);
  // The results of a branch have no value before.
  mlir::Operation* loop = destination.at->getParentOp();
  if (llvm::isa<ir::CondOp>(loop) && storages_[storage].maker == loop) return false;
  const bool carried = llvm::isa<ir::WhileOp>(loop) && storages_[storage].maker == loop;
  for (const Use& use : uses_[storage]) {
    // After the loop, and in its condition, it is the new value that is read.
    if (carried &&
        !(llvm::cast<ir::WhileOp>(loop).getBody().isAncestor(use.op->getParentRegion()))) {
      continue;
    }
    if (use.position > position) return true;
    if (use.position < position) continue;
    int operands = 0;
    bool shares = false;
    for (mlir::OpOperand& operand : use.op->getOpOperands()) {
      if (Root(storage_of_.lookup(operand.get())) != storage) continue;
      ++operands;
      for (auto& [from, to] : may_share_.lookup(use.op)) {
        shares |= from == static_cast<int>(operand.getOperandNumber()) &&
                  storage_of_.lookup(use.op->getResult(static_cast<unsigned>(to))) == source;
      }
    }
    if (!options_.in_place || operands != 1 || !shares) return true;
  }
  return false;
}

void StoragePlan::Redirect(int from, int to) {
  parent_[from] = to;
  storages_[to].begin = std::min(storages_[to].begin, storages_[from].begin);
  storages_[to].end = std::max(storages_[to].end, storages_[from].end);
  uses_[to].insert(uses_[to].end(), uses_[from].begin(), uses_[from].end());
}

// A loop's carried value starts where its first value lies, if nobody else needs that.
void StoragePlan::StartLoopsInPlace() {
  std::vector<Destination> left;
  for (const Destination& start : starts_) {
    const int source = Root(storage_of_.lookup(start.value));
    const Storage& first = storages_[source];
    const auto starts =
        llvm::count_if(uses_[source], [&](const Use& use) { return use.op == start.at; });
    const bool own = first.space == Space::kArena && first.maker != nullptr && starts == 1 &&
                     first.maker->getBlock() == start.at->getBlock() &&
                     first.end <= position_[start.at] &&
                     storages_[Root(start.storage)].space == Space::kArena;
    if (own && options_.in_place) {
      Redirect(source, Root(start.storage));
    } else {
      left.push_back(start);
    }
  }
  starts_ = std::move(left);
}

// A kernel's result goes over an operand that dies there.
void StoragePlan::ShareOperands() {
  function_.walk([&](plan::FusionOp fusion) {
    const int64_t position = position_[fusion];
    for (auto& [operand, result] : may_share_.lookup(fusion.getOperation())) {
      const int from = Root(storage_of_.lookup(fusion.getInputs()[static_cast<unsigned>(operand)]));
      const int to = storage_of_.lookup(fusion.getResult(static_cast<unsigned>(result)));
      if (Root(to) != to || from == to || storages_[from].space != Space::kArena ||
          storages_[to].space != Space::kArena || storages_[from].end != position ||
          storages_[from].bytes != storages_[to].bytes) {
        continue;
      }
      const auto same = llvm::count_if(fusion.getInputs(), [&](mlir::Value input) {
        return Root(storage_of_.lookup(input)) == from;
      });
      if (same == 1) Redirect(to, from);
    }
  });
}

// Copies at one place happen as if at once: what another one overwrites is saved first.
void StoragePlan::AddCopies() {
  llvm::MapVector<mlir::Operation*, std::vector<Destination>> at;
  for (const Destination& start : starts_) at[start.at].push_back(start);
  for (const Destination& destination : destinations_) at[destination.at].push_back(destination);
  for (auto& [op, group] : at) {
    std::vector<StorageCopy>& copies = copies_[op];
    std::vector<StorageCopy> second;
    llvm::DenseSet<int> overwritten;
    for (const Destination& destination : group) {
      const int target = Root(destination.storage);
      if (Of(destination.value) != target) overwritten.insert(target);
    }
    for (const Destination& destination : group) {
      int source = Of(destination.value);
      const int target = Root(destination.storage);
      if (source == target) continue;
      if (overwritten.contains(source)) {
        const int saved = NewStorage(Space::kArena, 0, destination.value, op);
        copies.push_back({source, saved});
        source = saved;
      }
      second.push_back({source, target});
    }
    copies.insert(copies.end(), second.begin(), second.end());
  }
  for (StorageCopy& copy : first_copies_) copy = {Root(copy.source), Root(copy.destination)};
}

const std::vector<StorageCopy>& StoragePlan::CopiesBefore(mlir::Operation* op) const {
  static const auto& none = *new std::vector<StorageCopy>();
  auto copies = copies_.find(op);
  return copies == copies_.end() ? none : copies->second;
}

}  // namespace weft
