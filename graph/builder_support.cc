#include "graph/builder_support.h"

#include <optional>
#include <vector>

#include "graph/ir/graph_impl.h"
#include "graph/ir/types.h"
#include "graph/reference/elementwise.h"
#include "mlir/IR/Builders.h"

namespace weft {
namespace {

Tensor MakeNode(ir::GraphImpl* graph, const char* op,
                const std::vector<mlir::NamedAttribute>& attributes) {
  mlir::Operation* node =
      graph->CreateNode(*FindOp(op), op, {}, attributes, SourceLocation::current());
  return node == nullptr ? Tensor() : graph->Wrap(node->getResult(0));
}

mlir::NamedAttribute Named(ir::GraphImpl* graph, const char* name, mlir::Attribute value) {
  return mlir::NamedAttribute(mlir::StringAttr::get(&graph->context, name), value);
}

}  // namespace

Tensor ConstantNear(const Tensor& near, const HostTensor& value) {
  if (!near.valid()) return {};
  ir::GraphImpl* graph = near.graph();
  return MakeNode(graph, "constant",
                  {Named(graph, "value", ir::ElementsAttrOf(&graph->context, value))});
}

Tensor ScalarLike(const Tensor& like, double value) {
  if (!like.valid()) return {};
  return ConstantNear(like, *reference::Cast(HostTensor::Scalar(value), like.dtype()));
}

Tensor SizeLike(const Tensor& like, const DimExpr& size) {
  if (!like.valid()) return {};
  const std::optional<int64_t> known = size.Constant();
  if (known) return ScalarLike(like, static_cast<double>(*known));
  ir::GraphImpl* graph = like.graph();
  const OpInfo& info = *FindOp("dim_size");
  const DataType dtype = info.accepts(like.dtype()) ? like.dtype() : DataType::kF32;
  Tensor value = MakeNode(
      graph, "dim_size",
      {Named(graph, "dtype", mlir::TypeAttr::get(ir::ElementTypeOf(&graph->context, dtype))),
       Named(graph, "expr", ir::DimAttr(&graph->context, size))});
  return dtype == like.dtype() ? value : Cast(value, like.dtype());
}

Tensor As(const Tensor& x, DataType dtype) {
  return !x.valid() || x.dtype() == dtype ? x : Cast(x, dtype);
}

DataType WideType(DataType dtype) {
  return dtype == DataType::kBF16 || dtype == DataType::kF16 ? DataType::kF32 : dtype;
}

std::string ScopePath(const Graph& graph) { return graph.impl()->scope_path; }

ScopeGuard WithDeviceOf(const Tensor& tensor) {
  ir::GraphImpl* graph = tensor.graph();
  const ir::GraphImpl::Body& body = graph->body();
  const bool is_here = ir::ValueOf(tensor).getParentBlock() == body.block;
  graph->PushDevice(is_here ? tensor.device() : body.device, SourceLocation::current());
  return ScopeGuard(graph);
}

void ReportError(const Tensor& near, const std::string& message, SourceLocation location) {
  if (near.valid()) near.graph()->Fail(message, location);
}

void ReportError(Graph& graph, const std::string& message, SourceLocation location) {
  graph.impl()->Fail(message, location);
}

CallerLocation::CallerLocation(ir::GraphImpl* graph, SourceLocation location)
    : graph_(graph), outermost_(graph != nullptr && !graph->location_override.has_value()) {
  if (!outermost_) return;
  graph->location_override = {ir::LineOf(location)};
}

CallerLocation::~CallerLocation() {
  if (outermost_) graph_->location_override.reset();
}

}  // namespace weft
