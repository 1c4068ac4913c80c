// The gradient functions that the table gives as rules.
#include "graph/graph.h"
#include "graph/ops/gradient.h"

namespace weft {

#include "graph/ops/gradient_rules.inc"

}  // namespace weft
