#include "graph/ir/graph_impl.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "graph/ir/device.h"
#include "graph/ir/graph_rules.h"
#include "graph/ir/load_dialect.h"
#include "graph/ir/recompute.h"
#include "mlir/IR/IRMapping.h"
#include "proto/core/json.h"
#include "proto/printable.h"

namespace weft::ir {
namespace {

constexpr size_t kMaxNameLength = 512;

mlir::StringAttr Text(mlir::MLIRContext* context, std::string_view text) {
  return mlir::StringAttr::get(context, llvm::StringRef(text.data(), text.size()));
}

// A file keeps UTF-8 alone; what is not, as in a name of Latin-1, is written as "\xe9".
std::string InUtf8(std::string_view text) {
  return IsUtf8(text) ? std::string(text) : Printable(text);
}

}  // namespace

SourceLine LineOf(const SourceLocation& location) {
  return {InUtf8(location.file_name()), static_cast<int>(location.line()),
          InUtf8(location.function_name())};
}

std::string Names::Unique(std::string_view name) {
  auto [it, fresh] = used_.try_emplace(std::string(name), 0);
  if (fresh) return it->first;
  for (;;) {
    std::string candidate = absl::StrCat(std::string(name), "_", ++used_[std::string(name)]);
    if (used_.try_emplace(candidate, 0).second) return candidate;
  }
}

bool Names::Claim(std::string_view name) { return used_.try_emplace(std::string(name), 0).second; }

std::string NameProblem(std::string_view name) {
  if (name.empty()) return "a name of at least one character";
  if (name.size() > kMaxNameLength) return "a name of at most 512 characters";
  for (char c : name) {
    if (c <= ' ' || c > '~' || c == ':' || c == '%' || c == '"' || c == '\'' || c == '\\') {
      return "a name of printable ASCII characters other than space, quotes, ':', '%' and '\\'";
    }
  }
  return "";
}

GraphImpl::GraphImpl(std::string_view name) : context(mlir::MLIRContext::Threading::DISABLED) {
  LoadDialect(&context);
  mlir::OpBuilder builder(&context);
  mlir::Location location = MakeLocation(&context, name, {});
  module = mlir::ModuleOp::create(location);
  builder.setInsertionPointToEnd(module->getBody());
  mlir::OperationState state(location, "weft.graph");
  state.addAttribute("name", Text(&context, name));
  auto* block = new mlir::Block;
  state.addRegion()->push_back(block);
  graph = builder.create(state);
  bodies.push_back(std::make_unique<Body>());
  body().block = block;
}

void GraphImpl::Fail(const std::string& message, const SourceLocation& location) {
  const SourceLine line = location_override && !location_override->empty()
                              ? location_override->front()
                              : LineOf(location);
  Fail(absl::InvalidArgumentError(absl::StrCat(message, " (", line.file, ":", line.line, ")")));
}

std::optional<TensorType> GraphImpl::VariableType(llvm::StringRef name) const {
  auto it = variables.find(std::string_view(name.data(), name.size()));
  if (it == variables.end()) return std::nullopt;
  return TensorTypeOf(it->second->getAttrOfType<mlir::TypeAttr>("type").getValue());
}

mlir::Value GraphImpl::Localize(mlir::Value value) {
  mlir::Block* home = value.getParentBlock();
  auto it = std::find_if(bodies.begin(), bodies.end(),
                         [&](const auto& body) { return body->block == home; });
  if (it == bodies.end()) return {};
  for (++it; it != bodies.end(); ++it) {
    Body& body = **it;
    mlir::Value& argument = body.arguments[value];
    if (!argument) {
      body.captured.push_back(value);
      argument = body.block->addArgument(value.getType(), value.getLoc());
    }
    value = argument;
  }
  return value;
}

void GraphImpl::PushScope(std::string_view name, bool recompute_in_gradients) {
  std::string problem = NameProblem(name);
  if (!problem.empty()) {
    Fail(absl::InvalidArgumentError(absl::StrCat("scope: expected ", problem)));
    name = "scope";
  }
  outer_scopes.push_back({prefix, scope_path, recompute, device});
  const std::string unique = scope_names.Unique(prefix + std::string(name));
  if (recompute_in_gradients && recompute.empty()) recompute = unique;
  prefix = unique + "/";
  absl::StrAppend(&scope_path, std::string(name), "/");
}

void GraphImpl::PushDevice(std::string_view name, const SourceLocation& location) {
  outer_scopes.push_back({prefix, scope_path, recompute, device});
  const std::string problem = name.empty() ? "" : DeviceProblem(name);
  if (problem.empty()) {
    device = std::string(name);
  } else {
    Fail(absl::StrCat("device scope: expected ", problem, ", got '", std::string(name), "'"),
         location);
  }
}

void GraphImpl::PopScope() {
  OuterScope& outer = outer_scopes.back();
  prefix = std::move(outer.prefix);
  scope_path = std::move(outer.path);
  recompute = std::move(outer.recompute);
  device = std::move(outer.device);
  outer_scopes.pop_back();
}

mlir::Location GraphImpl::MakeNodeLocation(std::string_view name, const SourceLocation& location) {
  if (location_override) return MakeLocation(&context, name, *location_override);
  return MakeLocation(&context, name, {LineOf(location)});
}

mlir::Operation* GraphImpl::CreateNode(const OpInfo& op, std::string_view name,
                                       llvm::ArrayRef<mlir::Value> operands,
                                       llvm::ArrayRef<mlir::NamedAttribute> attributes,
                                       const SourceLocation& location,
                                       llvm::MutableArrayRef<std::unique_ptr<mlir::Region>> regions,
                                       bool in_graph) {
  Body& body = in_graph ? *bodies.front() : this->body();
  // Within a body the scopes around its op say nothing new.
  std::string_view scope = prefix;
  if (!in_graph && scope.starts_with(body.prefix)) scope.remove_prefix(body.prefix.size());
  std::string unique = body.names.Unique(std::string(scope) + std::string(name));
  if (std::string problem = NameProblem(unique); !problem.empty()) {
    Fail(absl::StrCat("node: expected ", problem, ", got '", unique, "'"), location);
    return nullptr;
  }
  mlir::OpBuilder builder = AtEnd(&context, body.block);
  absl::StatusOr<mlir::Operation*> made =
      CreateOp(builder, op, operands, attributes, MakeNodeLocation(unique, location), regions,
               VariableTypes([this](llvm::StringRef v) { return VariableType(v); }));
  if (!made.ok()) {
    body.names.Release(unique);
    Fail(made.status());
    return nullptr;
  }
  if (!in_graph && MayRecompute(op)) SetRecompute(*made, recompute);
  if (MayPlace(op)) SetDevice(*made, device);
  if (body.block == graph_block()) nodes[unique] = *made;
  return *made;
}

absl::StatusOr<mlir::Operation*> GraphImpl::CreateNamedNode(
    const OpInfo& op, llvm::ArrayRef<mlir::Value> operands,
    llvm::ArrayRef<mlir::NamedAttribute> attributes, mlir::Location location,
    llvm::MutableArrayRef<std::unique_ptr<mlir::Region>> regions) {
  std::string name(NodeNameOf(location));
  if (!body().names.Claim(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected names that are unique, got a second ", Describe(location)));
  }
  mlir::OpBuilder builder = AtEnd(&context, body().block);
  absl::StatusOr<mlir::Operation*> made =
      CreateOp(builder, op, operands, attributes, location, regions,
               VariableTypes([this](llvm::StringRef v) { return VariableType(v); }));
  if (made.ok() && bodies.size() == 1) nodes[name] = *made;
  return made;
}

mlir::Value GraphImpl::MakeScalar(std::string_view what, DataType dtype, double value,
                                  const SourceLocation& location) {
  absl::StatusOr<HostTensor> scalar = HostTensor::Create(dtype, {});
  if (!scalar.ok()) {
    Fail(scalar.status());
    return {};
  }
  bool fits = WithType(dtype, [&](auto zero) {
    using T = decltype(zero);
    T* out = static_cast<T*>(scalar->mutable_data());
    if constexpr (std::is_integral_v<T>) {
      // -2^63 and 2^63, the ends of the widest type, are exact in double; so are all others.
      constexpr double kEnd = static_cast<double>(std::numeric_limits<T>::max() / 2 + 1) * 2;
      constexpr double kMin = static_cast<double>(std::numeric_limits<T>::min());
      constexpr bool kIsBool = std::is_same_v<T, bool>;
      if (value != std::floor(value) || value < kMin || value >= (kIsBool ? 2 : kEnd)) return false;
      *out = static_cast<T>(value);
    } else if constexpr (std::is_same_v<T, BF16> || std::is_same_v<T, F16>) {
      *out = static_cast<T>(static_cast<float>(value));  // as a cast from f64 does
    } else {
      *out = static_cast<T>(value);
    }
    return true;
  });
  if (!fits) {
    Fail(absl::StrCat(std::string(what), ": expected a number that fits ",
                      std::string(NameOf(dtype)), ", got ", value),
         location);
    return {};
  }
  mlir::NamedAttribute attribute(Text(&context, "value"), ElementsAttrOf(&context, *scalar));
  mlir::Operation* op = CreateNode(*FindOp("constant"), "constant", {}, {attribute}, location);
  return op == nullptr ? mlir::Value() : op->getResult(0);
}

mlir::Value GraphImpl::Read(const std::string& variable, const SourceLocation& location) {
  auto it = reads.find(variable);
  if (it != reads.end()) return it->second->getResult(0);
  mlir::NamedAttribute attribute(Text(&context, "variable"),
                                 mlir::FlatSymbolRefAttr::get(&context, variable));
  // Reads stand in the graph, where a body captures them, whatever scope asks first.
  std::string saved = std::exchange(prefix, "");
  mlir::Operation* op =
      CreateNode(*FindOp("read_variable"), variable, {}, {attribute}, location, {}, true);
  prefix = std::move(saved);
  if (op == nullptr) return {};
  reads[variable] = op;
  return op->getResult(0);
}

absl::Status GraphImpl::AddVariableOp(std::string_view name, const TensorType& type, bool trainable,
                                      mlir::Location location) {
  if (std::string problem = NameProblem(name); !problem.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("variable: expected ", problem, ", got '", std::string(name), "'"));
  }
  if (variables.find(name) != variables.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "variable: expected names that are unique, got a second '", std::string(name), "'"));
  }
  for (const DimExpr& dim : type.shape) {
    if (dim.Constant().value_or(-1) >= 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "variable '", std::string(name), "': expected a static shape, got ", type.ToString()));
  }
  mlir::OpBuilder builder = AtEnd(&context, graph_block());
  mlir::NamedAttrList attributes;
  attributes.append("sym_name", Text(&context, name));
  attributes.append("trainable", builder.getBoolAttr(trainable));
  attributes.append("type", mlir::TypeAttr::get(MakeTensorType(&context, type.dtype, type.shape)));
  absl::StatusOr<mlir::Operation*> op =
      CreateOp(builder, *FindOp("variable"), {}, attributes.getAttrs(), location);
  if (!op.ok()) return op.status();
  variables.emplace(name, *op);
  variable_order.emplace_back(name);
  return absl::OkStatus();
}

absl::Status GraphImpl::AddInitializer(std::string_view variable, mlir::Value value,
                                       mlir::Location location, bool checked) {
  mlir::OpBuilder builder = AtEnd(&context, graph_block());
  mlir::NamedAttribute attribute(Text(&context, "variable"),
                                 mlir::FlatSymbolRefAttr::get(Text(&context, variable)));
  absl::StatusOr<mlir::Operation*> op =
      CreateOp(builder, *FindOp("initializer"), {value}, {attribute}, location, {},
               VariableTypes([this](llvm::StringRef v) { return VariableType(v); }));
  if (!op.ok()) return op.status();
  return checked ? absl::OkStatus() : CheckInitializer(*op);
}

absl::Status GraphImpl::AddSignatureOp(std::string_view name,
                                       std::optional<std::vector<mlir::Value>> inputs,
                                       const std::vector<SignatureOutput>& outputs,
                                       const std::vector<mlir::Value>& targets,
                                       mlir::Location location) {
  auto error = [&](const std::string& message) {
    return absl::InvalidArgumentError(absl::StrCat(
        "signature: '", std::string(name), "': expected ", message, ", at ", Describe(location)));
  };
  if (std::string problem = NameProblem(name); !problem.empty()) return error(problem);
  if (name == "init") return error("another name: init is there by itself");
  if (signatures.find(name) != signatures.end()) {
    return error("names that are unique, got a second one (C1)");
  }
  std::vector<mlir::Value> results;
  std::vector<llvm::StringRef> output_names;
  for (const SignatureOutput& output : outputs) {
    if (std::string problem = NameProblem(output.name); !problem.empty()) {
      return error(absl::StrCat(problem, " for an output, got '", output.name, "'"));
    }
    results.push_back(output.value);
    output_names.push_back(output.name);
  }
  results.insert(results.end(), targets.begin(), targets.end());
  if (!inputs) inputs = InputsNeededBy(results);
  std::vector<mlir::Value> operands = *inputs;
  operands.insert(operands.end(), results.begin(), results.end());

  mlir::OpBuilder builder = AtEnd(&context, graph_block());
  mlir::NamedAttrList attributes;
  attributes.append("name", Text(&context, name));
  attributes.append("num_inputs", builder.getI64IntegerAttr(inputs->size()));
  attributes.append("output_names", builder.getStrArrayAttr(output_names));
  absl::StatusOr<mlir::Operation*> op =
      CreateOp(builder, *FindOp("signature"), operands, attributes.getAttrs(), location);
  if (!op.ok()) return op.status();
  if (absl::Status s = CheckSignature(*op); !s.ok()) {
    (*op)->erase();
    return s;
  }
  signatures.emplace(name, *op);
  signature_order.emplace_back(name);
  return absl::OkStatus();
}

mlir::Value ValueOf(const Tensor& tensor) {
  return mlir::Value::getFromOpaquePointer(tensor.value());
}

std::vector<Tensor> InlineRegion(GraphImpl* graph, mlir::Region& region,
                                 const std::vector<Tensor>& arguments, Prints prints) {
  mlir::Block& block = region.front();
  mlir::IRMapping mapping;
  for (size_t i = 0; i < arguments.size(); ++i) {
    mapping.map(block.getArgument(i), graph->Localize(ValueOf(arguments[i])));
  }
  GraphImpl::Body& body = graph->body();
  mlir::OpBuilder builder = AtEnd(&graph->context, body.block);
  std::string_view scope = graph->prefix;
  if (scope.starts_with(body.prefix)) scope.remove_prefix(body.prefix.size());
  for (mlir::Operation& op : block.without_terminator()) {
    if (prints == Prints::kDrop && IsOp(&op, "print")) {
      mapping.map(op.getResult(0), mapping.lookup(op.getOperand(0)));
      continue;
    }
    mlir::Operation* copy = builder.clone(op, mapping);
    if (!copy->hasAttr(kRecomputeAttr) && MayRecompute(*InfoOf(copy))) {
      SetRecompute(copy, graph->recompute);
    }
    if (prints == Prints::kDrop) {
      for (mlir::Operation* print : PrintsOf(copy)) {
        print->getResult(0).replaceAllUsesWith(print->getOperand(0));
        print->erase();
      }
    }
    std::string name =
        body.names.Unique(std::string(scope) + std::string(NodeNameOf(copy->getLoc())));
    copy->setLoc(WithName(copy->getLoc(), name));
    if (body.block == graph->graph_block()) graph->nodes[name] = copy;
  }
  std::vector<Tensor> results;
  for (mlir::Value value : block.back().getOperands()) {
    results.push_back(graph->Wrap(mapping.lookup(value)));
  }
  return results;
}

std::vector<mlir::Operation*> PrintsOf(mlir::Operation* op) {
  std::vector<mlir::Operation*> prints;
  if (IsOp(op, "print")) prints.push_back(op);
  const unsigned regions = IsOp(op, "custom_gradient") ? 1 : op->getNumRegions();
  for (unsigned i = 0; i < regions; ++i) {
    for (mlir::Operation& inner : op->getRegion(i).getOps()) {
      for (mlir::Operation* print : PrintsOf(&inner)) prints.push_back(print);
    }
  }
  return prints;
}

}  // namespace weft::ir
