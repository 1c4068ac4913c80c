#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "compiler/aot/artifact.h"
#include "compiler/aot/package_model.h"
#include "compiler/api.h"
#include "compiler/passes/place.h"
#include "compiler/passes/signature.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/graph_impl.h"
#include "graph/ir/types.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
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

// Before anything is compiled, and before somebody is told to give such a device a target. Nodes
// that no signature needs may be anywhere.
absl::Status CheckDevices(const Graph& graph, const CompileOptions& options) {
  if (options.ignore_devices || !graph.status().ok() || graph.Devices().empty()) {
    return absl::OkStatus();
  }
  const auto op = llvm::cast<ir::GraphOp>(graph.impl()->graph);
  op->getContext()->loadDialect<plan::PlanDialect, mlir::func::FuncDialect>();
  absl::Status checked;
  for (const std::string& name :
       options.signatures.empty() ? SignatureNames(op) : options.signatures) {
    const absl::StatusOr<SignatureRequest> request = FindSignature(op, name);
    if (!request.ok()) return request.status();
    const mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(op->getLoc());
    const absl::StatusOr<mlir::func::FuncOp> function = ExtractSignature(op, *request, *module);
    if (!function.ok()) return function.status();
    FindDevices(*function, [&](std::string_view device, mlir::Location location) {
      const auto given = options.device_targets.find(std::string(device));
      const bool is_main =
          given == options.device_targets.end() ? device == "cpu" : given->second.empty();
      if (is_main) return;
      checked.Update(PlacedElsewhere(ir::Describe(location), std::string(device)));
    });
  }
  return checked;
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
