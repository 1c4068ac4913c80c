#include "tools/weft/model.h"

#include <sys/resource.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "compiler/api.h"
#include "proto/container.h"
#include "proto/file.h"
#include "proto/safetensors.h"
#include "tools/weft/command.h"

namespace weft::cli {
namespace {

absl::Status NamingFile(const absl::Status& status, const std::string& path) {
  if (status.ok() || absl::StrContains(status.message(), path)) return status;
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
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
