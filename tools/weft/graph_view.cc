#include "tools/weft/graph_view.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "graph/ops/op_info.h"
#include "proto/graph.pb.h"

namespace weft::cli {
namespace {

std::string TypeText(const Tensor& tensor) {
  return absl::StrCat(std::string(NameOf(tensor.dtype())), ToString(tensor.shape()));
}

std::string ShapeText(const proto::ShapeProto& shape) {
  std::vector<std::string> dims;
  for (const proto::DimProto& dim : shape.dims()) {
    dims.push_back(dim.kind_case() == proto::DimProto::kExpr ? dim.expr()
                                                             : absl::StrCat(dim.size()));
  }
  return absl::StrCat("[", absl::StrJoin(dims, ", "), "]");
}

std::string DTypeText(proto::DType dtype) {
  return IsDataType(dtype) ? std::string(NameOf(static_cast<DataType>(dtype))) : "invalid";
}

std::string AttributeText(const proto::AttrValue& value) {
  switch (value.kind_case()) {
    case proto::AttrValue::kI:
      return absl::StrCat(value.i());
    case proto::AttrValue::kF:
      return absl::StrCat(value.f());
    case proto::AttrValue::kB:
      return value.b() ? "true" : "false";
    case proto::AttrValue::kS:
      return value.s();
    case proto::AttrValue::kDtype:
      return DTypeText(value.dtype());
    case proto::AttrValue::kShape:
      return ShapeText(value.shape());
    case proto::AttrValue::kInts:
      return absl::StrCat("[", absl::StrJoin(value.ints().values(), ", "), "]");
    case proto::AttrValue::kStrings:
      return absl::StrCat("[", absl::StrJoin(value.strings().values(), ", "), "]");
    case proto::AttrValue::kTensor:
      return absl::StrCat(DTypeText(value.tensor().dtype()), "[",
                          absl::StrJoin(value.tensor().shape(), ", "), "]");
    case proto::AttrValue::kFunction:
      return absl::StrCat("function ", value.function());
    case proto::AttrValue::KIND_NOT_SET:
      break;
  }
  return "";
}

std::string LocationText(const proto::GraphDef& def, const proto::SourceLocation& location) {
  if (location.file() < 0 || location.file() >= def.source_files_size()) return "";
  return absl::StrCat(def.source_files(location.file()), ":", location.line());
}

// "node:1" -> "node".
std::string_view NodeOf(std::string_view reference) {
  return reference.substr(0, reference.find(':'));
}

// Elements of the first result, or of the first operand.
DimExpr ElementsOf(const std::vector<Shape>& shapes) {
  return shapes.empty() ? DimExpr(0) : NumElements(shapes[0]);
}

// Numbers in an attribute's text "[2, 2]", multiplied.
DimExpr ProductOf(const std::map<std::string, std::string>& attrs, const std::string& name) {
  const auto found = attrs.find(name);
  if (found == attrs.end()) return 1;
  DimExpr product = 1;
  int64_t number = 0;
  bool in_number = false;
  for (const char c : found->second + "]") {
    if (c >= '0' && c <= '9') {
      number = number * 10 + (c - '0');
      in_number = true;
    } else if (in_number) {
      product = product * DimExpr(number);
      number = 0;
      in_number = false;
    }
  }
  return product;
}

double ValueAt(const DimExpr& expression, const std::map<std::string, int64_t>& sizes) {
  std::map<std::string, int64_t> all = sizes;
  for (const std::string& symbol : expression.Symbols()) all.emplace(symbol, 1);
  absl::StatusOr<int64_t> value = expression.Evaluate(all);
  return value.ok() ? static_cast<double>(*value) : 0;
}

class Viewer {
 public:
  Viewer(const Graph& graph, const proto::GraphDef& def,
         const std::map<std::string, int64_t>& sizes)
      : graph_(graph), def_(def), sizes_(sizes) {}

  GraphView View() {
    view_.name = def_.name();
    for (const proto::FunctionDef& function : def_.functions()) {
      function_results_[function.name()] = function.results_size();
    }
    for (const proto::NodeDef& node : def_.nodes()) {
      nodes_.emplace(node.name(), nodes_.size());
      AddNode(node);
    }
    for (const proto::VariableDef& variable : def_.variables()) {
      view_.variables.push_back({variable.name(),
                                 DTypeText(variable.dtype()) + ShapeText(variable.shape()),
                                 variable.trainable(), BytesOf(variable), variable.device()});
      variable_bytes_[variable.name()] = view_.variables.back().bytes;
    }
    for (const proto::SignatureDef& signature : def_.signatures()) {
      GraphView::Signature& added = view_.signatures.emplace_back();
      added.name = signature.name();
      for (const std::string& input : signature.inputs()) {
        added.inputs.push_back({input, TypeOf(input)});
      }
      for (const auto& output : signature.outputs()) {
        added.outputs.push_back({output.name(), TypeOf(output.value())});
      }
      added.nodes = NodesOf(signature);
      AddMemory(signature, added);
    }
    std::vector<std::string> sizes;
    for (const std::string& symbol : symbols_) {
      const auto size = sizes_.find(symbol);
      sizes.push_back(absl::StrCat(symbol, "=", size == sizes_.end() ? 1 : size->second));
    }
    view_.sizes = absl::StrJoin(sizes, ", ");
    return std::move(view_);
  }

 private:
  // Graph::Find is not const, but looks only.
  Tensor Find(const std::string& reference) {
    return const_cast<Graph&>(graph_).Find(reference);  // NOLINT
  }
  std::string TypeOf(const std::string& reference) {
    const Tensor tensor = Find(reference);
    return tensor.valid() ? TypeText(tensor) : "";
  }

  static double BytesOf(const proto::VariableDef& variable) {
    if (!IsDataType(variable.dtype())) return 0;
    auto bytes = static_cast<double>(SizeOf(static_cast<DataType>(variable.dtype())));
    for (const proto::DimProto& dim : variable.shape().dims()) {
      bytes *= static_cast<double>(dim.size());
    }
    return bytes;
  }

  static std::string VariableOf(const proto::NodeDef& node) {
    for (const proto::NamedAttr& attribute : node.attrs()) {
      if (attribute.name() == "variable") return attribute.value().s();
    }
    return "";
  }

  // What outputs and targets of a signature need.
  std::vector<size_t> NodesOf(const proto::SignatureDef& signature) const {
    std::vector<bool> needed(nodes_.size());
    std::vector<size_t> stack;
    const auto need = [&](const std::string& reference) {
      const auto node = nodes_.find(NodeOf(reference));
      if (node == nodes_.end() || needed[node->second]) return;
      needed[node->second] = true;
      stack.push_back(node->second);
    };
    for (const std::string& input : signature.inputs()) need(input);
    for (const auto& output : signature.outputs()) need(output.value());
    for (const std::string& target : signature.targets()) need(target);
    if (signature.name() == "init") {
      for (const proto::VariableDef& variable : def_.variables()) need(variable.initializer());
    }
    while (!stack.empty()) {
      const proto::NodeDef& node = NodeAt(stack.back());
      stack.pop_back();
      for (const std::string& input : node.inputs()) need(input);
    }
    std::vector<size_t> nodes;
    for (size_t i = 0; i < needed.size(); ++i) {
      if (needed[i]) nodes.push_back(i);
    }
    return nodes;
  }

  const proto::NodeDef& NodeAt(size_t index) const { return def_.nodes(static_cast<int>(index)); }

  // What the caller, the variables and the constants hold is theirs; all other results take memory
  // from their node to the last that reads them.
  void AddMemory(const proto::SignatureDef& def, GraphView::Signature& signature) const {
    std::set<std::string> variables;
    std::vector<bool> theirs(nodes_.size());
    const auto is_theirs = [&](const std::string& reference) {
      const auto node = nodes_.find(NodeOf(reference));
      if (node != nodes_.end()) theirs[node->second] = true;
    };
    for (const auto& output : def.outputs()) is_theirs(output.value());
    for (const size_t index : signature.nodes) {
      const proto::NodeDef& node = NodeAt(index);
      const bool assigns = node.op() == "assign";
      if (assigns || node.op() == "read_variable") {
        variables.insert(VariableOf(node));
        if (assigns && node.inputs_size() > 0) is_theirs(node.inputs(0));
      } else if (node.op() == "constant") {
        signature.constant_bytes += result_bytes_[index];
      } else if (node.op() != "input") {
        continue;
      }
      theirs[index] = true;
    }
    for (const std::string& variable : variables) {
      if (const auto bytes = variable_bytes_.find(variable); bytes != variable_bytes_.end()) {
        signature.variable_bytes += bytes->second;
      }
    }
    // Backwards, a result is there from its last use on to its node. What a needed node reads is
    // needed as well.
    std::vector<bool> there(nodes_.size());
    double bytes = 0;
    const auto meet = [&](size_t index) {
      if (!there[index] && !theirs[index]) bytes += result_bytes_[index];
      there[index] = true;
    };
    for (auto index = signature.nodes.rbegin(); index != signature.nodes.rend(); ++index) {
      meet(*index);
      for (const std::string& input : NodeAt(*index).inputs()) {
        if (const auto node = nodes_.find(NodeOf(input)); node != nodes_.end()) meet(node->second);
      }
      signature.activation_bytes = std::max(signature.activation_bytes, bytes);
      if (!theirs[*index]) bytes -= result_bytes_[*index];
    }
  }

  void AddNode(const proto::NodeDef& def) {
    GraphView::Node node;
    node.name = def.name();
    node.op = def.op();
    const OpInfo* info = FindOp(def.op());
    if (info) node.family = std::string(info->family);
    node.inputs.assign(def.inputs().begin(), def.inputs().end());
    std::map<std::string, std::string> attributes;
    for (const proto::NamedAttr& attribute : def.attrs()) {
      attributes[attribute.name()] = AttributeText(attribute.value());
      node.attributes.emplace_back(attribute.name(), attributes[attribute.name()]);
    }
    if (def.locations_size() > 0) node.source = LocationText(def_, def.locations(0));
    if (def.locations_size() > 1) node.forward = LocationText(def_, def.locations(1));
    std::vector<Shape> operands, results;
    DimExpr bytes = 0;
    auto add = [&](const Tensor& tensor, std::vector<Shape>& shapes) {
      shapes.push_back(tensor.shape());
      bytes = bytes + NumElements(shapes.back()) * DimExpr(SizeOf(tensor.dtype()));
      for (const DimExpr& dim : shapes.back()) {
        for (const std::string& symbol : dim.Symbols()) symbols_.insert(symbol);
      }
    };
    for (const std::string& input : def.inputs()) {
      if (const Tensor tensor = Find(input); tensor.valid()) add(tensor, operands);
    }
    const DimExpr operand_bytes = bytes;
    const int results_count = NumResults(def, info);
    for (int i = 0; i < results_count; ++i) {
      const Tensor tensor = Find(i == 0 ? def.name() : absl::StrCat(def.name(), ":", i));
      if (!tensor.valid()) break;
      add(tensor, results);
      node.results.push_back(TypeText(tensor));
    }
    const DimExpr flops = FlopsOf(def.op(), operands, results, attributes);
    node.flops = ValueAt(flops, sizes_);
    node.flops_text = flops.IsConstant() ? "" : flops.Text();
    node.bytes = ValueAt(bytes, sizes_);
    result_bytes_.push_back(node.bytes - ValueAt(operand_bytes, sizes_));
    view_.nodes.push_back(std::move(node));
  }

  // Asking for a result that is not there would be an error of the graph.
  int NumResults(const proto::NodeDef& def, const OpInfo* info) {
    if (info && !info->results.empty() && !info->results[0].variadic) {
      return static_cast<int>(info->results.size());
    }
    if (info && info->results.empty()) return 0;
    int count = 1;
    for (const proto::NamedAttr& attribute : def.attrs()) {
      if (attribute.name() == "condition") continue;
      const auto results = function_results_.find(attribute.value().function());
      if (results != function_results_.end()) count = std::max(count, results->second);
    }
    return count;
  }

  const Graph& graph_;
  const proto::GraphDef& def_;
  const std::map<std::string, int64_t>& sizes_;
  // By name: the index of a node, the number of results of a body.
  std::unordered_map<std::string_view, size_t> nodes_;
  std::unordered_map<std::string_view, int> function_results_;
  std::vector<double> result_bytes_;  // by index of the node
  std::unordered_map<std::string, double> variable_bytes_;
  std::set<std::string> symbols_;
  GraphView view_;
};

}  // namespace

const std::set<std::string>& OpsThatMoveData() {
  static const auto& ops = *new std::set<std::string>{"cast",    "stop_gradient", "gather",
                                                      "one_hot", "max_unpool",    "max_pool_at"};
  return ops;
}

DimExpr FlopsOf(const std::string& op, const std::vector<Shape>& operands,
                const std::vector<Shape>& results,
                const std::map<std::string, std::string>& attrs) {
  static const std::set<std::string_view> kFamiliesThatMove = {"state", "shape", "control_flow"};
  const OpInfo* info = FindOp(op);
  if (OpsThatMoveData().count(op) || (info && kFamiliesThatMove.count(info->family))) return 0;
  if (op == "matmul" && operands.size() == 2 && operands[0].size() >= 2) {
    const auto transposed = attrs.find("transpose_a");
    const bool transpose = transposed != attrs.end() && transposed->second == "true";
    const Shape& a = operands[0];
    return DimExpr(2) * ElementsOf(results) * a[a.size() - (transpose ? 2 : 1)];
  }
  if ((op == "conv2d" || op == "conv2d_input_grad") && operands.size() == 2 &&
      operands[1].size() == 4) {
    const Shape& filter = operands[1];
    const DimExpr pixels = op == "conv2d" ? ElementsOf(results) : NumElements(operands[0]);
    return DimExpr(2) * pixels * filter[0] * filter[1] * filter[2];
  }
  if (op == "conv2d_filter_grad" && operands.size() == 2 && !results.empty() &&
      results[0].size() == 4) {
    const Shape& filter = results[0];
    return DimExpr(2) * NumElements(operands[1]) * filter[0] * filter[1] * filter[2];
  }
  if (op == "max_pool" || op == "avg_pool") return ElementsOf(results) * ProductOf(attrs, "window");
  if (info && info->family == "reduction") return ElementsOf(operands);
  return ElementsOf(results);
}

absl::StatusOr<GraphView> ViewOf(const Graph& graph, const std::map<std::string, int64_t>& sizes) {
  std::map<std::string, HostTensor> weights;
  absl::StatusOr<GraphDef> def = graph.ToGraphDef(&weights);
  if (!def.ok()) return def.status();
  return Viewer(graph, *def, sizes).View();
}

}  // namespace weft::cli
