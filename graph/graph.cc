#include "graph/graph.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "graph/ir/device.h"
#include "graph/ir/graph_impl.h"
#include "mlir/IR/AsmState.h"
#include "proto/suggest.h"

namespace weft {
namespace {

mlir::NamedAttribute Attribute(ir::GraphImpl* graph, const char* name, mlir::Attribute value) {
  return mlir::NamedAttribute(mlir::StringAttr::get(&graph->context, name), value);
}

Tensor Wrap(ir::GraphImpl* graph, mlir::Operation* op) {
  return op == nullptr ? Tensor() : graph->Wrap(op->getResult(0));
}

}  // namespace

DataType Tensor::dtype() const { return ir::DataTypeOf(ir::ValueOf(*this)); }
Shape Tensor::shape() const { return ir::ShapeOf(ir::ValueOf(*this)); }
int64_t Tensor::rank() const {
  return llvm::cast<mlir::RankedTensorType>(ir::ValueOf(*this).getType()).getRank();
}

DimExpr Tensor::dim(int64_t axis) const {
  int64_t count = rank();
  if (axis < -count || axis >= count) {
    graph_->Fail(
        absl::InvalidArgumentError(absl::StrCat("dim: expected an axis in [", -count, ", ", count,
                                                "), got ", axis, ", of '", name(), "'")));
    return 0;
  }
  return shape()[axis < 0 ? axis + count : axis];
}

std::string Tensor::name() const {
  mlir::Value value = ir::ValueOf(*this);
  auto result = llvm::dyn_cast<mlir::OpResult>(value);
  if (!result) {
    return absl::StrCat("%arg", llvm::cast<mlir::BlockArgument>(value).getArgNumber());
  }
  std::string node(ir::NodeNameOf(result.getOwner()));
  return result.getResultNumber() == 0 ? node : absl::StrCat(node, ":", result.getResultNumber());
}

std::string Tensor::device() const {
  if (!valid()) return "";
  mlir::Value value = ir::ValueOf(*this);
  // A custom_gradient is nothing but the nodes of its body.
  while (auto result = llvm::dyn_cast<mlir::OpResult>(value)) {
    if (!ir::IsOp(result.getOwner(), "custom_gradient")) break;
    mlir::Block& body = result.getOwner()->getRegion(0).front();
    value = body.getTerminator()->getOperand(result.getResultNumber());
    auto argument = llvm::dyn_cast<mlir::BlockArgument>(value);
    if (argument) value = result.getOwner()->getOperand(argument.getArgNumber());
  }
  mlir::Operation* op = value.getDefiningOp();
  if (op == nullptr) {
    const auto body = std::find_if(graph_->bodies.begin(), graph_->bodies.end(),
                                   [&](auto& b) { return b->block == value.getParentBlock(); });
    return body == graph_->bodies.end() ? "" : (*body)->device;
  }
  // What reads and assigns variables is where these are.
  auto variable = op->getAttrOfType<mlir::FlatSymbolRefAttr>("variable");
  return variable ? Variable(graph_, variable.getValue().str()).device()
                  : std::string(ir::DeviceOf(op));
}

Tensor Tensor::Named(std::string_view name) const {
  if (!valid()) return *this;
  if (std::string problem = ir::NameProblem(name); !problem.empty()) {
    graph_->Fail(absl::InvalidArgumentError(
        absl::StrCat("Named: expected ", problem, ", got '", std::string(name), "'")));
    return *this;
  }
  mlir::Operation* op = ir::ValueOf(*this).getDefiningOp();
  // An argument of a body is named by its place, an input by what it is fed as.
  if (op == nullptr || ir::IsOp(op, "input")) return *this;
  auto body = std::find_if(graph_->bodies.begin(), graph_->bodies.end(),
                           [&](auto& b) { return b->block == op->getBlock(); });
  if (body == graph_->bodies.end()) return *this;
  std::string_view old = ir::NodeNameOf(op);
  std::string scope(old.substr(0, old.rfind('/') + 1));  // npos + 1 is 0
  (*body)->names.Release(old);
  std::string unique = (*body)->names.Unique(scope + std::string(name));
  if (op->getBlock() == graph_->graph_block()) {
    graph_->nodes.erase(std::string(old));
    graph_->nodes[unique] = op;
  }
  op->setLoc(ir::WithName(op->getLoc(), unique));
  return *this;
}

std::string Variable::device() const {
  if (graph_ == nullptr) return "";
  const auto op = graph_->variables.find(name_);
  return op == graph_->variables.end() ? "" : std::string(ir::DeviceOf(op->second));
}

Tensor Variable::Read(SourceLocation location) const {
  if (graph_ == nullptr) return {};
  mlir::Value value = graph_->Read(name_, location);
  return value ? graph_->Wrap(value) : Tensor();
}

Tensor Variable::Assign(Tensor value, SourceLocation location) const {
  if (graph_ == nullptr || !value.valid()) return {};
  if (graph_->bodies.size() > 1) {
    graph_->Fail(absl::StrCat("assign: expected an assignment of '", name_,
                              "' outside of the bodies of While and Cond: carry the value out"),
                 location);
    return {};
  }
  mlir::Operation* op = graph_->CreateNode(
      *FindOp("assign"), "assign", {ir::ValueOf(value)},
      {Attribute(graph_, "variable", mlir::FlatSymbolRefAttr::get(&graph_->context, name_))},
      location);
  return Wrap(graph_, op);
}

ScopeGuard::~ScopeGuard() { graph_->PopScope(); }

Graph::Graph(std::string_view name) {
  std::string problem = ir::NameProblem(name);
  impl_ = std::make_unique<ir::GraphImpl>(problem.empty() ? name : "graph");
  if (!problem.empty()) {
    impl_->Fail(absl::InvalidArgumentError(absl::StrCat("graph: expected ", problem)));
  }
}
Graph::Graph(std::unique_ptr<ir::GraphImpl> impl) : impl_(std::move(impl)) {}
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;
Graph::~Graph() = default;

absl::Status Graph::status() const { return impl_->status; }

ScopeGuard Graph::Scope(std::string_view name) {
  impl_->PushScope(name);
  return ScopeGuard(impl_.get());
}

ScopeGuard Graph::Recompute(std::string_view name) {
  impl_->PushScope(name, /*recompute_in_gradients=*/true);
  return ScopeGuard(impl_.get());
}

ScopeGuard Graph::WithDevice(std::string_view device, SourceLocation location) {
  impl_->PushDevice(device, location);
  return ScopeGuard(impl_.get());
}

std::map<std::string, std::string> Graph::Devices() const {
  std::map<std::string, std::string> devices, of_variables;
  ir::FindPlaced(impl_->graph, [&](mlir::Operation* op, std::string_view name) {
    auto& first = ir::IsOp(op, "variable") ? of_variables : devices;
    if (first.contains(std::string(name))) return;
    first.emplace(name, ir::Describe(op->getLoc()));
  });
  devices.merge(of_variables);
  return devices;
}

Tensor Graph::Input(std::string_view name, DataType dtype, const std::vector<Dim>& shape,
                    SourceLocation location) {
  Shape dims;
  for (const Dim& dim : shape) {
    absl::StatusOr<DimExpr> parsed = dim.text.empty() ? dim.expr : DimExpr::Parse(dim.text);
    if (!parsed.ok()) {
      impl_->Fail(absl::StrCat("input '", std::string(name), "': ", parsed.status().message()),
                  location);
      return {};
    }
    dims.push_back(*parsed);
  }
  std::string full = impl_->prefix + std::string(name);
  if (impl_->nodes.contains(full) || impl_->bodies.size() > 1 || dtype == DataType::kInvalid) {
    impl_->Fail(absl::StrCat("input: expected a dtype and a name that is not taken, outside of the "
                             "bodies of While and Cond, got '",
                             full, "'"),
                location);
    return {};
  }
  mlir::MLIRContext* context = &impl_->context;
  mlir::Operation* op = impl_->CreateNode(
      *FindOp("input"), name, {},
      {Attribute(impl_.get(), "dtype", mlir::TypeAttr::get(ir::ElementTypeOf(context, dtype))),
       Attribute(impl_.get(), "name", mlir::StringAttr::get(context, full)),
       Attribute(impl_.get(), "shape", ir::DimArrayAttr(context, dims))},
      location);
  return Wrap(impl_.get(), op);
}

Tensor Graph::Constant(HostTensor value, SourceLocation location) {
  if (value.dtype() == DataType::kInvalid) {
    impl_->Fail("constant: expected a tensor, got an invalid one", location);
    return {};
  }
  return Wrap(
      impl_.get(),
      impl_->CreateNode(
          *FindOp("constant"), "constant", {},
          {Attribute(impl_.get(), "value", ir::ElementsAttrOf(&impl_->context, value))}, location));
}

Variable Graph::AddVariable(std::string_view name, Tensor initial, bool trainable,
                            SourceLocation location) {
  if (!initial.valid()) return {};
  std::string full = impl_->prefix + std::string(name);
  mlir::Value value = ir::ValueOf(initial);
  if (initial.graph() != impl_.get() || value.getParentBlock() != impl_->graph_block()) {
    impl_->Fail(absl::StrCat("variable '", full,
                             "': expected a first value of this graph, outside "
                             "of the bodies of While and Cond"),
                location);
    return {};
  }
  mlir::Location at = impl_->MakeNodeLocation(full, location);
  absl::Status s = impl_->AddVariableOp(full, ir::TensorTypeOf(value.getType()), trainable, at);
  if (s.ok()) ir::SetDevice(impl_->variables.find(full)->second, impl_->device);
  if (s.ok()) s = impl_->AddInitializer(full, value, at);
  if (!s.ok()) {
    impl_->Fail(absl::StrCat(s.message(), ""), location);
    return {};
  }
  return Variable(impl_.get(), full);
}

Variable Graph::AddVariable(std::string_view name, HostTensor initial, bool trainable,
                            SourceLocation location) {
  Tensor value = Constant(std::move(initial), location);
  if (value.valid()) value.Named(absl::StrCat(std::string(name), ".initial"));
  return AddVariable(name, value, trainable, location);
}

std::vector<Variable> Graph::Variables(bool trainable_only) const {
  std::vector<Variable> variables;
  for (const std::string& name : impl_->variable_order) {
    mlir::Operation* op = impl_->variables.find(name)->second;
    if (!trainable_only || op->getAttrOfType<mlir::BoolAttr>("trainable").getValue()) {
      variables.emplace_back(impl_.get(), name);
    }
  }
  return variables;
}

void Graph::AddSignature(std::string_view name,
                         const std::vector<std::pair<std::string, Tensor>>& outputs,
                         const std::vector<Tensor>& targets, SourceLocation location) {
  std::vector<ir::GraphImpl::SignatureOutput> values;
  std::vector<mlir::Value> target_values;
  for (const auto& [output, tensor] : outputs) values.push_back({output, ir::ValueOf(tensor)});
  for (const Tensor& tensor : targets) target_values.push_back(ir::ValueOf(tensor));
  auto bad = [&](const Tensor& tensor) {
    return !tensor.valid() || tensor.graph() != impl_.get() ||
           ir::ValueOf(tensor).getParentBlock() != impl_->graph_block();
  };
  bool good = std::none_of(targets.begin(), targets.end(), bad) &&
              std::none_of(outputs.begin(), outputs.end(),
                           [&](const auto& output) { return bad(output.second); });
  if (!good) {
    // Where one is invalid there was an error before, which then stays the first.
    impl_->Fail(absl::StrCat("signature '", std::string(name),
                             "': expected valid tensors of this graph, outside of the bodies of "
                             "While and Cond"),
                location);
    return;
  }
  absl::Status s = impl_->AddSignatureOp(name, std::nullopt, values, target_values,
                                         impl_->MakeNodeLocation(name, location));
  if (!s.ok()) impl_->Fail(s);
}

std::vector<std::string> Graph::SignatureNames() const {
  std::vector<std::string> names = impl_->signature_order;
  if (!impl_->variables.empty()) names.insert(names.begin(), "init");
  return names;
}

Tensor Graph::Find(std::string_view name) const {
  std::string_view node = name;
  size_t result = 0;
  if (size_t colon = name.rfind(':'); colon != std::string_view::npos) {
    node = name.substr(0, colon);
    for (char c : name.substr(colon + 1)) {
      result = c >= '0' && c <= '9' && result < 1000000 ? result * 10 + (c - '0') : SIZE_MAX / 16;
    }
  }
  auto it = impl_->nodes.find(std::string(node));
  if (it != impl_->nodes.end() && result < it->second->getNumResults()) {
    return impl_->Wrap(it->second->getResult(result));
  }
  std::vector<std::string> names;
  for (const auto& entry : impl_->nodes) names.push_back(entry.first);
  std::sort(names.begin(), names.end());
  impl_->Fail(absl::NotFoundError(absl::StrCat("there is no value '", std::string(name),
                                               "' in the graph", DidYouMean(node, names))));
  return {};
}

int64_t Graph::NumNodes() const { return static_cast<int64_t>(impl_->nodes.size()); }

std::string Graph::ToMlir() const {
  std::string text;
  llvm::raw_string_ostream out(text);
  mlir::OpPrintingFlags flags;
  flags.elideLargeElementsAttrs(16);
  impl_->module->print(out, flags);
  return text;
}

Tensor operator+(Operand a, Operand b) { return Add(a, b); }
Tensor operator-(Operand a, Operand b) { return Sub(a, b); }
Tensor operator*(Operand a, Operand b) { return Mul(a, b); }
Tensor operator/(Operand a, Operand b) { return Div(a, b); }
Tensor operator-(Operand a) { return Neg(a); }

namespace {

Tensor Filled(ir::GraphImpl* graph, const char* what, DataType dtype, const Shape& shape,
              double value, const SourceLocation& location) {
  mlir::Value scalar = graph->MakeScalar(what, dtype, value, location);
  if (!scalar) return {};
  if (shape.empty()) return graph->Wrap(scalar);
  return Wrap(graph,
              graph->CreateNode(
                  *FindOp("broadcast"), what, {scalar},
                  {Attribute(graph, "shape", ir::DimArrayAttr(&graph->context, shape))}, location));
}

Tensor FilledLike(const Operand& x, const char* what, double value) {
  if (!x.tensor().valid()) return {};
  return Filled(x.tensor().graph(), what, x.tensor().dtype(), x.tensor().shape(), value,
                x.location());
}

}  // namespace

Tensor ZerosLike(Operand x) { return FilledLike(x, "zeros", 0); }
Tensor OnesLike(Operand x) { return FilledLike(x, "ones", 1); }

Tensor Full(Graph& graph, DataType dtype, const Shape& shape, double value,
            SourceLocation location) {
  if (dtype == DataType::kInvalid) {
    graph.impl()->Fail("full: expected a dtype", location);
    return {};
  }
  return Filled(graph.impl(), "full", dtype, shape, value, location);
}

}  // namespace weft
