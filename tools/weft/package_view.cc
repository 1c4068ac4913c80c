#include "tools/weft/package_view.h"

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/container.h"
#include "proto/dtype.h"
#include "proto/file.h"
#include "proto/plan.pb.h"
#include "proto/printable.h"
#include "proto/suggest.h"
#include "runtime/cpu_features.h"
#include "runtime/package.h"
#include "runtime/session.h"
#include "tools/common/exit_code.h"
#include "tools/common/json_text.h"
#include "tools/common/memory.h"
#include "tools/common/sizes.h"

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

// Formulas share parts, so that a short list of them can stand for a text without end.
constexpr size_t kMaxFormulaText = 400;
constexpr int kMaxFormulaDepth = 12;

void AppendFormula(const Plan& plan, uint32_t index, int depth, std::string& text) {
  if (text.size() > kMaxFormulaText) return;
  if (index >= static_cast<uint32_t>(plan.formulas_size()) || depth > kMaxFormulaDepth) {
    text += "...";
    return;
  }
  const Formula& f = plan.formulas(static_cast<int>(index));
  const auto binary = [&](const char* before, const char* between, const char* after) {
    text += before;
    AppendFormula(plan, f.a(), depth + 1, text);
    text += between;
    AppendFormula(plan, f.b(), depth + 1, text);
    text += after;
  };
  switch (f.op()) {
    case Formula::CONSTANT:
      return absl::StrAppend(&text, f.value());
    case Formula::SYMBOL:
      if (f.a() >= static_cast<uint32_t>(plan.symbols_size())) {
        text += "?";
      } else {
        text += plan.symbols(static_cast<int>(f.a())).substr(0, kMaxFormulaText + 1);
      }
      return;
    case Formula::ADD:
      return binary("(", " + ", ")");
    case Formula::SUB:
      return binary("(", " - ", ")");
    case Formula::MUL:
      return binary("", "*", "");
    case Formula::FLOOR_DIV:
      return binary("floor(", " / ", ")");
    case Formula::CEIL_DIV:
      return binary("ceil(", " / ", ")");
    case Formula::MOD:
      return binary("mod(", ", ", ")");
    case Formula::MAX:
      return binary("max(", ", ", ")");
    case Formula::MIN:
      return binary("min(", ", ", ")");
    default:
      text += "?";
  }
}

// Cut where it is long.
std::string FormulaText(const Plan& plan, uint32_t index) {
  std::string text;
  AppendFormula(plan, index, 0, text);
  if (text.size() > kMaxFormulaText) text.replace(kMaxFormulaText, std::string::npos, "...");
  return text;
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

json PlanOf(const Plan& plan, bool steps) {
  json entry = {
      {"signature", plan.signature()},
      {"kernels", plan.kernels_size()},
      {"symbols", std::vector<std::string>(plan.symbols().begin(), plan.symbols().end())}};
  int number = 0, arena = 0;
  for (const Block& block : plan.blocks()) number += block.steps_size();
  entry["num_steps"] = number;
  if (steps) entry["steps"] = StepsOf(plan);
  for (const Buffer& buffer : plan.buffers()) arena += buffer.space() == Buffer::ARENA;
  entry["arena_buffers"] = arena;
  for (const auto& [symbol, size] : plan.specialization()) entry["specialization"][symbol] = size;
  return entry;
}

json Describe(const Container& container, const PackageManifest& manifest,
              const PackageViewOptions& options) {
  json package = {{"name", manifest.name()},
                  {"producer", manifest.producer_name()},
                  {"version", manifest.version()},
                  {"bytes", container.bytes()->view().size()}};
  for (const std::string& name : container.Names()) {
    absl::StatusOr<std::string_view> section = container.Section(name, /*verify=*/false);
    package["sections"].push_back({{"name", name}, {"bytes", section.ok() ? section->size() : 0}});
  }
  const auto shown = [&](const std::string& signature) {
    return options.signature.empty() || signature == options.signature;
  };
  for (const PackageSignature& signature : manifest.signatures()) {
    if (!shown(signature.name())) continue;
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
    for (const Plan& plan : target.plans()) {
      if (shown(plan.signature())) plans.push_back(PlanOf(plan, options.json || options.steps));
    }
    json devices = json::array();
    for (const TargetPlans& device : target.devices()) {
      devices.push_back({{"device", device.device()},
                         {"target", device.target()},
                         {"machine_code", device.machine_code_section()},
                         {"node", device.node()},
                         {"source", device.location()}});
    }
    package["targets"].push_back({{"target", target.target()},
                                  {"machine_code", target.machine_code_section()},
                                  {"devices", devices},
                                  {"plans", plans}});
  }
  return package;
}

// All signatures, whether or not there is code of theirs for this machine.
std::vector<Session::SignatureInfo> SignaturesOf(const PackageManifest& manifest) {
  const auto values_of = [](const google::protobuf::RepeatedPtrField<PackageValue>& values) {
    std::vector<Session::ValueInfo> list;
    for (const PackageValue& value : values) {
      const DataType dtype =
          IsDataType(value.dtype()) ? static_cast<DataType>(value.dtype()) : DataType::kInvalid;
      list.push_back({value.name(), dtype, {value.shape().begin(), value.shape().end()}});
    }
    return list;
  };
  std::vector<Session::SignatureInfo> signatures;
  for (const PackageSignature& signature : manifest.signatures()) {
    signatures.push_back(
        {signature.name(), values_of(signature.inputs()), values_of(signature.outputs())});
  }
  return signatures;
}

// Bytes at the peak of a call.
absl::StatusOr<int64_t> PeakBytes(Session& session, const Session::SignatureInfo& signature,
                                  const std::map<std::string, int64_t>& sizes) {
  absl::StatusOr<std::vector<std::vector<int64_t>>> shapes = ShapesAt(signature, sizes);
  if (!shapes.ok()) return shapes.status();
  absl::StatusOr<std::unique_ptr<Call>> call = session.Prepare(signature.name, *shapes);
  if (!call.ok()) return call.status();
  return (*call)->peak_bytes();
}

// Those to look into the package with.
SessionOptions SessionFor(const PackageViewOptions& options) {
  SessionOptions session = options.session;
  if (session.threads <= 0) session.threads = NumCores();
  // That a device is not there, whatever the reason, is no fault of the package.
  if (session.find_device != nullptr) {
    session.find_device = [find = options.session.find_device](const std::string& name) {
      absl::StatusOr<std::shared_ptr<Device>> device = find(name);
      if (device.ok()) return device;
      return absl::StatusOr<std::shared_ptr<Device>>(
          absl::FailedPreconditionError(device.status().message()));
    };
  }
  return session;
}

// What each signature needs on the session's devices, of so many threads. Where a size
// that was asked for cannot be, that is an error; where it is one that was taken for granted, the
// signature is shown with the reason.
absl::Status AddMemory(Session& session, const std::vector<Session::SignatureInfo>& signatures,
                       const std::map<std::string, int64_t>& sizes, int threads, json& package) {
  for (json& entry : package["signatures"]) {
    for (const Session::SignatureInfo& signature : signatures) {
      if (entry["name"] != signature.name) continue;
      std::vector<std::string> at;
      bool asked = false;
      for (const std::string& symbol : OpenDimensions({signature})) {
        const auto size = sizes.find(symbol);
        asked |= size != sizes.end();
        at.push_back(absl::StrCat(symbol, "=", size == sizes.end() ? 1 : size->second));
      }
      const std::string text = absl::StrJoin(at, ", ");
      const absl::StatusOr<int64_t> bytes = PeakBytes(session, signature, sizes);
      if (bytes.ok()) {
        entry["memory"] = {{"bytes", *bytes}, {"sizes", text}, {"threads", threads}};
      } else if (asked) {
        return Reworded(bytes.status(), absl::StrCat("signature '", signature.name, "' at ", text,
                                                     ": ", bytes.status().message()));
      } else {
        entry["memory"] = {{"error", std::string(bytes.status().message())}, {"sizes", text}};
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSignature(const std::string& signature, const PackageManifest& manifest) {
  if (signature.empty()) return absl::OkStatus();
  std::vector<std::string> names;
  for (const PackageSignature& each : manifest.signatures()) names.push_back(each.name());
  if (std::count(names.begin(), names.end(), signature)) return absl::OkStatus();
  return UsageError(
      absl::StrCat("there is no signature '", signature, "'", Suggestion(signature, names)));
}

// Text of the package in one line: a name cannot look like a line of what is shown.
std::string Text(const json& text) { return Printable(text.get<std::string>()); }

std::string Line(const char* kind, const json& values) {
  std::string text;
  for (const json& value : values) {
    absl::StrAppend(&text, "  ", kind, " ", Text(value["name"]), " ", Text(value["type"]), "\n");
  }
  return text;
}

std::string TextOf(const json& package, bool steps) {
  std::string text = absl::StrCat("package ", Text(package["name"]), ", ",
                                  ByteText(package["bytes"].get<double>()), ", made by ",
                                  Text(package["producer"]), "\n");
  for (const json& signature : package.value("signatures", json::array())) {
    absl::StrAppend(&text, "\nsignature ", Text(signature["name"]), "\n",
                    Line("in  ", signature["inputs"]), Line("out ", signature["outputs"]));
    if (const auto memory = signature.find("memory"); memory != signature.end()) {
      const std::string sizes = Text((*memory)["sizes"]);
      const std::string at = sizes.empty() ? "" : absl::StrCat(" at ", sizes);
      if (memory->contains("bytes")) {
        const int threads = (*memory)["threads"].get<int>();
        absl::StrAppend(&text, "  memory ", ByteText((*memory)["bytes"].get<double>()),
                        " of arena and scratch with ", threads, " thread", threads == 1 ? "" : "s",
                        at, "\n");
      } else {
        absl::StrAppend(&text, "  memory unknown", at, ": ", Text((*memory)["error"]), "\n");
      }
    }
  }
  if (const auto memory = package.find("memory"); memory != package.end()) {
    absl::StrAppend(&text, "\nmemory unknown: ", Text((*memory)["error"]), "\n");
  }
  if (!package["variables"].empty()) absl::StrAppend(&text, "\nvariables\n");
  for (const json& variable : package["variables"]) {
    absl::StrAppend(&text, "  ", Text(variable["name"]), " ", Text(variable["type"]),
                    variable["has_value"].get<bool>() ? "" : " (no value)", "\n");
  }
  absl::StrAppend(&text, "\nsections\n");
  for (const json& section : package.value("sections", json::array())) {
    absl::StrAppend(&text, "  ", Text(section["name"]), " ",
                    ByteText(section["bytes"].get<double>()), "\n");
  }
  for (const json& target : package.value("targets", json::array())) {
    const auto code_of = [](const json& of) {
      const bool has_machine_code = !Text(of["machine_code"]).empty();
      return absl::StrCat(Text(of["target"]),
                          has_machine_code ? ", with machine code beside PTX" : "", "\n");
    };
    absl::StrAppend(&text, "\ntarget ", code_of(target));
    for (const json& device : target["devices"]) {
      absl::StrAppend(&text, "  ", Text(device["device"]), ": ", code_of(device));
    }
    for (const json& plan : target["plans"]) {
      absl::StrAppend(&text, "  plan ", Text(plan["signature"]));
      if (plan.contains("specialization")) {
        absl::StrAppend(&text, " for ", JsonText(plan["specialization"]));
      }
      absl::StrAppend(&text, ": ", plan["num_steps"].get<int>(), " steps, ",
                      plan["kernels"].get<int>(), " kernels, ", plan["arena_buffers"].get<int>(),
                      " buffers in the arena\n");
      if (!steps) continue;
      for (const json& step : plan["steps"]) {
        absl::StrAppend(&text, "    ", Text(step["label"]));
        if (step.contains("flops")) {
          absl::StrAppend(&text, "  flops ", Text(step["flops"]), "  bytes ", Text(step["bytes"]));
        }
        absl::StrAppend(&text, "  ", Text(step["source"]), "\n");
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
  PackageManifest manifest;
  if (absl::Status read = ReadManifest(*container, &manifest); !read.ok()) return AsBadInput(read);
  // The others are checked as they are read, which tells a damaged file.
  for (const std::string& name : container->Names()) {
    absl::StatusOr<std::string_view> other = container->Section(name);
    if (!other.ok()) return AsBadInput(other.status());
  }
  // What is shown is verified, unless the package is for other devices or a later runtime, or a
  // device refuses it: such a one is shown without what it needs here.
  const SessionOptions session_options = SessionFor(options);
  absl::StatusOr<std::unique_ptr<Session>> session = Session::Load(path, session_options);
  if (!session.ok() && !absl::IsFailedPrecondition(session.status()) &&
      ExitCodeOf(OfFile(session.status())) == kBadInput) {
    return AsBadInput(session.status());
  }
  absl::Status status = CheckSignature(options.signature, manifest);
  if (!status.ok()) return status;
  const std::vector<Session::SignatureInfo> signatures = SignaturesOf(manifest);
  absl::StatusOr<std::map<std::string, int64_t>> sizes =
      ParseSingleSizes(options.sizes, OpenDimensions(signatures));
  if (!sizes.ok()) return sizes.status();
  json package = Describe(*container, manifest, options);
  if (session.ok()) {
    status = AddMemory(**session, signatures, *sizes, session_options.threads, package);
    if (!status.ok()) return status;
  } else {
    package["memory"] = {{"error", std::string(session.status().message())}};
  }
  if (options.json) return JsonText(package, 1) + "\n";
  return TextOf(package, options.steps);
}

}  // namespace weft::cli
