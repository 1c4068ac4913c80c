// Runs whole graphs by the ops' reference evaluators, with no compiler: the oracle of the tests.
#ifndef WEFT_GRAPH_INTERPRETER_H_
#define WEFT_GRAPH_INTERPRETER_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/evaluate.h"
#include "graph/graph.h"
#include "proto/host_tensor.h"

namespace weft {

// A graph with values for its variables. The graph must outlive it and may grow between runs. Not
// thread-safe.
class Interpreter {
 public:
  explicit Interpreter(const Graph& graph) : graph_(graph) {}

  // Gives every variable the value of its initializer.
  absl::Status Initialize();

  // Evaluates what the fetches and targets need, and nothing else; then assigns. `feeds` are by
  // names of inputs; those that are not needed may be there. Errors: InvalidArgument for a feed
  // that is missing or of the wrong type, for open dimensions that do not agree; FailedPrecondition
  // from a failed assertion or check, for a variable without value; each names the node. After an
  // error the variables are as before.
  absl::StatusOr<std::vector<HostTensor>> Run(const TensorMap& feeds,
                                              const std::vector<Tensor>& fetches,
                                              const std::vector<Tensor>& targets = {});
  // The same for a signature: gives its outputs by name. NotFound where there is none.
  absl::StatusOr<TensorMap> RunSignature(std::string_view name, const TensorMap& feeds);

  // Values of variables by name, to look at and to set.
  TensorMap& variables() { return variables_; }

 private:
  const Graph& graph_;
  TensorMap variables_;
};

// The fetches for these feeds, of a graph without variables or with `variables` as their values
// (an assignment among the fetches gives its value and changes nothing).
absl::StatusOr<std::vector<HostTensor>> EvaluateGraph(const Graph& graph, const TensorMap& feeds,
                                                      const std::vector<Tensor>& fetches,
                                                      const TensorMap& variables = {});

}  // namespace weft

#endif  // WEFT_GRAPH_INTERPRETER_H_
