#include "tools/weft/model.h"

#include <sys/resource.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "compiler/api.h"
#include "proto/container.h"
#include "proto/file.h"
#include "proto/npy.h"
#include "proto/safetensors.h"
#include "tools/common/suggest.h"
#include "tools/weft/command.h"

namespace weft::cli {
namespace {

absl::Status NamingFile(const absl::Status& status, const std::string& path) {
  if (status.ok() || absl::StrContains(status.message(), path)) return status;
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

absl::StatusOr<HostTensor> ScalarOf(const std::string& text, DataType dtype) {
  double number = 0;
  if (!absl::SimpleAtod(text, &number)) {
    return UsageError(absl::StrCat("expected NAME=FILE.npy or NAME=NUMBER, got '", text, "'"));
  }
  absl::StatusOr<HostTensor> scalar = HostTensor::Create(dtype, {});
  if (!scalar.ok()) return scalar;
  WithType(dtype, [&](auto type) {
    using T = decltype(type);
    *static_cast<T*>(scalar->mutable_data()) = static_cast<T>(static_cast<float>(number));
    if constexpr (std::is_same_v<T, double> || std::is_same_v<T, int64_t> ||
                  std::is_same_v<T, int32_t>) {
      *static_cast<T*>(scalar->mutable_data()) = static_cast<T>(number);
    }
  });
  return scalar;
}

}  // namespace

absl::StatusOr<bool> IsPackage(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(path);
  if (!bytes.ok()) return AsBadInput(bytes.status());
  if ((*bytes)->view().substr(0, 8) != "WEFTFILE") return false;
  absl::StatusOr<Container> container = Container::Open(*bytes);
  if (!container.ok()) return AsBadInput(NamingFile(container.status(), path));
  return container->Has("manifest");
}

absl::StatusOr<Graph> LoadGraph(const std::string& path) {
  absl::StatusOr<Graph> graph = Graph::Load(path);
  if (!graph.ok()) return AsBadInput(NamingFile(graph.status(), path));
  return graph;
}

absl::StatusOr<std::unique_ptr<Session>> SessionOf(const Graph& graph, const OpenOptions& options) {
  CompileOptions compile;
  compile.disabled_passes = options.disabled_passes;
  absl::StatusOr<Planner> planner = MakePlanner(graph, compile);
  if (!planner.ok()) return planner.status();
  SessionOptions session;
  session.threads = options.threads;
  return Session::WithPlanner(*std::move(planner), session);
}

absl::StatusOr<Model> OpenModel(const std::string& path, const OpenOptions& options) {
  Model model;
  model.path = path;
  absl::StatusOr<bool> package = IsPackage(path);
  if (!package.ok()) return package.status();
  absl::StatusOr<std::unique_ptr<Session>> session;
  if (*package) {
    SessionOptions session_options;
    session_options.threads = options.threads;
    session = Session::Load(path, session_options);
    if (!session.ok()) return AsBadInput(NamingFile(session.status(), path));
  } else {
    absl::StatusOr<Graph> graph = LoadGraph(path);
    if (!graph.ok()) return graph.status();
    session = SessionOf(*graph, options);
    if (!session.ok()) return NamingFile(session.status(), path);
    model.graph = *std::move(graph);
  }
  model.session = *std::move(session);
  if (!options.checkpoint.empty()) {
    auto restored = model.session->RestoreCheckpoint(options.checkpoint);
    if (!restored.ok()) return AsBadInput(NamingFile(restored.status(), options.checkpoint));
  }
  return model;
}

absl::StatusOr<Session::SignatureInfo> FindSignature(const Session& session,
                                                     const std::string& name) {
  const std::vector<Session::SignatureInfo> signatures = session.Signatures();
  std::vector<std::string> names, besides_init;
  for (const Session::SignatureInfo& signature : signatures) {
    names.push_back(signature.name);
    if (signature.name != "init") besides_init.push_back(signature.name);
  }
  std::string wanted = name;
  if (wanted.empty()) {
    if (std::count(names.begin(), names.end(), "predict")) {
      wanted = "predict";
    } else if (besides_init.size() == 1) {
      wanted = besides_init[0];
    } else {
      return UsageError(
          absl::StrCat("--signature is needed: there is ", absl::StrJoin(names, ", ")));
    }
  }
  for (const Session::SignatureInfo& signature : signatures) {
    if (signature.name == wanted) return signature;
  }
  return UsageError(
      absl::StrCat("there is no signature '", wanted, "'", Suggestion(wanted, names)));
}

absl::StatusOr<NamedTensors> ReadFeeds(const std::vector<std::string>& feeds,
                                       const std::vector<Session::ValueInfo>& inputs) {
  NamedTensors tensors;
  for (const std::string& feed : feeds) {
    const size_t equals = feed.find('=');
    if (equals == std::string::npos) {
      auto all = LoadNpz(feed);
      if (!all.ok()) return AsBadInput(all.status());
      for (auto& [name, tensor] : *all) tensors[name] = std::move(tensor);
      continue;
    }
    const std::string name = feed.substr(0, equals), value = feed.substr(equals + 1);
    absl::StatusOr<HostTensor> tensor;
    if (absl::EndsWith(value, ".npy")) {
      tensor = LoadNpy(value);
      if (!tensor.ok()) return AsBadInput(tensor.status());
    } else {
      DataType dtype = DataType::kF32;
      for (const Session::ValueInfo& input : inputs) {
        if (input.name == name) dtype = input.dtype;
      }
      tensor = ScalarOf(value, dtype);
      if (!tensor.ok()) return tensor.status();
    }
    tensors[name] = *std::move(tensor);
  }
  std::vector<std::string> names;
  for (const Session::ValueInfo& input : inputs) names.push_back(input.name);
  if (inputs.empty()) return tensors;
  for (const auto& [name, tensor] : tensors) {
    if (!std::count(names.begin(), names.end(), name)) {
      return UsageError(absl::StrCat("there is no input '", name, "'", Suggestion(name, names)));
    }
  }
  for (const Session::ValueInfo& input : inputs) {
    if (!tensors.count(input.name)) {
      return UsageError(absl::StrCat("input '", input.name, "' (", TypeText(input),
                                     ") is not fed; --feed ", input.name, "=FILE.npy"));
    }
  }
  return tensors;
}

absl::StatusOr<NamedTensors> ReadVariables(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(path);
  if (!bytes.ok()) return AsBadInput(bytes.status());
  absl::StatusOr<Safetensors> file = ReadSafetensors((*bytes)->view(), *bytes);
  if (!file.ok()) return AsBadInput(NamingFile(file.status(), path));
  return std::move(file->tensors);
}

absl::StatusOr<std::map<std::string, std::vector<int64_t>>> ParseSizes(
    const std::vector<std::string>& sizes) {
  std::map<std::string, std::vector<int64_t>> parsed;
  for (const std::string& size : sizes) {
    const std::vector<std::string> parts = absl::StrSplit(size, '=');
    const auto error = UsageError(
        absl::StrCat("expected a dimension and sizes such as batch=1,32, got '", size, "'"));
    if (parts.size() != 2 || parts[0].empty()) return error;
    for (const absl::string_view number : absl::StrSplit(parts[1], ',')) {
      int64_t value = 0;
      if (!absl::SimpleAtoi(number, &value) || value < 0) return error;
      parsed[parts[0]].push_back(value);
    }
  }
  return parsed;
}

std::string TypeText(const Session::ValueInfo& value) {
  return absl::StrCat(std::string(NameOf(value.dtype)), "[", absl::StrJoin(value.dims, ", "), "]");
}

int64_t PeakResidentBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

std::string ByteText(double bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.*f %s", unit == 0 || bytes >= 100 ? 0 : 1, bytes, kUnits[unit]);
}

}  // namespace weft::cli
