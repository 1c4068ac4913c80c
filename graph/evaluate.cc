#include "graph/evaluate.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "graph/ops/evaluate.h"
#include "graph/ops/op_info.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace weft {
namespace {

std::string At(mlir::Operation* op) { return ir::Describe(op->getLoc()); }

absl::Status Located(const absl::Status& status, mlir::Operation* op) {
  // An error from inside a body names the inner node already.
  if (status.ok() || absl::StrContains(status.message(), "node '")) return status;
  return absl::Status(status.code(), absl::StrCat(status.message(), ", at ", At(op)));
}

// What a run shares between blocks.
struct RunState : GraphState {
  SymbolSizes symbols;
};

// Makes the sizes of `value` and the dimensions `shape` agree: a dimension that is a symbol without
// a size gets it. Gives false where one is known and differs; expressions that cannot be evaluated
// yet are left for Check.
bool BindSymbols(const Shape& shape, const HostTensor& value, SymbolSizes& symbols) {
  if (value.rank() != static_cast<int64_t>(shape.size())) return false;
  for (size_t d = 0; d < shape.size(); ++d) {
    const std::vector<std::string> names = shape[d].Symbols();
    if (names.size() == 1 && shape[d] == DimExpr::Symbol(names[0])) {
      auto [it, inserted] = symbols.emplace(names[0], value.shape()[d]);
      if (it->second != value.shape()[d]) return false;
    }
  }
  return true;
}

bool HasType(const HostTensor& value, mlir::Type type, const SymbolSizes& symbols) {
  const Shape shape = ir::ShapeOf(type);
  if (value.dtype() != ir::DataTypeOf(type) || value.rank() != static_cast<int64_t>(shape.size())) {
    return false;
  }
  for (size_t d = 0; d < shape.size(); ++d) {
    absl::StatusOr<int64_t> size = shape[d].Evaluate(symbols);
    if (!size.ok() || *size != value.shape()[d]) return false;
  }
  return true;
}

std::string SymbolsText(const SymbolSizes& symbols) {
  std::string text;
  for (const auto& [name, size] : symbols) {
    absl::StrAppend(&text, text.empty() ? " with " : ", ", name, " = ", size);
  }
  return text;
}

// Of what nobody uses, a body that runs has the effects, and a graph has not.
enum class Unused { kLeftOut, kHasEffects };

absl::StatusOr<std::vector<HostTensor>> EvaluateValues(mlir::Block& block, Unused unused,
                                                       const std::vector<HostTensor>& arguments,
                                                       const std::vector<mlir::Value>& fetches,
                                                       RunState& run);

absl::StatusOr<std::vector<HostTensor>> EvaluateBody(mlir::Block& block,
                                                     const std::vector<HostTensor>& arguments,
                                                     RunState& run) {
  mlir::Operation* terminator = block.getTerminator();
  return EvaluateValues(
      block, Unused::kHasEffects, arguments,
      std::vector<mlir::Value>(terminator->operand_begin(), terminator->operand_end()), run);
}

absl::StatusOr<HostTensor> EvaluateInput(ir::InputOp op, RunState& run) {
  const std::string name = op.getName().str();
  const auto it = run.feeds == nullptr ? TensorMap::const_iterator() : run.feeds->find(name);
  if (run.feeds == nullptr || it == run.feeds->end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a feed for input '", name, "', got none"));
  }
  if (!HasType(it->second, op.getY().getType(), run.symbols)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a feed of type ", ir::TypeString(op.getY().getType()), SymbolsText(run.symbols),
        " for input '", name, "', got ", it->second.TypeString()));
  }
  return it->second;
}

absl::StatusOr<HostTensor> EvaluateRead(ir::ReadVariableOp op, const RunState& run) {
  const std::string name = op.getVariable().str();
  if (run.variables != nullptr) {
    const auto it = run.variables->find(name);
    if (it != run.variables->end()) return it->second;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("variable '", name, "' has no value; run its initializer or set it first"));
}

absl::StatusOr<std::vector<HostTensor>> EvaluateByTable(mlir::Operation* op,
                                                        std::vector<HostTensor> operands,
                                                        RunState& run) {
  const OpInfo* info = FindOp(op->getName().getStringRef().str());
  const EvaluateFunction evaluate = info == nullptr ? nullptr : EvaluateOf(*info);
  if (evaluate == nullptr) {
    return absl::UnimplementedError(
        absl::StrCat("op '", op->getName().getStringRef().str(), "' cannot be evaluated"));
  }
  std::vector<TensorType> types;
  for (mlir::Type type : op->getResultTypes()) {
    types.push_back({ir::DataTypeOf(type), ir::ShapeOf(type)});
  }
  auto body = [&](int index, std::vector<HostTensor> arguments) {
    return EvaluateBody(op->getRegion(index).front(), arguments, run);
  };
  const mlir::DictionaryAttr attributes = op->getAttrDictionary();
  EvaluateContext context(*info, std::move(operands), Attributes(attributes.getAsOpaquePointer()),
                          std::move(types), run.symbols, body);
  const absl::Status status = evaluate(context);
  if (!status.ok()) return status;
  return std::move(context.results());
}

absl::StatusOr<std::vector<HostTensor>> Evaluate(mlir::Operation* op,
                                                 std::vector<HostTensor> operands, RunState& run) {
  absl::StatusOr<std::vector<HostTensor>> results;
  if (auto input = llvm::dyn_cast<ir::InputOp>(op)) {
    absl::StatusOr<HostTensor> value = EvaluateInput(input, run);
    if (!value.ok()) return Located(value.status(), op);
    results = {*std::move(value)};
  } else if (auto read = llvm::dyn_cast<ir::ReadVariableOp>(op)) {
    absl::StatusOr<HostTensor> value = EvaluateRead(read, run);
    if (!value.ok()) return Located(value.status(), op);
    results = {*std::move(value)};
  } else if (llvm::isa<ir::AssignOp>(op)) {
    results = std::move(operands);
  } else if (op->getDialect() != nullptr && op->getDialect()->getNamespace() != "weft" &&
             op->getNumRegions() == 1 && op->getRegion(0).hasOneBlock() &&
             op->getRegion(0).getNumArguments() == op->getNumOperands()) {
    results = EvaluateBody(op->getRegion(0).front(), operands, run);
  } else {
    results = EvaluateByTable(op, std::move(operands), run);
  }
  if (!results.ok()) return Located(results.status(), op);
  for (size_t i = 0; i < results->size(); ++i) {
    if (!HasType((*results)[i], op->getResult(i).getType(), run.symbols)) {
      return Located(absl::InternalError(absl::StrCat(
                         "expected result ", i, " to be ",
                         ir::TypeString(op->getResult(i).getType()), SymbolsText(run.symbols),
                         ", the reference evaluator gave ", (*results)[i].TypeString())),
                     op);
    }
  }
  if (auto assign = llvm::dyn_cast<ir::AssignOp>(op)) {
    if (run.assigned != nullptr) (*run.assigned)[assign.getVariable().str()] = results->front();
  }
  return results;
}

// The ops of the block that the fetches (and effects) need, and how often they use each value.
struct Needed {
  llvm::DenseSet<mlir::Operation*> ops;
  llvm::DenseMap<mlir::Value, int64_t> uses;
  int64_t count = 0;
};

Needed FindNeeded(mlir::Block& block, Unused unused, const std::vector<mlir::Value>& fetches) {
  Needed needed;
  std::vector<mlir::Operation*> open;
  auto need = [&](mlir::Operation* op) {
    if (needed.ops.insert(op).second) open.push_back(op);
  };
  auto use = [&](mlir::Value value) {
    ++needed.uses[value];
    mlir::Operation* op = value.getDefiningOp();
    if (op != nullptr && op->getBlock() == &block) need(op);
  };
  for (mlir::Value value : fetches) use(value);
  if (unused == Unused::kHasEffects) {
    for (mlir::Operation& op : block.without_terminator()) {
      if (!mlir::isMemoryEffectFree(&op)) need(&op);
    }
  }
  while (!open.empty()) {
    mlir::Operation* op = open.back();
    open.pop_back();
    for (mlir::Value operand : op->getOperands()) use(operand);
  }
  needed.count = static_cast<int64_t>(needed.ops.size());
  return needed;
}

absl::StatusOr<std::vector<HostTensor>> EvaluateValues(mlir::Block& block, Unused unused,
                                                       const std::vector<HostTensor>& arguments,
                                                       const std::vector<mlir::Value>& fetches,
                                                       RunState& run) {
  if (arguments.size() != block.getNumArguments()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", block.getNumArguments(), " arguments, got ", arguments.size()));
  }
  Needed needed = FindNeeded(block, unused, fetches);
  llvm::DenseMap<mlir::Value, HostTensor> values;
  for (size_t i = 0; i < arguments.size(); ++i) values[block.getArgument(i)] = arguments[i];
  auto take = [&](mlir::Value value) {
    auto it = values.find(value);
    HostTensor tensor = it->second;
    if (--needed.uses[value] == 0) values.erase(it);  // its memory is free from here on
    return tensor;
  };
  int64_t left = needed.count;
  for (auto it = block.begin(); left > 0 && it != block.end(); ++it) {
    if (!needed.ops.contains(&*it)) continue;
    --left;
    std::vector<HostTensor> operands;
    for (mlir::Value operand : it->getOperands()) operands.push_back(take(operand));
    absl::StatusOr<std::vector<HostTensor>> results = Evaluate(&*it, std::move(operands), run);
    if (!results.ok()) return results.status();
    for (size_t i = 0; i < results->size(); ++i) {
      if (needed.uses.lookup(it->getResult(i)) > 0) {
        values[it->getResult(i)] = std::move((*results)[i]);
      }
    }
  }
  std::vector<HostTensor> fetched;
  for (mlir::Value value : fetches) fetched.push_back(take(value));
  return fetched;
}

// Sizes of open dimensions, as the feeds have them. A shape may name one that no needed input has.
absl::Status BindFeeds(mlir::Block& block, RunState& run) {
  if (run.feeds == nullptr) return absl::OkStatus();
  for (auto input : block.getOps<ir::InputOp>()) {
    const auto it = run.feeds->find(input.getName().str());
    if (it == run.feeds->end()) continue;  // an error where it is evaluated
    const SymbolSizes before = run.symbols;
    if (!BindSymbols(ir::ShapeOf(input.getY()), it->second, run.symbols)) {
      return Located(
          absl::InvalidArgumentError(absl::StrCat(
              "expected a feed of type ", ir::TypeString(input.getY().getType()),
              SymbolsText(before), " for input '", it->first, "', got ", it->second.TypeString())),
          input);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<HostTensor>> EvaluateOp(mlir::Operation* op,
                                                   const std::vector<HostTensor>& operands,
                                                   const SymbolSizes& symbols) {
  RunState run{{}, {}};
  run.symbols = symbols;
  return Evaluate(op, operands, run);
}

absl::StatusOr<std::vector<HostTensor>> EvaluateBlock(mlir::Block& block,
                                                      const std::vector<HostTensor>& arguments,
                                                      SymbolSizes symbols) {
  RunState run{{}, {}};
  run.symbols = std::move(symbols);
  for (size_t i = 0; i < arguments.size() && i < block.getNumArguments(); ++i) {
    const mlir::Type type = block.getArgument(i).getType();
    if (!BindSymbols(ir::ShapeOf(type), arguments[i], run.symbols)) {
      return absl::InvalidArgumentError(absl::StrCat("expected argument ", i, " to be ",
                                                     ir::TypeString(type), SymbolsText(run.symbols),
                                                     ", got ", arguments[i].TypeString()));
    }
  }
  return EvaluateBody(block, arguments, run);
}

absl::StatusOr<std::vector<HostTensor>> EvaluateFetches(mlir::Block& block,
                                                        const std::vector<mlir::Value>& fetches,
                                                        const GraphState& state) {
  RunState run{state, {}};
  absl::Status bound = BindFeeds(block, run);
  if (!bound.ok()) return bound;
  return EvaluateValues(block, Unused::kLeftOut, {}, fetches, run);
}

}  // namespace weft
