// Everything a model author needs. Start here: a graph is declared with graph/graph.h, by hand from
// ops or with the layers, losses and optimizers below, which are functions over the same ops.
#ifndef WEFT_GRAPH_API_H_
#define WEFT_GRAPH_API_H_

#include "graph/graph.h"
#include "graph/layers/functions.h"
#include "graph/layers/initializers.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"
#include "graph/optimizers/schedules.h"

#endif  // WEFT_GRAPH_API_H_
