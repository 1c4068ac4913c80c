#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "compiler/aot/artifact.h"
#include "compiler/aot/package_model.h"
#include "compiler/api.h"
#include "proto/container.h"
#include "proto/file.h"

namespace weft {
namespace {

ArtifactKind KindOf(Artifact artifact) {
  switch (artifact) {
    case Artifact::kObject:
      return ArtifactKind::kObject;
    case Artifact::kShared:
      return ArtifactKind::kShared;
    case Artifact::kExecutable:
      break;
  }
  return ArtifactKind::kExecutable;
}

// Before anything is compiled, and before somebody is told to give such a device a target. What
// nodes some of the signatures have is not known here.
absl::Status CheckDevices(const Graph& graph, const CompileOptions& options) {
  if (options.ignore_devices || !options.signatures.empty()) return absl::OkStatus();
  for (const auto& [device, node] : graph.Devices()) {
    const auto given = options.device_targets.find(device);
    const bool is_main =
        given == options.device_targets.end() ? device == "cpu" : given->second.empty();
    if (!is_main) return PlacedElsewhere(node, device);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteArtifact(const Graph& graph, const CompileOptions& options, Artifact artifact,
                           const std::string& path) {
  for (const std::string& target : options.targets) {
    if (!absl::StartsWith(target, "cuda:")) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("expected targets that are processors, such as cpu:x86-64-v3, for an object, "
                     "shared object or executable, got ",
                     target, "; a package holds code for GPUs"));
  }
  if (absl::Status status = CheckDevices(graph, options); !status.ok()) return status;
  absl::StatusOr<std::string> package = CompilePackage(graph, options);
  if (!package.ok()) return package.status();
  absl::StatusOr<Container> container = Container::Open(Bytes::Of(*package));
  if (!container.ok()) return container.status();
  return WritePackageArtifact(*container, KindOf(artifact), path);
}

}  // namespace weft
