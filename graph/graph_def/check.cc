#include "graph/graph_def/check.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <set>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "graph/graph_def/upgrade.h"
#include "graph/ir/create.h"
#include "graph/ir/device.h"
#include "graph/ir/recompute.h"
#include "proto/core/json.h"
#include "proto/printable.h"
#include "proto/suggest.h"

namespace weft::graph_def {
namespace {

// " (file:line)" of what built a node or a signature; "" where that is not known.
template <typename Def>
std::string SourceOf(const proto::GraphDef& def, const Def& built) {
  if (built.locations_size() == 0) return "";
  const proto::SourceLocation& location = built.locations(0);
  if (location.file() < 0 || location.file() >= def.source_files_size()) return "";
  return absl::StrCat(" (", def.source_files(location.file()), ":", location.line(), ")");
}

std::string_view View(const std::string& text) { return text; }

// Ops that are parts of a GraphDef of their own, not nodes.
bool IsNodeOp(const OpInfo& info) {
  return info.name != "graph" && info.name != "variable" && info.name != "initializer" &&
         info.name != "signature" && info.name != "yield";
}

class Checker {
 public:
  Checker(const proto::GraphDef& def, const Weights& weights) : def_(def), weights_(weights) {}

  absl::StatusOr<CheckedGraph> Run() {
    if (absl::Status s = CheckVersions(); !s.ok()) return s;
    if (std::string problem = ir::NameProblem(def_.name()); !problem.empty()) {
      return Error(absl::StrCat("expected as the graph's name ", problem));
    }
    for (const std::string& file : def_.source_files()) {
      if (!IsUtf8(file)) {
        return Error(absl::StrCat("expected names of source files in UTF-8, got '", file, "'"));
      }
    }
    if (absl::Status s = CheckVariables(); !s.ok()) return s;
    if (absl::Status s = IndexFunctions(); !s.ok()) return s;
    // All names first, then what refers to them.
    if (absl::Status s = IndexNodes(def_.nodes(), graph_.graph); !s.ok()) return s;
    for (CheckedBody& body : graph_.functions) {
      if (absl::Status s = IndexNodes(body.function->nodes(), body); !s.ok()) return s;
    }
    if (absl::Status s = CheckBody(graph_.graph); !s.ok()) return s;
    for (CheckedBody& body : graph_.functions) {
      if (absl::Status s = CheckBody(body); !s.ok()) return s;
    }
    if (absl::Status s = CheckNesting(); !s.ok()) return s;
    if (absl::Status s = CheckEntries(); !s.ok()) return s;
    return std::move(graph_);
  }

 private:
  static absl::Status Error(const std::string& message) {
    return absl::InvalidArgumentError(message);
  }
  absl::Status Error(const CheckedBody& body, const proto::NodeDef& node,
                     absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(message, ", at ", Where(def_, body, node)));
  }

  // Whether a file can hold the names of the functions that built it.
  template <typename Def>
  static bool HasTextLocations(const Def& built) {
    return std::all_of(built.locations().begin(), built.locations().end(),
                       [](const auto& location) { return IsUtf8(location.function()); });
  }
  static constexpr char kTextExpected[] =
      "expected the name of the C++ function that built it in UTF-8";

  absl::Status CheckVersions() const {
    const proto::Versions& versions = def_.versions();
    if (versions.min_consumer() > kVersion) {
      return Error(absl::StrCat("expected a graph that format version ", kVersion,
                                " can read, got one for version ", versions.min_consumer(),
                                " or later (written by ", versions.producer_name(),
                                "); use a newer Weft"));
    }
    if (versions.producer() < 1) {
      return Error(absl::StrCat("expected a producer version >= 1, got ", versions.producer()));
    }
    return absl::OkStatus();
  }

  absl::Status CheckVariables() {
    for (const proto::VariableDef& variable : def_.variables()) {
      std::string where = absl::StrCat("variable '", variable.name(), "': ");
      if (std::string problem = ir::NameProblem(variable.name()); !problem.empty()) {
        return Error(absl::StrCat(where, "expected ", problem));
      }
      if (!variables_.insert(View(variable.name())).second) {
        return Error(absl::StrCat(where, "expected names that are unique"));
      }
      if (!HasTextLocations(variable)) return Error(absl::StrCat(where, kTextExpected));
      if (std::string problem = ir::DeviceProblem(variable.device());
          !variable.device().empty() && !problem.empty()) {
        return Error(absl::StrCat(where, "expected ", problem, ", got '", variable.device(), "'"));
      }
      absl::StatusOr<TensorType> type = ParseType(variable.dtype(), variable.shape());
      if (!type.ok()) return Error(absl::StrCat(where, type.status().message()));
      graph_.variables.push_back(*std::move(type));
    }
    return absl::OkStatus();
  }

  absl::Status IndexFunctions() {
    graph_.functions.resize(def_.functions_size());
    for (int i = 0; i < def_.functions_size(); ++i) {
      const proto::FunctionDef& function = def_.functions(i);
      CheckedBody& body = graph_.functions[i];
      body.function = &function;
      std::string where = absl::StrCat("function '", function.name(), "': ");
      if (function.name().empty() || !functions_.try_emplace(View(function.name()), i).second) {
        return Error(absl::StrCat(where, "expected names that are unique and not empty"));
      }
      for (const proto::FunctionDef::Argument& argument : function.arguments()) {
        absl::StatusOr<TensorType> type = ParseType(argument.dtype(), argument.shape());
        if (!type.ok()) {
          return Error(absl::StrCat(where, type.status().message(), ", at argument '",
                                    argument.name(), "'"));
        }
        int index = static_cast<int>(body.arguments.size());
        if (!body.argument_by_name.try_emplace(View(argument.name()), index).second) {
          return Error(absl::StrCat(where,
                                    "expected argument names that are unique, got a second '",
                                    argument.name(), "'"));
        }
        body.arguments.push_back(*std::move(type));
      }
    }
    return absl::OkStatus();
  }

  absl::Status IndexNodes(const google::protobuf::RepeatedPtrField<proto::NodeDef>& nodes,
                          CheckedBody& body) {
    num_nodes_ += nodes.size();
    if (num_nodes_ > kMaxNodes) {
      return Error(absl::StrCat("expected at most ", kMaxNodes, " nodes"));
    }
    body.by_name.reserve(nodes.size());
    for (const proto::NodeDef& original : nodes) {
      const proto::NodeDef* node = &original;
      if (std::string problem = ir::NameProblem(node->name()); !problem.empty()) {
        return Error(body, *node, absl::StrCat("expected ", problem));
      }
      if (!HasTextLocations(*node)) return Error(body, *node, kTextExpected);
      const OpInfo* info = FindOp(node->op());
      if (info == nullptr || info->version != node->op_version()) {
        graph_.upgraded.push_back(*node);
        if (absl::Status s = Upgrade(&graph_.upgraded.back()); !s.ok()) {
          return Error(body, *node, s.message());
        }
        node = &graph_.upgraded.back();
        info = FindOp(node->op());
      }
      if (!IsNodeOp(*info) || node->op() != info->name) {
        return Error(body, *node, absl::StrCat("expected an op for nodes, got '", node->op(), "'"));
      }
      bool of_graph =
          info->name == "input" || info->name == "assign" || info->name == "read_variable";
      if (body.function != nullptr && of_graph) {
        return Error(body, *node, absl::StrCat("expected '", node->op(), "' in the graph itself"));
      }
      if (!body.by_name.try_emplace(View(node->name()), static_cast<int>(body.nodes.size()))
               .second) {
        return Error(body, *node, "expected names that are unique, got a second one");
      }
      CheckedNode checked;
      checked.def = node;
      checked.info = info;
      body.nodes.push_back(std::move(checked));
    }
    return absl::OkStatus();
  }

  // How many results the node has, where its own part of the file says so; -1 where it is wrong.
  int NumResults(const CheckedNode& node) const {
    if (node.info->results.empty() || !node.info->results.back().variadic) {
      return static_cast<int>(node.info->results.size());
    }
    if (node.info->name == "while") {
      for (const proto::NamedAttr& attr : node.def->attrs()) {
        if (attr.name() == "num_carried") {
          int64_t carried = attr.value().i();
          return carried >= 0 && carried <= node.def->inputs_size() ? static_cast<int>(carried)
                                                                    : -1;
        }
      }
      return -1;
    }
    return node.functions.empty() ? -1 : def_.functions(node.functions[0]).results_size();
  }

  absl::StatusOr<Reference> Resolve(const CheckedBody& body, const std::string& text) const {
    if (text.starts_with("%")) {
      std::string_view name = View(text).substr(1);
      auto it = body.argument_by_name.find(name);
      if (it != body.argument_by_name.end()) return Reference{-1, it->second};
      return Error(absl::StrCat("expected an argument of the function, got '", text, "'"));
    }
    std::string_view name = text;
    int result = 0;
    if (size_t colon = text.rfind(':'); colon != std::string::npos) {
      name = name.substr(0, colon);
      std::string_view digits = View(text).substr(colon + 1);
      bool good = !digits.empty() && digits.size() <= 7;
      for (char c : digits) {
        good &= c >= '0' && c <= '9';
        if (good) result = result * 10 + (c - '0');
      }
      if (!good) return Error(absl::StrCat("expected a reference like 'node:1', got '", text, "'"));
    }
    auto it = body.by_name.find(name);
    if (it == body.by_name.end()) {
      std::vector<std::string> names;
      for (const CheckedNode& node : body.nodes) names.push_back(node.def->name());
      return Error(
          absl::StrCat("expected the name of a node, got '", text, "'", DidYouMean(name, names)));
    }
    int count = NumResults(body.nodes[it->second]);
    if (count >= 0 && result >= count) {
      return Error(absl::StrCat("expected one of ", count, " results of '", std::string(name),
                                "', got '", text, "'"));
    }
    return Reference{it->second, result};
  }

  absl::Status CheckAttributes(CheckedBody& body, CheckedNode& node) {
    const proto::NodeDef& def = *node.def;
    std::set<std::string_view> seen;
    node.functions.assign(node.info->regions.size(), -1);
    for (const proto::NamedAttr& attr : def.attrs()) {
      if (!seen.insert(attr.name()).second) {
        return Error(body, def, absl::StrCat("expected attribute '", attr.name(), "' once"));
      }
      auto region =
          std::find(node.info->regions.begin(), node.info->regions.end(), View(attr.name()));
      if (region != node.info->regions.end()) {
        auto it = functions_.find(View(attr.value().function()));
        if (attr.value().kind_case() != proto::AttrValue::kFunction || it == functions_.end()) {
          return Error(
              body, def,
              absl::StrCat("expected attribute '", attr.name(), "' to name a function, got '",
                           attr.value().function(), "'", NearestFunction(attr)));
        }
        node.functions[region - node.info->regions.begin()] = it->second;
        continue;
      }
      if (attr.name() == ir::kRecomputeAttr) {
        if (absl::Status s = CheckRecompute(*node.info, attr.value()); !s.ok()) {
          return Error(body, def, s.message());
        }
        continue;
      }
      if (attr.name() == ir::kDeviceAttr) {
        if (absl::Status s = CheckDevice(*node.info, attr.value()); !s.ok()) {
          return Error(body, def, s.message());
        }
        continue;
      }
      const AttrInfo* info = node.info->FindAttribute(attr.name());
      if (info == nullptr) {
        std::vector<std::string> known(node.info->regions.begin(), node.info->regions.end());
        for (const AttrInfo& each : node.info->attributes) known.emplace_back(each.name);
        return Error(body, def,
                     absl::StrCat(def.op(), ": expected no attribute '", attr.name(), "'",
                                  DidYouMean(attr.name(), known)));
      }
      if (absl::Status s = CheckAttribute(*info, attr.value(), weights_); !s.ok()) {
        return Error(body, def,
                     absl::StrCat(def.op(), ": attribute '", attr.name(), "': ", s.message()));
      }
      if (node.info->name == "input" && attr.name() == "name" && attr.value().s() != def.name()) {
        return Error(body, def,
                     absl::StrCat("input: expected the node's name as attribute 'name', got '",
                                  attr.value().s(), "' (C1)"));
      }
      if (info->kind == AttrKind::kSymbol && !variables_.contains(attr.value().s())) {
        return Error(body, def,
                     absl::StrCat(def.op(), ": expected a variable of the graph, got '",
                                  attr.value().s(), "'", NearestVariable(attr.value().s())));
      }
    }
    for (const AttrInfo& info : node.info->attributes) {
      if (!info.has_default && !seen.contains(info.name)) {
        return Error(
            body, def,
            absl::StrCat(def.op(), ": expected an attribute '", std::string(info.name), "'"));
      }
    }
    for (size_t i = 0; i < node.functions.size(); ++i) {
      if (node.functions[i] < 0) {
        return Error(body, def,
                     absl::StrCat(def.op(), ": expected an attribute '",
                                  std::string(node.info->regions[i]), "'"));
      }
    }
    return absl::OkStatus();
  }

  static absl::Status CheckRecompute(const OpInfo& info, const proto::AttrValue& value) {
    if (!ir::MayRecompute(info)) {
      return Error(absl::StrCat(std::string(info.name), ": expected no attribute '",
                                ir::kRecomputeAttr, "' on an op that cannot be computed again"));
    }
    const std::optional<ir::RecomputeMark> mark = ir::ParseRecomputeMark(value.s());
    const bool is_text = value.kind_case() == proto::AttrValue::kS;
    if (is_text && mark && ir::NameProblem(mark->scope).empty()) return absl::OkStatus();
    return Error(absl::StrCat(std::string(info.name), ": attribute '", ir::kRecomputeAttr,
                              "': expected the name of a scope, or 'scope:1' for its gradient up "
                              "to 'scope:",
                              ir::kMaxRecomputeLevel, "', got ",
                              is_text ? absl::StrCat("'", value.s(), "'") : "no string"));
  }

  static absl::Status CheckDevice(const OpInfo& info, const proto::AttrValue& value) {
    if (!ir::MayPlace(info)) {
      return Error(absl::StrCat(std::string(info.name), ": expected no attribute '",
                                ir::kDeviceAttr, "' on an op that runs where its variable lives"));
    }
    const std::string problem = ir::DeviceProblem(value.s());
    const bool is_text = value.kind_case() == proto::AttrValue::kS;
    if (is_text && problem.empty()) return absl::OkStatus();
    return Error(absl::StrCat(std::string(info.name), ": attribute '", ir::kDeviceAttr,
                              "': expected ", ir::DeviceProblem(""), ", got ",
                              is_text ? absl::StrCat("'", value.s(), "'") : "no string"));
  }

  std::string NearestVariable(const std::string& name) const {
    std::vector<std::string> known;
    for (const proto::VariableDef& variable : def_.variables()) known.push_back(variable.name());
    return DidYouMean(name, known);
  }
  std::string NearestFunction(const proto::NamedAttr& attr) const {
    std::vector<std::string> known;
    for (const proto::FunctionDef& function : def_.functions()) known.push_back(function.name());
    return DidYouMean(attr.value().function(), known);
  }

  absl::Status CheckBody(CheckedBody& body) {
    for (CheckedNode& node : body.nodes) {
      absl::Status s = ir::CheckArity(*node.info, node.def->inputs_size());
      if (!s.ok()) return Error(body, *node.def, s.message());
      if (s = CheckAttributes(body, node); !s.ok()) return s;
    }
    for (CheckedNode& node : body.nodes) {
      for (const std::string& input : node.def->inputs()) {
        absl::StatusOr<Reference> reference = Resolve(body, input);
        if (!reference.ok()) return Error(body, *node.def, reference.status().message());
        node.inputs.push_back(*reference);
      }
    }
    if (body.function != nullptr) {
      for (const std::string& result : body.function->results()) {
        absl::StatusOr<Reference> reference = Resolve(body, result);
        if (!reference.ok()) {
          return Error(absl::StrCat("function '", body.function->name(),
                                    "': ", reference.status().message()));
        }
        body.results.push_back(*reference);
      }
    }
    return Order(body);
  }

  // Operands first; among the nodes that may come next, the first in the file.
  absl::Status Order(CheckedBody& body) {
    size_t count = body.nodes.size();
    std::vector<int> missing(count, 0);
    std::vector<std::vector<int>> users(count);
    for (size_t i = 0; i < count; ++i) {
      for (const Reference& input : body.nodes[i].inputs) {
        if (input.node < 0) continue;
        ++missing[i];
        users[input.node].push_back(static_cast<int>(i));
      }
    }
    std::priority_queue<int, std::vector<int>, std::greater<int>> ready;
    for (size_t i = 0; i < count; ++i) {
      if (missing[i] == 0) ready.push(static_cast<int>(i));
    }
    while (!ready.empty()) {
      int node = ready.top();
      ready.pop();
      body.order.push_back(node);
      for (int user : users[node]) {
        if (--missing[user] == 0) ready.push(user);
      }
    }
    return body.order.size() == count ? absl::OkStatus() : CycleError(body, missing);
  }

  // Follows inputs that are not ordered until a node comes again.
  absl::Status CycleError(const CheckedBody& body, const std::vector<int>& missing) const {
    std::vector<int> path, position(body.nodes.size(), -1);
    int node =
        static_cast<int>(std::find_if(missing.begin(), missing.end(), [](int m) { return m > 0; }) -
                         missing.begin());
    while (position[node] < 0) {
      position[node] = static_cast<int>(path.size());
      path.push_back(node);
      for (const Reference& input : body.nodes[node].inputs) {
        if (input.node >= 0 && missing[input.node] > 0) {
          node = input.node;
          break;
        }
      }
    }
    constexpr size_t kShown = 16;
    std::string text;
    size_t begin = position[node], length = path.size() - begin;
    for (size_t i = 0; i < std::min(length, kShown); ++i) {
      absl::StrAppend(&text, "'", body.nodes[path[begin + i]].def->name(), "' <- ");
    }
    if (length > kShown) absl::StrAppend(&text, "... ", length - kShown, " more <- ");
    absl::StrAppend(&text, "'", body.nodes[node].def->name(), "'");
    return Error(body, *body.nodes[node].def,
                 absl::StrCat("expected no cycle, got ", length, " nodes in a circle: ", text));
  }

  // No function uses itself, bodies nest not too deep, and all uses together are not too many
  // nodes. Depth-first without recursion.
  absl::Status CheckNesting() const {
    size_t count = graph_.functions.size();
    enum State { kNew, kOpen, kDone };
    std::vector<State> state(count, kNew);
    std::vector<int64_t> size(count, 0);
    std::vector<int> depth(count, 0);
    std::vector<std::vector<int>> uses(count);
    for (size_t i = 0; i < count; ++i) uses[i] = Uses(graph_.functions[i]);
    for (size_t root = 0; root < count; ++root) {
      if (state[root] != kNew) continue;
      std::vector<std::pair<int, size_t>> stack = {{static_cast<int>(root), 0}};
      state[root] = kOpen;
      while (!stack.empty()) {
        auto& [function, next] = stack.back();
        if (next < uses[function].size()) {
          int used = uses[function][next++];
          if (state[used] == kOpen) return RecursionError(stack, used);
          if (state[used] == kNew) {
            state[used] = kOpen;
            stack.emplace_back(used, 0);
          }
          continue;
        }
        int64_t nodes = static_cast<int64_t>(graph_.functions[function].nodes.size());
        for (int used : uses[function]) {
          nodes = std::min(nodes + size[used], kMaxNodes + 1);
          depth[function] = std::max(depth[function], depth[used]);
        }
        size[function] = nodes;
        if (++depth[function] >= kMaxNesting) {
          return Error(absl::StrCat("expected bodies nested at most ", kMaxNesting,
                                    " deep, got more at function '",
                                    def_.functions(function).name(), "'"));
        }
        state[function] = kDone;
        stack.pop_back();
      }
    }
    int64_t total = static_cast<int64_t>(graph_.graph.nodes.size());
    for (int used : Uses(graph_.graph)) total = std::min(total + size[used], kMaxNodes + 1);
    if (total <= kMaxNodes) return absl::OkStatus();
    return Error(absl::StrCat("expected at most ", kMaxNodes, " nodes with all uses of functions"));
  }

  static std::vector<int> Uses(const CheckedBody& body) {
    std::vector<int> uses;
    for (const CheckedNode& node : body.nodes) {
      uses.insert(uses.end(), node.functions.begin(), node.functions.end());
    }
    return uses;
  }

  absl::Status RecursionError(const std::vector<std::pair<int, size_t>>& stack, int used) const {
    std::string text;
    bool inside = false;
    for (const auto& [function, next] : stack) {
      inside |= function == used;
      if (inside) absl::StrAppend(&text, "'", def_.functions(function).name(), "' -> ");
    }
    return Error(absl::StrCat("expected no function that uses itself, got ", text, "'",
                              def_.functions(used).name(), "'"));
  }

  // Which nodes of the graph depend on an input or a variable: one pass for all initializers.
  std::vector<bool> DependsOnState() const {
    std::vector<bool> depends(graph_.graph.nodes.size(), false);
    for (int index : graph_.graph.order) {
      const CheckedNode& node = graph_.graph.nodes[index];
      bool state = node.info->name == "input" || node.info->name == "read_variable" ||
                   node.info->name == "assign";
      for (const Reference& input : node.inputs) state = state || depends[input.node];
      depends[index] = state;
    }
    return depends;
  }

  absl::Status CheckEntries() {
    std::vector<bool> depends = DependsOnState();
    for (const proto::VariableDef& variable : def_.variables()) {
      absl::StatusOr<Reference> reference = Resolve(graph_.graph, variable.initializer());
      if (!reference.ok()) {
        return Error(absl::StrCat("variable '", variable.name(),
                                  "': initializer: ", reference.status().message()));
      }
      if (depends[reference->node]) {
        return Error(absl::StrCat("variable '", variable.name(),
                                  "': expected a first value without inputs and variables, got '",
                                  variable.initializer(), "' (C3)"));
      }
      graph_.initializers.push_back(*reference);
    }
    if (def_.signatures_size() > kMaxSignatures) {
      return Error(absl::StrCat("expected at most ", kMaxSignatures, " signatures, got ",
                                def_.signatures_size()));
    }
    for (const proto::SignatureDef& signature : def_.signatures()) {
      CheckedGraph::Signature checked;
      absl::Status status;
      auto resolve = [&](const std::string& text, std::vector<Reference>& list) {
        if (!status.ok()) return;
        absl::StatusOr<Reference> reference = Resolve(graph_.graph, text);
        if (reference.ok()) {
          list.push_back(*reference);
        } else {
          status =
              Error(absl::StrCat("signature '", signature.name(), "'", SourceOf(def_, signature),
                                 ": ", reference.status().message()));
        }
      };
      for (const std::string& input : signature.inputs()) resolve(input, checked.inputs);
      for (const auto& output : signature.outputs()) resolve(output.value(), checked.outputs);
      for (const std::string& target : signature.targets()) resolve(target, checked.targets);
      if (!status.ok()) return status;
      if (!HasTextLocations(signature)) {
        return Error(absl::StrCat("signature '", signature.name(), "': ", kTextExpected));
      }
      graph_.signatures.push_back(std::move(checked));
    }
    return absl::OkStatus();
  }

  const proto::GraphDef& def_;
  const Weights& weights_;
  CheckedGraph graph_;
  std::unordered_map<std::string_view, int> functions_;
  std::unordered_set<std::string_view> variables_;
  int64_t num_nodes_ = 0;
};

}  // namespace

std::string Where(const proto::GraphDef& def, const CheckedBody& body, const proto::NodeDef& node) {
  std::string text = absl::StrCat("node '", node.name(), "'");
  if (body.function != nullptr) {
    absl::StrAppend(&text, " of function '", body.function->name(), "'");
  }
  return text + SourceOf(def, node);
}

absl::Status InOneLine(const absl::Status& status) {
  const absl::string_view message = status.message();
  return absl::Status(status.code(),
                      Printable({message.data(), message.size()}, kMaxMessageLength));
}

absl::StatusOr<CheckedGraph> Check(const proto::GraphDef& def, const Weights& weights) {
  return Checker(def, weights).Run();
}

}  // namespace weft::graph_def
