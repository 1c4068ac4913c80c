#include "graph/ir/graph_rules.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "graph/ir/create.h"
#include "graph/ir/types.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace weft::ir {
namespace {

std::string VariableOf(mlir::Operation* op) {
  return op->getAttrOfType<mlir::FlatSymbolRefAttr>("variable").getValue().str();
}

absl::Status Error(mlir::Operation* op, const std::string& message, int constraint) {
  return absl::InvalidArgumentError(absl::StrCat(op->getName().stripDialect().str(), ": ", message,
                                                 " (C", constraint, "), at ",
                                                 Describe(op->getLoc())));
}

// Symbols of the types that an op computes, in its bodies too.
void AddSymbols(mlir::Operation* op, llvm::DenseSet<mlir::Type>* seen,
                std::set<std::string>* symbols) {
  auto add = [&](mlir::Type type) {
    if (llvm::cast<mlir::RankedTensorType>(type).hasStaticShape() || !seen->insert(type).second) {
      return;
    }
    for (const DimExpr& dim : ShapeOf(type)) {
      for (std::string& symbol : dim.Symbols()) symbols->insert(std::move(symbol));
    }
  };
  op->walk([&](mlir::Operation* inner) {
    for (mlir::Type type : inner->getResultTypes()) add(type);
    if (IsOp(inner, "dim_size")) {
      for (std::string& symbol : DimFromAttr(inner->getAttr("expr"))->Symbols()) {
        symbols->insert(std::move(symbol));
      }
    }
  });
}

}  // namespace

llvm::DenseSet<mlir::Operation*> OpsNeededBy(llvm::ArrayRef<mlir::Value> values) {
  llvm::DenseSet<mlir::Operation*> needed;
  std::vector<mlir::Operation*> todo;
  auto add = [&](mlir::Value value) {
    mlir::Operation* op = value.getDefiningOp();
    if (op != nullptr && needed.insert(op).second) todo.push_back(op);
  };
  for (mlir::Value value : values) add(value);
  while (!todo.empty()) {
    mlir::Operation* op = todo.back();
    todo.pop_back();
    for (mlir::Value value : op->getOperands()) add(value);
  }
  return needed;
}

std::vector<mlir::Value> InputsNeededBy(llvm::ArrayRef<mlir::Value> values) {
  std::vector<mlir::Operation*> inputs;
  for (mlir::Operation* op : OpsNeededBy(values)) {
    if (IsOp(op, "input")) inputs.push_back(op);
  }
  std::sort(inputs.begin(), inputs.end(),
            [](mlir::Operation* a, mlir::Operation* b) { return a->isBeforeInBlock(b); });
  std::vector<mlir::Value> result;
  for (mlir::Operation* op : inputs) result.push_back(op->getResult(0));
  return result;
}

absl::Status CheckInitializer(mlir::Operation* initializer) {
  for (mlir::Operation* op : OpsNeededBy({initializer->getOperand(0)})) {
    if (IsOp(op, "input") || IsOp(op, "read_variable") || IsOp(op, "assign")) {
      return Error(initializer,
                   absl::StrCat("expected a first value of variable '", VariableOf(initializer),
                                "' without inputs and variables, got one that depends on ",
                                Describe(op->getLoc())),
                   3);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSignature(mlir::Operation* op) {
  std::string name = op->getAttrOfType<mlir::StringAttr>("name").str();
  int64_t num_inputs = op->getAttrOfType<mlir::IntegerAttr>("num_inputs").getInt();
  auto output_names = op->getAttrOfType<mlir::ArrayAttr>("output_names");
  int64_t num_results = static_cast<int64_t>(op->getNumOperands()) - num_inputs;
  if (num_inputs < 0 || num_results < static_cast<int64_t>(output_names.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("signature '", name, "': expected its inputs and outputs as operands"));
  }
  std::string prefix = absl::StrCat("'", name, "': expected ");

  llvm::DenseSet<mlir::Operation*> inputs;
  std::set<std::string> bound;
  for (mlir::Value value : op->getOperands().take_front(num_inputs)) {
    mlir::Operation* input = value.getDefiningOp();
    if (input == nullptr || !IsOp(input, "input") || !inputs.insert(input).second) {
      return Error(op, prefix + "inputs that are `input` nodes, each once", 2);
    }
    for (const DimExpr& dim : ShapeOf(value)) {
      std::vector<std::string> symbols = dim.Symbols();
      if (symbols.size() == 1 && dim == DimExpr::Symbol(symbols[0])) bound.insert(symbols[0]);
    }
  }
  std::set<std::string> names;
  for (mlir::Attribute attribute : output_names) {
    std::string output = llvm::cast<mlir::StringAttr>(attribute).str();
    if (!names.insert(output).second) {
      return Error(
          op, absl::StrCat(prefix, "output names that are unique, got a second '", output, "'"), 4);
    }
  }
  std::set<std::string> symbols, assigned;
  llvm::DenseSet<mlir::Type> seen;
  llvm::SmallVector<mlir::Value> results(op->getOperands().drop_front(num_inputs));
  for (mlir::Operation* needed : OpsNeededBy(results)) {
    if (IsOp(needed, "input") && !inputs.contains(needed)) {
      return Error(op,
                   absl::StrCat(prefix, "every input that is needed, got none for ",
                                Describe(needed->getLoc())),
                   3);
    }
    if (IsOp(needed, "assign") && !assigned.insert(VariableOf(needed)).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "assign: expected one assignment of variable '", VariableOf(needed), "' in signature '",
          name, "', got a second (C2), at ", Describe(needed->getLoc())));
    }
    AddSymbols(needed, &seen, &symbols);
  }
  for (const std::string& symbol : symbols) {
    if (!bound.contains(symbol)) {
      return Error(op,
                   absl::StrCat(prefix, "an input with a dimension '", symbol,
                                "' by itself, which gives that open dimension its size"),
                   5);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckGraph(mlir::Operation* graph) {
  mlir::Block& block = graph->getRegion(0).front();
  std::map<std::string, mlir::Type> variables;
  std::set<std::string> initialized, signatures;
  for (mlir::Operation& op : block) {
    if (!IsOp(&op, "variable")) continue;
    variables[op.getAttrOfType<mlir::StringAttr>("sym_name").str()] =
        op.getAttrOfType<mlir::TypeAttr>("type").getValue();
  }
  // What depends on an input or a variable: one pass for all initializers.
  llvm::DenseSet<mlir::Operation*> depends;
  for (mlir::Operation& op : block) {
    bool state = IsOp(&op, "input") || IsOp(&op, "read_variable") || IsOp(&op, "assign");
    for (mlir::Value value : op.getOperands()) {
      state = state || depends.contains(value.getDefiningOp());
    }
    if (state) depends.insert(&op);
  }
  for (mlir::Operation& op : block) {
    bool reads = IsOp(&op, "read_variable");
    bool initializes = IsOp(&op, "initializer");
    if (reads || initializes || IsOp(&op, "assign")) {
      auto it = variables.find(VariableOf(&op));
      mlir::Type type = reads ? op.getResult(0).getType() : op.getOperand(0).getType();
      if (it == variables.end() || it->second != type) {
        return Error(
            &op, absl::StrCat("expected the dtype and shape of variable '", VariableOf(&op), "'"),
            1);
      }
    }
    if (initializes) {
      if (!initialized.insert(VariableOf(&op)).second) {
        return Error(&op, "expected one initializer a variable", 2);
      }
      if (depends.contains(op.getOperand(0).getDefiningOp())) {
        if (absl::Status s = CheckInitializer(&op); !s.ok()) return s;
      }
    }
    if (IsOp(&op, "signature")) {
      if (!signatures.insert(op.getAttrOfType<mlir::StringAttr>("name").str()).second) {
        return Error(&op, "expected names that are unique", 1);
      }
      if (absl::Status s = CheckSignature(&op); !s.ok()) return s;
    }
  }
  return absl::OkStatus();
}

}  // namespace weft::ir
