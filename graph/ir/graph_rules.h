// Rules about a graph as a whole, beside those of each op.
#ifndef WEFT_GRAPH_IR_GRAPH_RULES_H_
#define WEFT_GRAPH_IR_GRAPH_RULES_H_

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"

namespace weft::ir {

// The ops that the values depend on, their own included, in no order. Without recursion.
llvm::DenseSet<mlir::Operation*> OpsNeededBy(llvm::ArrayRef<mlir::Value> values);
// The `input` ops among them, in the order of the graph.
std::vector<mlir::Value> InputsNeededBy(llvm::ArrayRef<mlir::Value> values);

// initializer C3.
absl::Status CheckInitializer(mlir::Operation* initializer);
// signature C1 to C5 without uniqueness of the name, and assign C2.
absl::Status CheckSignature(mlir::Operation* signature);
// All of them, and that reads, assignments and initializers fit their variables; for the verifier.
absl::Status CheckGraph(mlir::Operation* graph);

}  // namespace weft::ir

#endif  // WEFT_GRAPH_IR_GRAPH_RULES_H_
