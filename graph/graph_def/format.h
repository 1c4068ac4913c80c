// The version of the graph format, its limits, and what export and import agree on.
#ifndef WEFT_GRAPH_GRAPH_DEF_FORMAT_H_
#define WEFT_GRAPH_GRAPH_DEF_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "graph/ir/graph_impl.h"
#include "proto/graph.pb.h"
#include "proto/host_tensor.h"

namespace weft::graph_def {

// Raised when the format changes: what this code writes, and the oldest reader that can read it.
// Files of each version are in tests/compat.
// Version 1. Changes: nodes and variables may have a device (readers from before refuse such
// nodes).
inline constexpr int kVersion = 1;
inline constexpr int kMinConsumer = 1;
inline constexpr char kProducerName[] = "weft 0.1";

// Limits on what is read, so that a file cannot ask for unbounded work.
inline constexpr int64_t kMaxNodes = 2'000'000;  // counting a body once for each of its uses
inline constexpr int kMaxNesting = 64;           // bodies within bodies
inline constexpr int kMaxSignatures = 256;
inline constexpr int64_t kMaxConstantBytes = int64_t{1} << 48;

// Constants with more bytes than this go into the safetensors section of a file.
inline constexpr int64_t kInlineBytes = 1024;

// What a message has room for, by protobuf's own limit. A program may be linked with a definition
// of its own.
extern const size_t kMaxMessageBytes;

using Weights = std::map<std::string, HostTensor>;

// The wire form. Where `weights` is given, large constants go there, by the name of their node
// (with that of the body around it), and the graph refers to them.
absl::StatusOr<proto::GraphDef> Export(ir::GraphImpl& graph, Weights* weights = nullptr);

// The graph, or InvalidArgument naming the node and what is wrong. Everything is checked before
// anything is built.
absl::StatusOr<std::unique_ptr<ir::GraphImpl>> Import(const proto::GraphDef& def,
                                                      const Weights& weights = {});

}  // namespace weft::graph_def

#endif  // WEFT_GRAPH_GRAPH_DEF_FORMAT_H_
