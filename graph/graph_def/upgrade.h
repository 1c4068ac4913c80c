// Old nodes in the words of today's ops.
#ifndef WEFT_GRAPH_GRAPH_DEF_UPGRADE_H_
#define WEFT_GRAPH_GRAPH_DEF_UPGRADE_H_

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "proto/graph.pb.h"

namespace weft::graph_def {

// Turns a node of `op` at version `from` into one of a later version (or of another op). A change
// of an op's meaning raises its version in the op table and adds a line to kUpgraders in
// upgrade.cc.
struct Upgrader {
  const char* op;
  int from;
  void (*upgrade)(proto::NodeDef* node);  // sets op_version, and the op where it is another
};

// Upgrades the node step by step to the version in the op table. Error: an unknown op (with the
// nearest name), a version newer than this program knows, or one for which there is no upgrader.
absl::Status Upgrade(proto::NodeDef* node, absl::Span<const Upgrader> upgraders);
absl::Status Upgrade(proto::NodeDef* node);

}  // namespace weft::graph_def

#endif  // WEFT_GRAPH_GRAPH_DEF_UPGRADE_H_
