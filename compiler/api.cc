#include "compiler/api.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "compiler/check_options.h"
#include "compiler/codegen/target.h"
#include "compiler/package_builder.h"
#include "compiler/pass_runner.h"
#include "graph/ir/device.h"
#include "graph/ir/dialect.h"
#include "graph/ir/graph_impl.h"
#include "graph/ir/types.h"
#include "proto/feed.h"
#include "proto/plan.pb.h"
#include "proto/suggest.h"
#include "runtime/core/executor.h"

namespace weft {
namespace {

// Far above what anybody names, and far below the sections that a package has room for.
constexpr size_t kMaxTargets = 256;

ir::GraphOp GraphOpOf(const Graph& graph) { return llvm::cast<ir::GraphOp>(graph.impl()->graph); }

absl::StatusOr<std::vector<SignatureRequest>> Signatures(const Graph& graph,
                                                         const std::vector<std::string>& names) {
  std::vector<SignatureRequest> requests;
  for (const std::string& name : names.empty() ? SignatureNames(GraphOpOf(graph)) : names) {
    absl::StatusOr<SignatureRequest> request = FindSignature(GraphOpOf(graph), name);
    if (!request.ok()) return request.status();
    requests.push_back(*std::move(request));
  }
  return requests;
}

// Every choice of the sizes in `specialize` for the symbols that the signature's inputs have, and
// first none: the plan that serves all sizes.
std::vector<PlanToMake> PlansOf(const SignatureRequest& request,
                                const std::map<std::string, std::vector<int64_t>>& specialize) {
  std::vector<PlanToMake> plans = {{request, {}}};
  for (auto& [symbol, sizes] : specialize) {
    bool used = false;
    for (auto& [name, value] : request.inputs) {
      for (const DimExpr& dim : ir::ShapeOf(value)) {
        const std::vector<std::string> symbols = dim.Symbols();
        used |= std::find(symbols.begin(), symbols.end(), symbol) != symbols.end();
      }
    }
    if (!used) continue;
    const size_t count = plans.size();
    for (int64_t size : sizes) {
      for (size_t i = 0; i < count; ++i) {
        PlanToMake plan = plans[i];
        plan.sizes[symbol] = size;
        plans.push_back(std::move(plan));
      }
    }
  }
  return plans;
}

// A value by its name, "node" or "node:1".
absl::StatusOr<mlir::Value> ValueNamed(const Graph& graph, const std::string& name) {
  std::string node = name;
  unsigned result = 0;
  if (const size_t colon = name.rfind(':'); colon != std::string::npos) {
    node = name.substr(0, colon);
    const std::string number = name.substr(colon + 1);
    if (number.empty() || number.size() > 4 ||
        number.find_first_not_of("0123456789") != std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected a value 'node' or 'node:1', got '", name, "'"));
    }
    result = static_cast<unsigned>(std::stoi(number));
  }
  const auto& nodes = graph.impl()->nodes;
  auto found = nodes.find(node);
  if (found == nodes.end() || result >= found->second->getNumResults()) {
    std::string advice;
    if (found == nodes.end()) {
      std::vector<std::string> names;
      for (auto& [other, op] : nodes) names.push_back(other);
      std::sort(names.begin(), names.end());
      advice = DidYouMean(node, names);
    } else {
      advice = absl::StrCat(": '", node, "' has ", found->second->getNumResults(),
                            found->second->getNumResults() == 1 ? " result" : " results");
    }
    return absl::NotFoundError(absl::StrCat("there is no value '", name, "' in the graph", advice));
  }
  return found->second->getResult(result);
}

absl::StatusOr<SignatureRequest> FetchRequest(const Graph& graph, const PlanRequest& request) {
  SignatureRequest made;
  made.name = "fetch";
  for (const std::string& feed : request.feeds()) {
    absl::StatusOr<mlir::Value> value = ValueNamed(graph, feed);
    if (!value.ok()) return value.status();
    made.inputs.emplace_back(feed, *value);
  }
  for (const std::string& fetch : request.fetches()) {
    absl::StatusOr<mlir::Value> value = ValueNamed(graph, fetch);
    if (!value.ok()) return value.status();
    made.outputs.emplace_back(fetch, *value);
  }
  for (const std::string& target : request.targets()) {
    absl::StatusOr<mlir::Value> value = ValueNamed(graph, target);
    if (!value.ok()) return value.status();
    made.targets.push_back(*value);
  }
  return made;
}

// Sizes of the open dimensions, from the shapes of the feeds. What does not fit is found here as
// the runtime would find it, but before anything is compiled.
absl::StatusOr<std::map<std::string, int64_t>> SizesOf(const SignatureRequest& request,
                                                       const PlanRequest& plan) {
  std::map<std::string, int64_t> sizes;
  if (plan.shapes_size() == 0) return sizes;
  if (static_cast<size_t>(plan.shapes_size()) != request.inputs.size()) {
    return absl::InvalidArgumentError(absl::StrCat("expected ", request.inputs.size(),
                                                   " shapes of feeds, got ", plan.shapes_size()));
  }
  std::vector<FeedType> types;
  std::vector<std::vector<int64_t>> fed;
  FeedChecker checker(absl::StrCat("signature '", request.name, "'"));
  for (const auto& [name, value] : request.inputs) {
    FeedType type = {
        absl::StrCat("input '", name, "' of '", request.name, "'"), ir::DataTypeOf(value), {}};
    for (const DimExpr& dim : ir::ShapeOf(value)) type.dims.push_back(dim.Text());
    const auto& dims = plan.shapes(static_cast<int>(fed.size())).dims();
    fed.emplace_back(dims.begin(), dims.end());
    absl::Status fits = checker.Add(name, type, type.dtype, fed.back());
    if (!fits.ok()) return fits;
    types.push_back(std::move(type));
  }
  for (const auto& [symbol, size] : checker.sizes()) sizes[symbol] = size.size;
  // What is computed from them.
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const Shape shape = ir::ShapeOf(request.inputs[i].second);
    for (size_t d = 0; d < shape.size(); ++d) {
      const absl::StatusOr<int64_t> size = shape[d].Evaluate(sizes);
      if (!size.ok()) {
        return FeedMismatch(types[i], types[i].dtype, fed[i], std::string(size.status().message()));
      }
      if (*size != fed[i][d]) {
        return DimensionMismatch(types[i], types[i].dtype, fed[i], d, *size);
      }
    }
  }
  return sizes;
}

// What a planner holds. Only one request at a time looks at the graph, whose context changes then;
// compilation has a context of its own for each request.
struct PlannerState {
  PlannerState(Graph g, CompileOptions o) : graph(std::move(g)), options(std::move(o)) {}

  absl::StatusOr<std::string> Make(const PlanRequest& request) {
    absl::StatusOr<std::unique_ptr<PackageBuilder>> builder = Extract(request);
    if (!builder.ok()) return builder.status();
    return (*builder)->Build();
  }

  absl::StatusOr<std::unique_ptr<PackageBuilder>> Extract(const PlanRequest& request) {
    const std::lock_guard<std::mutex> lock(mutex);
    const ir::GraphOp op = GraphOpOf(graph);
    const bool by_name = request.fetches_size() > 0 || request.targets_size() > 0;
    if (!by_name && request.signature().empty()) {
      absl::StatusOr<std::vector<SignatureRequest>> all = Signatures(graph, options.signatures);
      if (!all.ok()) return all.status();
      return PackageBuilder::Extract(op, {}, *all, options);
    }
    absl::StatusOr<SignatureRequest> wanted =
        by_name ? FetchRequest(graph, request) : FindSignature(op, request.signature());
    if (!wanted.ok()) return wanted.status();
    absl::StatusOr<std::map<std::string, int64_t>> sizes = SizesOf(*wanted, request);
    if (!sizes.ok()) return sizes.status();
    return PackageBuilder::Extract(op, {{*wanted, *sizes}}, {*wanted}, options);
  }

  std::mutex mutex;  // of the graph
  Graph graph;
  CompileOptions options;
};

absl::StatusOr<std::vector<PlanToMake>> AllPlans(const Graph& graph,
                                                 const CompileOptions& options) {
  absl::Status valid = graph.status();
  if (valid.ok()) valid = CheckOptions(options);
  if (!valid.ok()) return valid;
  absl::StatusOr<std::vector<SignatureRequest>> signatures = Signatures(graph, options.signatures);
  if (!signatures.ok()) return signatures.status();
  if (signatures->empty()) {
    return absl::InvalidArgumentError(
        "the graph has no signature to compile; declare one with AddSignature");
  }
  std::vector<PlanToMake> plans;
  for (const SignatureRequest& request : *signatures) {
    for (PlanToMake& plan : PlansOf(request, options.specialize)) plans.push_back(std::move(plan));
  }
  return plans;
}

}  // namespace

absl::Status CheckOptions(const CompileOptions& options) {
  if (options.targets.empty()) {
    return absl::InvalidArgumentError("expected a target, got none; \"cpu:native\" is one");
  }
  if (options.targets.size() > kMaxTargets) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected at most ", kMaxTargets, " targets, got ", options.targets.size()));
  }
  std::set<std::string> names;
  bool has_tf32 = false;
  for (const std::string& name : options.targets) {
    absl::StatusOr<Target> target = Target::Parse(name);
    if (!target.ok()) return target.status();
    has_tf32 |= target->HasTf32();
    if (!names.insert(name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected each target once, got '", name, "' twice; name it once"));
    }
  }
  for (const auto& [device, name] : options.device_targets) {
    if (std::string problem = ir::DeviceProblem(device); !problem.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("target '", name, "': expected ", problem, ", got '", device, "'"));
    }
    if (name.empty()) continue;
    absl::StatusOr<Target> target = Target::Parse(name);
    if (!target.ok()) return target.status();
    has_tf32 |= target->HasTf32();
  }
  if (options.matmul_precision == MatmulPrecision::kTf32 && !has_tf32) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a target that has tf32, such as cuda:sm_80 or later, for a matmul precision of "
        "tf32, got ",
        absl::StrJoin(options.targets, ", "), "; leave it at f32 there"));
  }
  if (options.memory_budget < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a memory_budget that is not negative, got ", options.memory_budget));
  }
  if (options.memory_budget_threads < 1 || options.memory_budget_threads > WEFT_MAX_THREADS) {
    return absl::InvalidArgumentError(absl::StrCat("expected a memory_budget_threads of 1 to ",
                                                   WEFT_MAX_THREADS, ", got ",
                                                   options.memory_budget_threads));
  }
  for (auto& [symbol, sizes] : options.specialize) {
    for (int64_t size : sizes) {
      if (size < 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("expected sizes of '", symbol, "' that are not negative, got ", size));
      }
    }
  }
  return CheckDisabledPasses(options);
}

absl::StatusOr<std::string> CompilePackage(const Graph& graph, const CompileOptions& options) {
  absl::StatusOr<std::vector<PlanToMake>> plans = AllPlans(graph, options);
  if (!plans.ok()) return plans.status();
  absl::StatusOr<std::vector<SignatureRequest>> signatures = Signatures(graph, options.signatures);
  if (!signatures.ok()) return signatures.status();
  absl::StatusOr<std::unique_ptr<PackageBuilder>> builder =
      PackageBuilder::Extract(GraphOpOf(graph), *plans, *signatures, options);
  if (!builder.ok()) return builder.status();
  return (*builder)->Build();
}

absl::StatusOr<Planner> MakePlanner(const Graph& graph, CompileOptions options) {
  absl::Status valid = graph.status();
  if (valid.ok()) valid = CheckOptions(options);
  if (!valid.ok()) return valid;
  absl::StatusOr<Graph> copy = graph.Clone();
  if (!copy.ok()) return copy.status();
  auto state = std::make_shared<PlannerState>(*std::move(copy), std::move(options));
  return Planner([state](const PlanRequest& request) { return state->Make(request); });
}

absl::StatusOr<std::string> CompileToText(const Graph& graph, const CompileOptions& options,
                                          const std::string& stage) {
  absl::StatusOr<std::vector<PlanToMake>> plans = AllPlans(graph, options);
  if (!plans.ok()) return plans.status();
  absl::StatusOr<std::unique_ptr<PackageBuilder>> builder =
      PackageBuilder::Extract(GraphOpOf(graph), *plans, {}, options);
  if (!builder.ok()) return builder.status();
  return (*builder)->BuildText(stage);
}

}  // namespace weft
