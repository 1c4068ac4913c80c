// For functions that build graphs out of the public builder (layers, losses, gradients): constants
// beside a tensor, errors of their own, and the line that their nodes belong to.
#ifndef WEFT_GRAPH_BUILDER_SUPPORT_H_
#define WEFT_GRAPH_BUILDER_SUPPORT_H_

#include <string>

#include "graph/graph.h"

namespace weft {

// A constant in the body under construction of `near`'s graph.
Tensor ConstantNear(const Tensor& near, const HostTensor& value);
// A scalar constant of the dtype of `like`.
Tensor ScalarLike(const Tensor& like, double value);
// The value of a dimension expression as a scalar of the dtype of `like`: a constant where it is
// known, else a dim_size node.
Tensor SizeLike(const Tensor& like, const DimExpr& size);

// x in another dtype: x itself where it has it.
Tensor As(const Tensor& x, DataType dtype);
// f32 for bf16 and f16, whose range and digits are too few for sums and moving averages; else the
// dtype itself.
DataType WideType(DataType dtype);

// The open scopes by the names they were asked for, each followed by '/': the same when a function
// that opens them is called again.
std::string ScopePath(const Graph& graph);

// Until the guard ends, nodes run where the tensor is: in a body, a tensor from outside is where
// the While or Cond runs. The tensor is valid.
[[nodiscard]] ScopeGuard WithDeviceOf(const Tensor& tensor);

// Makes the message the graph's error, if it is the first one.
void ReportError(const Tensor& near, const std::string& message, SourceLocation location);
void ReportError(Graph& graph, const std::string& message, SourceLocation location);

// As long as it lives, nodes get this line instead of the one of the call that makes them: a
// layer's nodes belong to the line of the model that asks for the layer. The outermost one counts.
class CallerLocation {
 public:
  CallerLocation(ir::GraphImpl* graph, SourceLocation location);
  CallerLocation(const Tensor& tensor, SourceLocation location)
      : CallerLocation(tensor.graph(), location) {}
  CallerLocation(Graph& graph, SourceLocation location) : CallerLocation(graph.impl(), location) {}
  CallerLocation(const CallerLocation&) = delete;
  ~CallerLocation();

 private:
  ir::GraphImpl* graph_;
  bool outermost_;
};

}  // namespace weft

#endif  // WEFT_GRAPH_BUILDER_SUPPORT_H_
