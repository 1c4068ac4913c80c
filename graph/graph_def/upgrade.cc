#include "graph/graph_def/upgrade.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "graph/ops/op_info.h"

namespace weft::graph_def {

absl::Status Upgrade(proto::NodeDef* node, absl::Span<const Upgrader> upgraders) {
  // Each step raises the version or changes the op; the bound stops a table that goes in circles.
  for (int step = 0; step < 1000; ++step) {
    const OpInfo* info = FindOp(node->op());
    if (info != nullptr && node->op_version() == info->version) return absl::OkStatus();
    const Upgrader* found = nullptr;
    for (const Upgrader& upgrader : upgraders) {
      if (node->op() == upgrader.op && node->op_version() == upgrader.from) found = &upgrader;
    }
    if (found != nullptr) {
      found->upgrade(node);
      continue;
    }
    if (info == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected a known op, got '", node->op(), "'", NearestOp(node->op())));
    }
    if (node->op_version() > info->version) {
      return absl::InvalidArgumentError(absl::StrCat("expected op '", node->op(), "' of version ",
                                                     info->version, " or older, got ",
                                                     node->op_version(), "; use a newer Weft"));
    }
    break;
  }
  return absl::InvalidArgumentError(absl::StrCat("expected a version of op '", node->op(),
                                                 "' that can be read, got ", node->op_version()));
}

absl::Status Upgrade(proto::NodeDef* node) {
  // No op has changed yet.
  static constexpr absl::Span<const Upgrader> kUpgraders;
  return Upgrade(node, kUpgraders);
}

}  // namespace weft::graph_def
