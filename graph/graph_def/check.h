// The checks of a GraphDef before anything is built from it: names, references, order, attributes,
// sizes. What remains for building are the rules of each op about types.
#ifndef WEFT_GRAPH_GRAPH_DEF_CHECK_H_
#define WEFT_GRAPH_GRAPH_DEF_CHECK_H_

#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/graph_def/format.h"
#include "graph/ops/infer.h"
#include "graph/ops/op_info.h"
#include "proto/graph.pb.h"

namespace weft::graph_def {

// A value: result `result` of node `node` of the body, or of argument `result` where node is -1.
struct Reference {
  int node = -1;
  int result = 0;
};

struct CheckedNode {
  const proto::NodeDef* def = nullptr;
  const OpInfo* info = nullptr;
  std::vector<Reference> inputs;
  std::vector<int> functions;  // one per body of the op, indices into the list of functions
};

// The graph's own nodes, or those of a function.
struct CheckedBody {
  const proto::FunctionDef* function = nullptr;  // nullptr for the graph
  std::vector<TensorType> arguments;
  std::vector<CheckedNode> nodes;
  std::vector<int> order;  // operands first; that of the file where it is such an order
  std::vector<Reference> results;
  std::unordered_map<std::string_view, int> by_name, argument_by_name;
};

struct CheckedGraph {
  CheckedBody graph;
  std::vector<CheckedBody> functions;
  std::vector<TensorType> variables;    // by GraphDef.variables
  std::vector<Reference> initializers;  // by GraphDef.variables
  struct Signature {
    std::vector<Reference> inputs, outputs, targets;
  };
  std::vector<Signature> signatures;    // by GraphDef.signatures
  std::deque<proto::NodeDef> upgraded;  // nodes that are not as in the file
};

// Keeps pointers into `def`.
absl::StatusOr<CheckedGraph> Check(const proto::GraphDef& def, const Weights& weights);

// "node 'x' (file:line)", or "node 'x' of function 'f' (file:line)".
std::string Where(const proto::GraphDef& def, const CheckedBody& body, const proto::NodeDef& node);

// The same error in one line of what a terminal merely shows (proto/printable.h): what a file says
// goes into messages, and may be anything. Of more than kMaxMessageLength the middle is left out.
inline constexpr size_t kMaxMessageLength = 1024;
absl::Status InOneLine(const absl::Status& status);

// Checks of attributes, in check_attributes.cc. Errors do not say where.
absl::Status CheckAttribute(const AttrInfo& info, const proto::AttrValue& value,
                            const Weights& weights);
absl::StatusOr<Shape> ParseShape(const proto::ShapeProto& shape);
absl::StatusOr<TensorType> ParseType(proto::DType dtype, const proto::ShapeProto& shape);

}  // namespace weft::graph_def

#endif  // WEFT_GRAPH_GRAPH_DEF_CHECK_H_
