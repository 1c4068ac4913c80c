// Evaluates IR by the ops' reference evaluators: the oracle of the tests, and what folds constants.
// Right rather than quick: one thread, one op at a time, floats summed in double. For whole graphs
// see graph/interpreter.h.
#ifndef WEFT_GRAPH_EVALUATE_H_
#define WEFT_GRAPH_EVALUATE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/host_tensor.h"

namespace mlir {
class Block;
class Operation;
class Value;
}  // namespace mlir

namespace weft {

using TensorMap = std::map<std::string, HostTensor>;
// Sizes of open dimensions.
using SymbolSizes = std::map<std::string, int64_t>;

// One op of the dialect that has an evaluator, bodies included. Operands must have its operand
// types; `symbols` must have the open dimensions that its result types name. The results are
// checked against these types. Errors are prefixed by the node and its line.
absl::StatusOr<std::vector<HostTensor>> EvaluateOp(mlir::Operation* op,
                                                   const std::vector<HostTensor>& operands,
                                                   const SymbolSizes& symbols = {});

// A block from its arguments to what its terminator takes: the body of a function or of a region.
// Open dimensions are found from the arguments where `symbols` lacks them. An op of another dialect
// is evaluated when it has one region, of one block that takes the op's operands (a fusion).
absl::StatusOr<std::vector<HostTensor>> EvaluateBlock(mlir::Block& block,
                                                      const std::vector<HostTensor>& arguments,
                                                      SymbolSizes symbols = {});

// What ops read and write besides their operands.
struct GraphState {
  const TensorMap* feeds = nullptr;      // by name of the input
  const TensorMap* variables = nullptr;  // by name
  TensorMap* assigned = nullptr;         // filled with what `assign` ops give to variables
};

// Values of a graph's block, by evaluating what they need and nothing else. Open dimensions are
// found from the feeds. Errors as Interpreter::Run.
absl::StatusOr<std::vector<HostTensor>> EvaluateFetches(mlir::Block& block,
                                                        const std::vector<mlir::Value>& fetches,
                                                        const GraphState& state);

}  // namespace weft

#endif  // WEFT_GRAPH_EVALUATE_H_
