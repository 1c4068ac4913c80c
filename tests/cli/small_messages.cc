// Linked into a program, it lowers what a message has room for: what holds of graphs above 2 GiB is
// seen with small ones.
#include "graph/graph_def/format.h"

namespace {

[[maybe_unused]] const bool lowered = [] {
  weft::graph_def::max_message_bytes = 256 << 10;
  return true;
}();

}  // namespace
