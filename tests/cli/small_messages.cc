// Linked into a program, it lowers what a message has room for: what holds of graphs above 2 GiB is
// seen with small ones.
#include "graph/graph_def/format.h"

namespace weft::graph_def {

// In the place of the library's, which is weak.
const size_t kMaxMessageBytes = 256 << 10;

}  // namespace weft::graph_def
