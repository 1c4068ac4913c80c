// The text form of graphs.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "graph/graph.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  absl::StatusOr<weft::Graph> graph =
      weft::Graph::FromText(std::string_view(reinterpret_cast<const char*>(data), size));
  if (graph.ok() && !graph->ToText().ok()) abort();
  return 0;
}
