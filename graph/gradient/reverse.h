// Reverse accumulation within one body: the core of Gradients(), which the gradients of control
// flow call again inside the bodies they make.
#ifndef WEFT_GRAPH_GRADIENT_REVERSE_H_
#define WEFT_GRAPH_GRADIENT_REVERSE_H_

#include <vector>

#include "graph/graph.h"
#include "graph/ir/graph_impl.h"

namespace weft {

// The gradient of sum_i ys[i] . dys[i] for each x, as new nodes at the end of the body under
// construction, which all ys must be made in or captured by; xs may come from outside. ys, dys and
// xs are floats; dys[i] has the type of ys[i]. A result is invalid where ys does not depend on that
// x, or after an error, which goes to the graph. Nodes get the line `call`, then those of the
// forward node.
std::vector<Tensor> Backpropagate(ir::GraphImpl* graph, const std::vector<Tensor>& ys,
                                  const std::vector<Tensor>& dys, const std::vector<Tensor>& xs,
                                  const ir::SourceLine& call);

}  // namespace weft

#endif  // WEFT_GRAPH_GRADIENT_REVERSE_H_
