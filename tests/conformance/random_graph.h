// Random graphs: compositions that nobody thought of, for comparing one way to run a graph with
// another.
#ifndef WEFT_TESTS_CONFORMANCE_RANDOM_GRAPH_H_
#define WEFT_TESTS_CONFORMANCE_RANDOM_GRAPH_H_

#include <cstdint>

#include "graph/graph.h"
#include "graph/interpreter.h"

namespace weft {

struct RandomGraph {
  Graph graph;
  TensorMap feeds;
};

// A graph of about `num_nodes` ops in f32 with the signature "run", whose outputs are some of its
// values, and "gradient", the gradients of their sum for the inputs. The same seed gives the same
// graph. Values stay within a few units, and no op jumps, so that small errors stay small. With
// `open`, the leading dimension is open.
RandomGraph MakeRandomGraph(uint64_t seed, int num_nodes, bool open);

}  // namespace weft

#endif  // WEFT_TESTS_CONFORMANCE_RANDOM_GRAPH_H_
