// While, Cond and CustomGradient of the builder: bodies as functions, whose use of outer values
// becomes operands.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "graph/graph.h"
#include "graph/ir/graph_impl.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace weft {
namespace {

using ir::GraphImpl;

constexpr size_t kMaxNesting = 64;

// A body while it is filled; taken off the graph's stack when it ends.
class BodyBuilder {
 public:
  BodyBuilder(GraphImpl* graph, const std::vector<Tensor>& arguments) : graph_(graph) {
    region_ = std::make_unique<mlir::Region>();
    auto body = std::make_unique<GraphImpl::Body>();
    body->block = new mlir::Block;
    body->prefix = graph->prefix;
    body->device = graph->device;
    // It is the op around it that a scope from outside marks.
    recompute_ = std::exchange(graph->recompute, "");
    region_->push_back(body->block);
    for (const Tensor& argument : arguments) {
      mlir::Value value = ir::ValueOf(argument);
      arguments_.push_back(graph->Wrap(body->block->addArgument(value.getType(), value.getLoc())));
    }
    body_ = body.get();
    graph->bodies.push_back(std::move(body));
  }

  const std::vector<Tensor>& arguments() const { return arguments_; }

  // Captures first what another body of the same op has captured, so that both have one list.
  void Capture(const std::vector<mlir::Value>& values) {
    for (mlir::Value value : values) graph_->Localize(value);
  }

  // Ends the body with these results. False where one is invalid or not seen from here.
  bool End(const std::vector<Tensor>& results, const SourceLocation& location) {
    llvm::SmallVector<mlir::Value> values;
    for (const Tensor& result : results) {
      mlir::Value value = result.valid() && result.graph() == graph_
                              ? graph_->Localize(ir::ValueOf(result))
                              : mlir::Value();
      if (!value) return Pop(false);
      values.push_back(value);
    }
    // Named by nothing: a body has one end.
    mlir::OpBuilder builder = ir::AtEnd(&graph_->context, body_->block);
    mlir::OperationState state(graph_->MakeNodeLocation("yield", location), "weft.yield");
    state.addOperands(values);
    builder.create(state);
    return Pop(true);
  }

  const std::vector<mlir::Value>& captured() const { return captured_; }
  std::unique_ptr<mlir::Region> TakeRegion() { return std::move(region_); }
  // Arguments for what only the other body uses.
  void AddUnused(llvm::ArrayRef<mlir::Value> values) {
    for (mlir::Value value : values) {
      region_->front().addArgument(value.getType(), value.getLoc());
    }
  }

 private:
  bool Pop(bool good) {
    captured_ = std::move(body_->captured);
    graph_->recompute = std::move(recompute_);
    graph_->bodies.pop_back();
    return good;
  }

  GraphImpl* graph_;
  GraphImpl::Body* body_;
  std::unique_ptr<mlir::Region> region_;
  std::vector<Tensor> arguments_;
  std::vector<mlir::Value> captured_;
  std::string recompute_;  // of the graph around it
};

// Makes the op from its two bodies, the first of which captured a prefix of what the second did.
std::vector<Tensor> Make(GraphImpl* graph, const char* op_name, std::vector<mlir::Value> operands,
                         BodyBuilder& first, BodyBuilder& second,
                         llvm::ArrayRef<mlir::NamedAttribute> attributes,
                         const SourceLocation& location) {
  llvm::ArrayRef<mlir::Value> captured = second.captured();
  first.AddUnused(captured.drop_front(first.captured().size()));
  operands.insert(operands.end(), captured.begin(), captured.end());
  std::unique_ptr<mlir::Region> regions[] = {first.TakeRegion(), second.TakeRegion()};
  mlir::Operation* op =
      graph->CreateNode(*FindOp(op_name), op_name, operands, attributes, location, regions);
  std::vector<Tensor> results;
  if (op == nullptr) return results;
  for (mlir::Value value : op->getResults()) results.push_back(graph->Wrap(value));
  return results;
}

bool CheckOperands(GraphImpl* graph, const char* op_name, const std::vector<Tensor>& tensors,
                   const SourceLocation& location) {
  for (const Tensor& tensor : tensors) {
    if (!tensor.valid()) return false;
    if (tensor.graph() != graph || !graph->Localize(ir::ValueOf(tensor))) {
      graph->Fail(absl::StrCat(op_name, ": expected tensors of this graph that are seen from here"),
                  location);
      return false;
    }
  }
  if (graph->bodies.size() < kMaxNesting) return true;
  graph->Fail(absl::StrCat(op_name, ": expected at most ", kMaxNesting, " levels of nesting"),
              location);
  return false;
}

void FailBody(GraphImpl* graph, const char* op_name, const SourceLocation& location) {
  graph->Fail(absl::StrCat(op_name, ": expected the bodies to return valid tensors of this graph"),
              location);
}

}  // namespace

std::vector<Tensor> While(
    const std::vector<Tensor>& initial,
    const std::function<Tensor(const std::vector<Tensor>&)>& condition,
    const std::function<std::vector<Tensor>(const std::vector<Tensor>&)>& body,
    int64_t max_iterations, SourceLocation location) {
  std::vector<Tensor> failed(initial.size());
  if (initial.empty() || initial[0].graph() == nullptr) return failed;
  GraphImpl* graph = initial[0].graph();
  if (!CheckOperands(graph, "while", initial, location)) return failed;

  std::vector<mlir::Value> operands;
  for (const Tensor& tensor : initial) operands.push_back(graph->Localize(ir::ValueOf(tensor)));
  BodyBuilder condition_body(graph, initial);
  bool good = condition_body.End({condition(condition_body.arguments())}, location);
  BodyBuilder main_body(graph, initial);
  main_body.Capture(condition_body.captured());
  good &= main_body.End(body(main_body.arguments()), location);
  if (!good) {
    FailBody(graph, "while", location);
    return failed;
  }
  mlir::Builder builder(&graph->context);
  mlir::NamedAttribute attributes[] = {
      builder.getNamedAttr("num_carried", builder.getI64IntegerAttr(initial.size())),
      builder.getNamedAttr("max_iterations", builder.getI64IntegerAttr(max_iterations))};
  std::vector<Tensor> results =
      Make(graph, "while", std::move(operands), condition_body, main_body, attributes, location);
  return results.empty() ? failed : results;
}

std::vector<Tensor> Cond(Tensor predicate, const std::function<std::vector<Tensor>()>& then_body,
                         const std::function<std::vector<Tensor>()>& else_body,
                         SourceLocation location) {
  GraphImpl* graph = predicate.graph();
  bool good = graph != nullptr && CheckOperands(graph, "cond", {predicate}, location);
  // The bodies run even after an error, since the number of results is what they return.
  if (graph == nullptr) return std::vector<Tensor>(then_body().size());
  std::vector<mlir::Value> operands;
  if (good) operands.push_back(graph->Localize(ir::ValueOf(predicate)));
  BodyBuilder first(graph, {});
  std::vector<Tensor> then_results = then_body();
  good &= first.End(then_results, location);
  BodyBuilder second(graph, {});
  second.Capture(first.captured());
  good &= second.End(else_body(), location);
  std::vector<Tensor> failed(then_results.size());
  if (!good) {
    FailBody(graph, "cond", location);
    return failed;
  }
  std::vector<Tensor> results =
      Make(graph, "cond", std::move(operands), first, second, {}, location);
  return results.empty() ? failed : results;
}

std::vector<Tensor> CustomGradient(
    const std::vector<Tensor>& values,
    const std::function<std::vector<Tensor>(const std::vector<Tensor>& x)>& body,
    const std::function<std::vector<Tensor>(const std::vector<Tensor>& x,
                                            const std::vector<Tensor>& y,
                                            const std::vector<Tensor>& dy)>& adjoint,
    SourceLocation location) {
  constexpr char kName[] = "custom_gradient";
  GraphImpl* graph = nullptr;
  for (const Tensor& value : values) graph = graph == nullptr ? value.graph() : graph;
  // The body runs even after an error, since the number of results is what it returns.
  if (graph == nullptr || !CheckOperands(graph, kName, values, location)) {
    return std::vector<Tensor>(body(std::vector<Tensor>(values.size())).size());
  }
  std::vector<mlir::Value> operands;
  for (const Tensor& value : values) operands.push_back(graph->Localize(ir::ValueOf(value)));

  BodyBuilder forward(graph, values);
  const std::vector<Tensor> results = body(forward.arguments());
  const std::vector<Tensor> failed(results.size());
  if (!forward.End(results, location)) {
    FailBody(graph, kName, location);
    return failed;
  }
  std::vector<Tensor> types = values, x, y, dy(results.size());
  types.insert(types.end(), results.begin(), results.end());
  for (const Tensor& result : results) {
    if (IsFloat(result.dtype())) types.push_back(result);
  }
  BodyBuilder backward(graph, types);
  auto next = backward.arguments().begin();
  for (size_t i = 0; i < values.size(); ++i) x.push_back(*next++);
  for (size_t i = 0; i < results.size(); ++i) y.push_back(*next++);
  for (size_t i = 0; i < results.size(); ++i) {
    if (IsFloat(results[i].dtype())) dy[i] = *next++;
  }
  std::vector<Tensor> gradients = adjoint(x, y, dy), of_floats;
  const bool one_for_each = gradients.size() == values.size();
  if (!one_for_each) {
    graph->Fail(absl::StrCat(kName, ": expected the adjoint to give ", values.size(),
                             " gradients, one for each value, got ", gradients.size()),
                location);
    gradients.resize(values.size());
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (IsFloat(values[i].dtype())) of_floats.push_back(gradients[i]);
  }
  if (!backward.End(of_floats, location)) {
    FailBody(graph, kName, location);
    return failed;
  }
  if (!one_for_each) return failed;
  for (const BodyBuilder* each : {&forward, &backward}) {
    if (each->captured().empty()) continue;
    graph->Fail(absl::StrCat(kName, ": expected functions that use their arguments alone, got '",
                             graph->Wrap(each->captured()[0]).name(),
                             "' from outside; pass it in as a value"),
                location);
    return failed;
  }
  std::unique_ptr<mlir::Region> regions[] = {forward.TakeRegion(), backward.TakeRegion()};
  mlir::Operation* op = graph->CreateNode(*FindOp(kName), kName, operands, {}, location, regions);
  if (op == nullptr) return failed;
  std::vector<Tensor> made;
  for (mlir::Value value : op->getResults()) made.push_back(graph->Wrap(value));
  return made;
}

}  // namespace weft
