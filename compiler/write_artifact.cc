#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "compiler/aot/artifact.h"
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
  absl::StatusOr<std::string> package = CompilePackage(graph, options);
  if (!package.ok()) return package.status();
  absl::StatusOr<Container> container = Container::Open(Bytes::Of(*package));
  if (!container.ok()) return container.status();
  return WritePackageArtifact(*container, KindOf(artifact), path);
}

}  // namespace weft
