// One call of a builder function: what the generated functions fill in and build.
#ifndef WEFT_GRAPH_IR_OP_CALL_H_
#define WEFT_GRAPH_IR_OP_CALL_H_

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "graph/graph.h"
#include "graph/ops/op_info.h"

namespace weft::ir {

class OpCall {
 public:
  explicit OpCall(int op_index) : op_(AllOps()[op_index]) {}

  // For ops that may have no operands: the graph, the source line of the call.
  void In(Graph& graph) { graph_ = graph.impl(); }
  void At(SourceLocation location) { location_ = location; }
  void Take(const Operand& operand) { operands_.push_back(operand); }
  void TakeAll(const std::vector<Tensor>& tensors);

  void Int(std::string_view name, int64_t value) { Set(name, value); }
  void Bool(std::string_view name, bool value) { Set(name, value); }
  void String(std::string_view name, std::string_view value) { Set(name, std::string(value)); }
  void DType(std::string_view name, DataType value) { Set(name, value); }
  void Dim(std::string_view name, const DimExpr& value) { Set(name, value); }
  void Dims(std::string_view name, const Shape& value) { Set(name, value); }
  void Ints(std::string_view name, const std::vector<int64_t>& value) { Set(name, value); }

  // Broadcasts the operands of element-wise ops, makes constants of numbers, creates the node. One
  // tensor per result; invalid ones after an error, which goes to the graph's status.
  std::vector<Tensor> Build();

 private:
  using Value =
      std::variant<int64_t, bool, std::string, DataType, DimExpr, Shape, std::vector<int64_t>>;
  template <typename T>
  void Set(std::string_view name, T value) {
    attributes_.emplace_back(std::string(name), Value(std::move(value)));
  }
  // False where an operand is invalid or of another graph.
  bool FindGraph();
  bool MakeConstants();
  bool BroadcastOperands();

  const OpInfo& op_;
  GraphImpl* graph_ = nullptr;
  SourceLocation location_;
  std::vector<Operand> operands_;
  std::vector<std::pair<std::string, Value>> attributes_;
};

}  // namespace weft::ir

#endif  // WEFT_GRAPH_IR_OP_CALL_H_
