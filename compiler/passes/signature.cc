#include "compiler/passes/signature.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "graph/ir/device.h"
#include "graph/ir/types.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "mlir/IR/IRMapping.h"
#include "proto/suggest.h"

namespace weft {
namespace {

constexpr char kInit[] = "init";

absl::Status NoSignature(ir::GraphOp graph, const std::string& name) {
  const std::vector<std::string> names = SignatureNames(graph);
  if (names.empty()) {
    return absl::NotFoundError(
        absl::StrCat("there is no signature '", name, "': the graph has none"));
  }
  return absl::NotFoundError(
      absl::StrCat("there is no signature '", name, "'", Suggestion(name, names)));
}

// Ops that `request` needs, found without recursion: graphs may be deep.
absl::StatusOr<llvm::DenseSet<mlir::Operation*>> Needed(const SignatureRequest& request) {
  llvm::DenseSet<mlir::Value> fed;
  for (auto& [name, value] : request.inputs) fed.insert(value);
  std::vector<mlir::Value> stack;
  for (auto& [name, value] : request.outputs) stack.push_back(value);
  for (mlir::Value value : request.targets) stack.push_back(value);
  for (auto& [name, value] : request.assignments) stack.push_back(value);
  llvm::DenseSet<mlir::Operation*> needed;
  while (!stack.empty()) {
    mlir::Value value = stack.back();
    stack.pop_back();
    mlir::Operation* op = value.getDefiningOp();
    if (fed.contains(value) || !needed.insert(op).second) continue;
    if (auto input = llvm::dyn_cast<ir::InputOp>(op)) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", request.name, "' needs the input '", input.getName().str(), "' (",
                       ir::Describe(op->getLoc()), "), which is not fed; add it to the inputs"));
    }
    for (mlir::Value operand : op->getOperands()) stack.push_back(operand);
  }
  return needed;
}

// Builds the function's body op by op.
class Extractor {
 public:
  Extractor(ir::GraphOp graph, const SignatureRequest& request, mlir::ModuleOp module)
      : graph_(graph), request_(request), module_(module), builder_(module.getContext()) {}

  absl::StatusOr<mlir::func::FuncOp> Run() {
    absl::StatusOr<llvm::DenseSet<mlir::Operation*>> needed = Needed(request_);
    if (!needed.ok()) return needed.status();
    Declare(*needed);
    for (mlir::Operation& op : graph_.getGraphBody().front()) {
      if (!needed->contains(&op)) continue;
      if (absl::Status status = Add(&op); !status.ok()) return status;
    }
    for (auto& [variable, value] : request_.assignments) {
      if (absl::Status status = Assign(variable, value, graph_.getLoc()); !status.ok()) {
        return status;
      }
    }
    Finish();
    return function_;
  }

 private:
  mlir::ArrayAttr Names(const std::vector<std::string>& names) {
    std::vector<llvm::StringRef> refs(names.begin(), names.end());
    return builder_.getStrArrayAttr(refs);
  }

  // Makes the function with its arguments.
  void Declare(const llvm::DenseSet<mlir::Operation*>& needed) {
    std::set<std::string> used;
    for (auto& [variable, value] : request_.assignments) used.insert(variable);
    for (mlir::Operation* op : needed) {
      if (llvm::isa<ir::ReadVariableOp, ir::AssignOp>(op)) {
        used.insert(op->getAttrOfType<mlir::FlatSymbolRefAttr>("variable").getValue().str());
      }
    }
    std::vector<mlir::Type> types;
    std::vector<mlir::Location> locations;
    std::vector<std::string> inputs, variables;
    for (auto& [name, value] : request_.inputs) {
      inputs.push_back(name);
      types.push_back(value.getType());
      locations.push_back(value.getLoc());
    }
    for (auto variable : graph_.getGraphBody().front().getOps<ir::VariableOp>()) {
      const std::string name = variable.getSymName().str();
      if (!used.contains(name)) continue;
      variable_argument_[name] = static_cast<int>(types.size());
      variables.push_back(name);
      types.push_back(variable.getType());
      locations.push_back(variable.getLoc());
    }
    builder_.setInsertionPointToEnd(module_.getBody());
    function_ = mlir::func::FuncOp::create(builder_, graph_.getLoc(), request_.name,
                                           builder_.getFunctionType(types, {}));
    // Those of fed values and of variables, where the arguments are.
    unsigned argument = 0;
    const auto place = [&](mlir::Operation* op) {
      const std::string_view device = ir::DeviceOf(op);
      if (!device.empty()) {
        function_.setArgAttr(argument, ir::kDeviceAttr, builder_.getStringAttr(device));
      }
      ++argument;
    };
    for (auto& [name, value] : request_.inputs) place(value.getDefiningOp());
    for (auto variable : graph_.getGraphBody().front().getOps<ir::VariableOp>()) {
      if (used.contains(variable.getSymName().str())) place(variable);
    }
    function_->setAttr(kInputsAttr, Names(inputs));
    function_->setAttr(kVariablesAttr, Names(variables));
    mlir::Block* block = &function_.getBody().emplaceBlock();
    block->addArguments(types, locations);
    builder_.setInsertionPointToEnd(block);
    for (size_t i = 0; i < request_.inputs.size(); ++i) {
      fed_[request_.inputs[i].second] = block->getArgument(static_cast<unsigned>(i));
    }
    for (auto& [value, argument] : fed_) mapping_.map(value, argument);
  }

  absl::Status Add(mlir::Operation* op) {
    if (auto read = llvm::dyn_cast<ir::ReadVariableOp>(op)) {
      mapping_.map(read.getY(), Argument(read.getVariable().str()));
      return absl::OkStatus();
    }
    if (auto assign = llvm::dyn_cast<ir::AssignOp>(op)) {
      mapping_.map(assign.getY(), mapping_.lookup(assign.getX()));
      return Assign(assign.getVariable().str(), assign.getX(), op->getLoc());
    }
    builder_.clone(*op, mapping_);
    // A result that is fed stays so where another result of its op is needed.
    for (mlir::Value result : op->getResults()) {
      if (auto fed = fed_.find(result); fed != fed_.end()) mapping_.map(result, fed->second);
    }
    return absl::OkStatus();
  }

  mlir::Value Argument(const std::string& variable) {
    return function_.getArgument(static_cast<unsigned>(variable_argument_.at(variable)));
  }

  absl::Status Assign(const std::string& variable, mlir::Value value, mlir::Location location) {
    if (!assigned_.emplace(variable, mapping_.lookup(value)).second) {
      return absl::InvalidArgumentError(absl::StrCat("'", request_.name, "' assigns the variable '",
                                                     variable, "' twice; the second time at ",
                                                     ir::Describe(location)));
    }
    return absl::OkStatus();
  }

  void Finish() {
    std::vector<mlir::Value> results;
    std::vector<std::string> outputs, assigned;
    for (auto& [name, value] : request_.outputs) {
      outputs.push_back(name);
      results.push_back(mapping_.lookup(value));
    }
    for (auto& [name, value] : assigned_) {
      assigned.push_back(name);
      results.push_back(value);
    }
    mlir::func::ReturnOp::create(builder_, graph_.getLoc(), results);
    function_->setAttr(kOutputsAttr, Names(outputs));
    function_->setAttr(kAssignedAttr, Names(assigned));
    std::vector<mlir::Type> types;
    for (mlir::Value value : results) types.push_back(value.getType());
    function_.setType(builder_.getFunctionType(function_.getArgumentTypes(), types));
  }

  ir::GraphOp graph_;
  const SignatureRequest& request_;
  mlir::ModuleOp module_;
  mlir::OpBuilder builder_;
  mlir::func::FuncOp function_;
  mlir::IRMapping mapping_;
  llvm::DenseMap<mlir::Value, mlir::Value> fed_;  // to arguments
  std::map<std::string, int> variable_argument_;
  std::map<std::string, mlir::Value> assigned_;
};

}  // namespace

std::vector<std::string> SignatureNames(ir::GraphOp graph) {
  std::vector<std::string> names;
  bool has_variables = false, has_init = false;
  for (mlir::Operation& op : graph.getGraphBody().front()) {
    if (auto signature = llvm::dyn_cast<ir::SignatureOp>(op)) {
      names.push_back(signature.getName().str());
      has_init |= names.back() == kInit;
    }
    has_variables |= llvm::isa<ir::VariableOp>(op);
  }
  if (has_variables && !has_init) names.insert(names.begin(), kInit);
  return names;
}

absl::StatusOr<SignatureRequest> FindSignature(ir::GraphOp graph, const std::string& name) {
  SignatureRequest request;
  request.name = name;
  bool has_variables = false;
  for (mlir::Operation& op : graph.getGraphBody().front()) {
    has_variables |= llvm::isa<ir::VariableOp>(op);
    if (auto initializer = llvm::dyn_cast<ir::InitializerOp>(op)) {
      request.assignments.emplace_back(initializer.getVariable().str(), initializer.getX());
    }
    auto signature = llvm::dyn_cast<ir::SignatureOp>(op);
    if (!signature || signature.getName() != name) continue;
    request.assignments.clear();
    const auto values = signature.getValues();
    const size_t num_inputs = static_cast<size_t>(signature.getNumInputs());
    const mlir::ArrayAttr output_names = signature.getOutputNames();
    for (size_t i = 0; i < values.size(); ++i) {
      mlir::Value value = values[static_cast<unsigned>(i)];
      if (i < num_inputs) {
        request.inputs.emplace_back(value.getDefiningOp<ir::InputOp>().getName().str(), value);
      } else if (i - num_inputs < output_names.size()) {
        request.outputs.emplace_back(
            llvm::cast<mlir::StringAttr>(output_names[static_cast<unsigned>(i - num_inputs)]).str(),
            value);
      } else {
        request.targets.push_back(value);
      }
    }
    return request;
  }
  if (name == kInit && has_variables) return request;
  return NoSignature(graph, name);
}

absl::StatusOr<mlir::func::FuncOp> ExtractSignature(ir::GraphOp graph,
                                                    const SignatureRequest& request,
                                                    mlir::ModuleOp module) {
  return Extractor(graph, request, module).Run();
}

std::vector<std::string> NamesIn(mlir::func::FuncOp function, llvm::StringRef attribute) {
  std::vector<std::string> names;
  for (mlir::Attribute name : function->getAttrOfType<mlir::ArrayAttr>(attribute)) {
    names.push_back(llvm::cast<mlir::StringAttr>(name).str());
  }
  return names;
}

std::vector<mlir::BlockArgument> AssignedArguments(mlir::func::FuncOp function) {
  llvm::DenseMap<mlir::Attribute, mlir::BlockArgument> arguments;
  unsigned next =
      static_cast<unsigned>(function->getAttrOfType<mlir::ArrayAttr>(kInputsAttr).size());
  for (mlir::Attribute name : function->getAttrOfType<mlir::ArrayAttr>(kVariablesAttr)) {
    arguments[name] = function.getArgument(next++);
  }
  std::vector<mlir::BlockArgument> assigned;
  for (mlir::Attribute name : function->getAttrOfType<mlir::ArrayAttr>(kAssignedAttr)) {
    assigned.push_back(arguments.at(name));
  }
  return assigned;
}

}  // namespace weft
