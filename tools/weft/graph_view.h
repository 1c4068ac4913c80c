// A graph as people look at it: shapes, source lines, what each node costs.
#ifndef WEFT_TOOLS_WEFT_GRAPH_VIEW_H_
#define WEFT_TOOLS_WEFT_GRAPH_VIEW_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "tools/report/page.h"

namespace weft::cli {

// Ops of families that compute, which only move data themselves.
const std::set<std::string>& OpsThatMoveData();

// Floating-point operations of one node, told from its op and shapes: two for each multiply-add of
// a contraction, one per element and step of everything that computes, none for what only moves
// data. An estimate: the compiler may compute less.
DimExpr FlopsOf(const std::string& op, const std::vector<Shape>& operands,
                const std::vector<Shape>& results, const std::map<std::string, std::string>& attrs);

// Costs and bytes are at the sizes given; open dimensions without one count as 1. Bodies of control
// flow are named in the attributes and not taken apart.
absl::StatusOr<GraphView> ViewOf(const Graph& graph, const std::map<std::string, int64_t>& sizes);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_GRAPH_VIEW_H_
