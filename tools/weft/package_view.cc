#include "tools/weft/package_view.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/container.h"
#include "proto/dtype.h"
#include "proto/file.h"
#include "proto/plan.pb.h"
#include "proto/suggest.h"
#include "tools/common/json_text.h"
#include "tools/common/memory.h"
#include "tools/weft/command.h"
#include "tools/weft/model.h"

namespace weft::cli {
namespace {

using nlohmann::json;

std::string DTypeText(int dtype) {
  return IsDataType(dtype) ? std::string(NameOf(static_cast<DataType>(dtype))) : "invalid";
}

json ValuesOf(const google::protobuf::RepeatedPtrField<PackageValue>& values) {
  json list = json::array();
  for (const PackageValue& value : values) {
    list.push_back({{"name", value.name()},
                    {"type", absl::StrCat(DTypeText(value.dtype()), "[",
                                          absl::StrJoin(value.shape(), ", "), "]")}});
  }
  return list;
}

// A formula as text. `depth` bounds what a malicious file could make of it.
std::string FormulaText(const Plan& plan, uint32_t index, int depth = 0) {
  if (index >= static_cast<uint32_t>(plan.formulas_size()) || depth > 12) return "...";
  const Formula& f = plan.formulas(static_cast<int>(index));
  auto part = [&](uint32_t i) { return FormulaText(plan, i, depth + 1); };
  switch (f.op()) {
    case Formula::CONSTANT:
      return absl::StrCat(f.value());
    case Formula::SYMBOL:
      return f.a() < static_cast<uint32_t>(plan.symbols_size())
                 ? plan.symbols(static_cast<int>(f.a()))
                 : "?";
    case Formula::ADD:
      return absl::StrCat("(", part(f.a()), " + ", part(f.b()), ")");
    case Formula::SUB:
      return absl::StrCat("(", part(f.a()), " - ", part(f.b()), ")");
    case Formula::MUL:
      return absl::StrCat(part(f.a()), "*", part(f.b()));
    case Formula::FLOOR_DIV:
      return absl::StrCat("floor(", part(f.a()), " / ", part(f.b()), ")");
    case Formula::CEIL_DIV:
      return absl::StrCat("ceil(", part(f.a()), " / ", part(f.b()), ")");
    case Formula::MOD:
      return absl::StrCat("mod(", part(f.a()), ", ", part(f.b()), ")");
    case Formula::MAX:
      return absl::StrCat("max(", part(f.a()), ", ", part(f.b()), ")");
    case Formula::MIN:
      return absl::StrCat("min(", part(f.a()), ", ", part(f.b()), ")");
    default:
      return "?";
  }
}

json StepsOf(const Plan& plan) {
  json steps = json::array();
  for (const Block& block : plan.blocks()) {
    for (const Step& step : block.steps()) {
      json entry = {{"label", step.label()},
                    {"nodes", std::vector<std::string>(step.nodes().begin(), step.nodes().end())},
                    {"source", step.location()}};
      if (step.has_launch()) {
        entry["tiles"] = FormulaText(plan, step.launch().tiles());
        entry["flops"] = FormulaText(plan, step.launch().flops());
        entry["bytes"] = FormulaText(plan, step.launch().bytes());
      }
      steps.push_back(std::move(entry));
    }
  }
  return steps;
}

json PlanOf(const Plan& plan) {
  json entry = {
      {"signature", plan.signature()},
      {"kernels", plan.kernels_size()},
      {"steps", StepsOf(plan)},
      {"symbols", std::vector<std::string>(plan.symbols().begin(), plan.symbols().end())}};
  int arena = 0;
  for (const Buffer& buffer : plan.buffers()) arena += buffer.space() == Buffer::ARENA;
  entry["arena_buffers"] = arena;
  for (const auto& [symbol, size] : plan.specialization()) entry["specialization"][symbol] = size;
  return entry;
}

json Describe(const Container& container, const PackageManifest& manifest) {
  json package = {{"name", manifest.name()},
                  {"producer", manifest.producer_name()},
                  {"version", manifest.version()},
                  {"bytes", container.bytes()->view().size()}};
  for (const std::string& name : container.Names()) {
    absl::StatusOr<std::string_view> section = container.Section(name, /*verify=*/false);
    package["sections"].push_back({{"name", name}, {"bytes", section.ok() ? section->size() : 0}});
  }
  for (const PackageSignature& signature : manifest.signatures()) {
    package["signatures"].push_back({{"name", signature.name()},
                                     {"inputs", ValuesOf(signature.inputs())},
                                     {"outputs", ValuesOf(signature.outputs())}});
  }
  package["variables"] = json::array();
  for (const PackageVariable& variable : manifest.variables()) {
    package["variables"].push_back(
        {{"name", variable.name()},
         {"type", absl::StrCat(DTypeText(variable.dtype()), "[",
                               absl::StrJoin(variable.shape(), ", "), "]")},
         {"has_value", variable.has_value()}});
  }
  for (const TargetPlans& target : manifest.targets()) {
    json plans = json::array();
    for (const Plan& plan : target.plans()) plans.push_back(PlanOf(plan));
    package["targets"].push_back({{"target", target.target()}, {"plans", plans}});
  }
  return package;
}

// What each signature needs on this machine. A package that cannot run here is shown without.
absl::Status AddMemory(const std::string& path, const std::vector<std::string>& size_options,
                       json& package) {
  absl::StatusOr<std::unique_ptr<Session>> session = Session::Load(path);
  if (!session.ok()) return absl::OkStatus();
  const std::vector<Session::SignatureInfo> signatures = (*session)->Signatures();
  absl::StatusOr<std::map<std::string, int64_t>> sizes =
      ParseSingleSizes(size_options, OpenDimensions(signatures));
  if (!sizes.ok()) return sizes.status();
  for (json& entry : package["signatures"]) {
    for (const Session::SignatureInfo& signature : signatures) {
      if (entry["name"] != signature.name) continue;
      absl::StatusOr<std::vector<std::vector<int64_t>>> shapes = ShapesAt(signature, *sizes);
      if (!shapes.ok()) return shapes.status();
      absl::StatusOr<std::unique_ptr<Call>> call = (*session)->Prepare(signature.name, *shapes);
      if (!call.ok()) continue;
      std::vector<std::string> at;
      for (const std::string& symbol : OpenDimensions({signature})) {
        const auto size = sizes->find(symbol);
        at.push_back(absl::StrCat(symbol, "=", size == sizes->end() ? 1 : size->second));
      }
      entry["memory"] = {{"bytes", (*call)->peak_bytes()}, {"sizes", absl::StrJoin(at, ", ")}};
    }
  }
  return absl::OkStatus();
}

// Leaves what belongs to one signature.
absl::Status Restrict(const std::string& signature, json& package) {
  std::vector<std::string> names;
  json kept = json::array();
  for (json& entry : package["signatures"]) {
    names.push_back(entry["name"]);
    if (entry["name"] == signature) kept.push_back(entry);
  }
  if (kept.empty()) {
    return UsageError(
        absl::StrCat("there is no signature '", signature, "'", Suggestion(signature, names)));
  }
  package["signatures"] = kept;
  for (json& target : package["targets"]) {
    json plans = json::array();
    for (json& plan : target["plans"]) {
      if (plan["signature"] == signature) plans.push_back(plan);
    }
    target["plans"] = plans;
  }
  return absl::OkStatus();
}

std::string Line(const char* kind, const json& values) {
  std::string text;
  for (const json& value : values) {
    absl::StrAppend(&text, "  ", kind, " ", value["name"].get<std::string>(), " ",
                    value["type"].get<std::string>(), "\n");
  }
  return text;
}

std::string TextOf(const json& package, bool steps) {
  std::string text = absl::StrCat("package ", package["name"].get<std::string>(), ", ",
                                  ByteText(package["bytes"].get<double>()), ", made by ",
                                  package["producer"].get<std::string>(), "\n");
  for (const json& signature : package.value("signatures", json::array())) {
    absl::StrAppend(&text, "\nsignature ", signature["name"].get<std::string>(), "\n",
                    Line("in  ", signature["inputs"]), Line("out ", signature["outputs"]));
    if (const auto memory = signature.find("memory"); memory != signature.end()) {
      const std::string at = (*memory)["sizes"];
      absl::StrAppend(&text, "  memory ", ByteText((*memory)["bytes"].get<double>()),
                      " of arena and scratch", at.empty() ? "" : " at ", at, "\n");
    }
  }
  if (!package["variables"].empty()) absl::StrAppend(&text, "\nvariables\n");
  for (const json& variable : package["variables"]) {
    absl::StrAppend(&text, "  ", variable["name"].get<std::string>(), " ",
                    variable["type"].get<std::string>(),
                    variable["has_value"].get<bool>() ? "" : " (no value)", "\n");
  }
  absl::StrAppend(&text, "\nsections\n");
  for (const json& section : package.value("sections", json::array())) {
    absl::StrAppend(&text, "  ", section["name"].get<std::string>(), " ",
                    ByteText(section["bytes"].get<double>()), "\n");
  }
  for (const json& target : package.value("targets", json::array())) {
    absl::StrAppend(&text, "\ntarget ", target["target"].get<std::string>(), "\n");
    for (const json& plan : target["plans"]) {
      absl::StrAppend(&text, "  plan ", plan["signature"].get<std::string>());
      if (plan.contains("specialization")) {
        absl::StrAppend(&text, " for ", plan["specialization"].dump());
      }
      absl::StrAppend(&text, ": ", plan["steps"].size(), " steps, ", plan["kernels"].get<int>(),
                      " kernels, ", plan["arena_buffers"].get<int>(), " buffers in the arena\n");
      if (!steps) continue;
      for (const json& step : plan["steps"]) {
        absl::StrAppend(&text, "    ", step["label"].get<std::string>());
        if (step.contains("flops")) {
          absl::StrAppend(&text, "  flops ", step["flops"].get<std::string>(), "  bytes ",
                          step["bytes"].get<std::string>());
        }
        absl::StrAppend(&text, "  ", step["source"].get<std::string>(), "\n");
      }
    }
  }
  return text;
}

}  // namespace

absl::StatusOr<std::string> PackageText(const std::string& path,
                                        const PackageViewOptions& options) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(path);
  if (!bytes.ok()) return AsBadInput(bytes.status());
  absl::StatusOr<Container> container = Container::Open(*bytes);
  if (!container.ok()) return AsBadInput(container.status());
  absl::StatusOr<std::string_view> section = container->Section("manifest");
  if (!section.ok()) return AsBadInput(section.status());
  // The others are checked as they are read, which tells a damaged file.
  for (const std::string& name : container->Names()) {
    absl::StatusOr<std::string_view> other = container->Section(name);
    if (!other.ok()) return AsBadInput(other.status());
  }
  PackageManifest manifest;
  if (!manifest.ParseFromArray(section->data(), static_cast<int>(section->size()))) {
    return AsBadInput(absl::InvalidArgumentError(absl::StrCat(path, ": the manifest is damaged")));
  }
  json package = Describe(*container, manifest);
  absl::Status status = AddMemory(path, options.sizes, package);
  if (status.ok() && !options.signature.empty()) status = Restrict(options.signature, package);
  if (!status.ok()) return status;
  if (options.json) return JsonText(package, 1) + "\n";
  return TextOf(package, options.steps);
}

}  // namespace weft::cli
