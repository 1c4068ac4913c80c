// From a signature of a graph to a function.
#ifndef WEFT_COMPILER_PASSES_SIGNATURE_H_
#define WEFT_COMPILER_PASSES_SIGNATURE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/ir/dialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace weft {

// What a function is to compute, in terms of the values of a graph.
struct SignatureRequest {
  std::string name;
  // Values that are fed: arguments of the function, in this order.
  std::vector<std::pair<std::string, mlir::Value>> inputs;
  std::vector<std::pair<std::string, mlir::Value>> outputs;
  // Values that are computed for their effects.
  std::vector<mlir::Value> targets;
  // Variables that are assigned, beside the assignments that outputs and targets reach.
  std::vector<std::pair<std::string, mlir::Value>> assignments;
};

// Names of all signatures, `init` included where the graph has variables.
std::vector<std::string> SignatureNames(ir::GraphOp graph);
// NotFound where there is none of that name, naming the nearest.
absl::StatusOr<SignatureRequest> FindSignature(ir::GraphOp graph, const std::string& name);

// Names of discardable attributes on the function: arrays of strings.
inline constexpr char kInputsAttr[] = "plan.inputs";        // the first arguments
inline constexpr char kVariablesAttr[] = "plan.variables";  // the other arguments
inline constexpr char kOutputsAttr[] = "plan.outputs";      // the first results
inline constexpr char kAssignedAttr[] = "plan.assigned";    // the other results: variables

// Appends to `module` a function of what the request needs and nothing else. Arguments are the
// inputs, then the values of all variables that are read or assigned, in the graph's order; results
// are the outputs, then the values assigned. Variables exist in it no more as symbols: there is no
// input, read_variable, assign. Error: InvalidArgument, naming the node, where an input is needed
// that is not fed, or a variable would be assigned twice.
absl::StatusOr<mlir::func::FuncOp> ExtractSignature(ir::GraphOp graph,
                                                    const SignatureRequest& request,
                                                    mlir::ModuleOp module);

// The strings in one of the attributes above.
std::vector<std::string> NamesIn(mlir::func::FuncOp function, llvm::StringRef attribute);
// The arguments that hold the assigned variables, in the order of the values assigned to them.
std::vector<mlir::BlockArgument> AssignedArguments(mlir::func::FuncOp function);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_SIGNATURE_H_
