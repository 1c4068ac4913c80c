// Graphs that load are compiled, for a GPU as well, and run with small inputs: no graph makes the
// compiler crash or hang, whatever is in it, and every package that it writes opens.
#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/clock.h"
#include "compiler/api.h"
#include "graph/graph.h"
#include "proto/graph.pb.h"
#include "runtime/session.h"
#include "tests/fuzz/mutate.h"

namespace {

constexpr int64_t kMaxNodes = 100;
constexpr int64_t kMaxMemory = int64_t{1} << 22;
constexpr absl::Duration kTimeLimit = absl::Seconds(1);
// Of the processor's time, for a graph of kMaxNodes: a thousand times what most take.
constexpr double kMaxCompileSeconds = 20;

void Run(weft::Session& session) {
  for (const weft::Session::SignatureInfo& signature : session.Signatures()) {
    weft::NamedTensors feeds;
    for (const weft::Session::ValueInfo& input : signature.inputs) {
      std::vector<int64_t> shape;
      for (const std::string& dim : input.dims) {
        // Open dimensions are 3.
        shape.push_back(!dim.empty() && dim[0] >= '0' && dim[0] <= '9' ? atoll(dim.c_str()) : 3);
      }
      const absl::StatusOr<int64_t> elements = weft::CheckedNumElements(shape);
      if (!elements.ok() || *elements > kMaxMemory / 8) return;
      feeds[input.name] = *weft::HostTensor::Create(input.dtype, shape);
    }
    weft::RunOptions options;
    options.deadline = absl::Now() + kTimeLimit;
    (void)session.Run(signature.name, feeds, options);
  }
}

}  // namespace

const std::string_view weft::fuzz::kMessageSection = "";

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  google::protobuf::LogSilencer silencer;
  weft::GraphDef def;
  if (!def.ParseFromArray(data, static_cast<int>(size))) return 0;
  absl::StatusOr<weft::Graph> graph = weft::Graph::FromGraphDef(def);
  if (!graph.ok() || graph->NumNodes() > kMaxNodes) return 0;
  weft::CompileOptions options;
  options.threads = 1;
  const std::clock_t begin = std::clock();
  const absl::StatusOr<std::string> package = weft::CompilePackage(*graph, options);
  // For GPUs it may be refused, and what is not is no less than text.
  options.targets = {"cuda:sm_80"};
  (void)weft::CompileToText(*graph, options, "asm");
  if (static_cast<double>(std::clock() - begin) > kMaxCompileSeconds * CLOCKS_PER_SEC) abort();
  if (!package.ok()) return 0;
  weft::SessionOptions session_options;
  session_options.threads = 1;
  session_options.max_memory_bytes = kMaxMemory;
  auto session = weft::Session::FromPackage(*package, session_options);
  if (!session.ok()) abort();
  Run(**session);
  return 0;
}
