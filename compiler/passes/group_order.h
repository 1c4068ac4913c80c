// A topological order of groups of nodes that is kept while groups merge, so that looking for a
// cycle takes a look at what lies between two groups and no more.
#ifndef WEFT_COMPILER_PASSES_GROUP_ORDER_H_
#define WEFT_COMPILER_PASSES_GROUP_ORDER_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "llvm/ADT/DenseSet.h"

namespace weft {

// Nodes are 0, 1, ...; at first each is a group of that name. Edges between groups never form a
// cycle.
class GroupOrder {
 public:
  // Edges lead from smaller numbers to larger ones.
  GroupOrder(int num_nodes, const std::vector<std::pair<int, int>>& edges);

  int GroupOf(int node) const { return group_of_[static_cast<size_t>(node)]; }
  // Whether a path from one of two groups to the other leads through a third, so that merging them
  // would make a cycle. Says so as well where finding out would take too long.
  bool AreApart(int a, int b);
  // Merges `from` into `into`. They must not be apart.
  void Merge(int into, int from);

 private:
  // One of the two directions of a search: what it has reached, and the next edge to look at.
  struct Front {
    int from = 0, to = 0;
    bool forward = true;
    std::vector<int> reached = {};  // without `from`
    llvm::DenseSet<int> seen = {};
    size_t group = 0;  // 0 is `from`, i is reached[i - 1]
    size_t member = 0, edge = 0;
  };
  enum class Step { kMore, kEnd, kFound };
  // What follows one edge.
  Step Advance(Front& front, const Front& other);
  struct Found {
    bool apart = false;
    // Where they are not: all between the two that one of them leads to, or that leads to it.
    bool forward = false;
    std::vector<int> between = {};
  };
  Found Search(int first, int last);

  bool Before(int a, int b) const {
    return label_[static_cast<size_t>(a)] < label_[static_cast<size_t>(b)];
  }
  // The order is a ring of groups and an end, with labels that grow from behind the end to it.
  int End() const { return static_cast<int>(label_.size()) - 1; }
  void Unlink(int group);
  // Takes the first of so many parts of the labels that are free there.
  void LinkAfter(int place, int group, uint64_t parts);
  // Makes room for labels around a group.
  void Spread(int place);

  // Edges of nodes, those of node i from begin[i] on.
  struct Edges {
    std::vector<int64_t> begin;
    std::vector<int> to;
  };
  static Edges MakeEdges(int num_nodes, const std::vector<std::pair<int, int>>& edges,
                         bool forward);

  Edges successors_, predecessors_;
  std::vector<int> group_of_;
  std::vector<std::vector<int>> members_;
  std::vector<int> next_, previous_;
  std::vector<uint64_t> label_;
  // Groups of which the first is known to lead to the second, whatever is merged; and those of
  // which nobody knows.
  llvm::DenseSet<std::pair<int, int>> leads_to_, unknown_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_GROUP_ORDER_H_
