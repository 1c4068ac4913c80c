#include "runtime/ptx_emulator/control_flow.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace weft::ptx {
namespace {

struct BasicBlock {
  int first = 0;
  int last = 0;  // included
};

// Edges from the nodes 0 to `nodes` - 1.
using Graph = std::vector<std::vector<int>>;

// The immediate post-dominator of each node: the first that is on all paths from it to the node
// `end`, which is its own; -1 for nodes from which no path ends. Lengauer and Tarjan's algorithm on
// the reversed graph, with path compression: nearly linear, whatever the graph.
class PostDominators {
 public:
  PostDominators(const Graph& successors, int end)
      : successors_(successors), number_(successors.size(), -1) {
    Number(end);
    const int count = static_cast<int>(nodes_.size());
    semi_.resize(count);
    label_.resize(count);
    ancestor_.assign(count, -1);
    std::vector<int> dominator(count, 0);
    // Of which node a node is the semi-dominator: lists.
    std::vector<int> bucket(count, -1), next(count, -1);
    for (int v = 0; v < count; ++v) semi_[v] = label_[v] = v;
    for (int v = count - 1; v > 0; --v) {
      for (int successor : successors_[nodes_[v]]) {
        if (number_[successor] >= 0)
          semi_[v] = std::min(semi_[v], semi_[Evaluate(number_[successor])]);
      }
      next[v] = std::exchange(bucket[semi_[v]], v);
      ancestor_[v] = parent_[v];
      for (int u = std::exchange(bucket[parent_[v]], -1); u >= 0; u = next[u]) {
        const int least = Evaluate(u);
        dominator[u] = semi_[least] < semi_[u] ? least : parent_[v];
      }
    }
    result_.assign(successors.size(), -1);
    result_[end] = end;
    for (int v = 1; v < count; ++v) {
      if (dominator[v] != semi_[v]) dominator[v] = dominator[dominator[v]];
      result_[nodes_[v]] = nodes_[dominator[v]];
    }
  }

  int of(int node) const { return result_[node]; }

 private:
  // Numbers the nodes from which `end` can be reached in the order of a search in depth.
  void Number(int end) {
    Graph predecessors(successors_.size());
    for (size_t node = 0; node < successors_.size(); ++node) {
      for (int successor : successors_[node])
        predecessors[successor].push_back(static_cast<int>(node));
    }
    std::vector<std::pair<int, size_t>> stack;
    const auto enter = [&](int node, int parent) {
      number_[node] = static_cast<int>(nodes_.size());
      nodes_.push_back(node);
      parent_.push_back(parent);
      stack.push_back({node, 0});
    };
    enter(end, -1);
    while (!stack.empty()) {
      auto& [node, edge] = stack.back();
      if (edge == predecessors[node].size()) {
        stack.pop_back();
        continue;
      }
      const int parent = number_[node];
      const int found = predecessors[node][edge++];
      if (number_[found] < 0) enter(found, parent);
    }
  }

  // The node with the least semi-dominator on the path from `v` up to the root of its tree, which
  // does not count; paths become short on the way.
  int Evaluate(int v) {
    if (ancestor_[v] < 0) return v;
    for (int u = v; ancestor_[ancestor_[u]] >= 0; u = ancestor_[u]) path_.push_back(u);
    for (; !path_.empty(); path_.pop_back()) {
      const int u = path_.back();
      const int above = ancestor_[u];
      if (semi_[label_[above]] < semi_[label_[u]]) label_[u] = label_[above];
      ancestor_[u] = ancestor_[above];
    }
    return label_[v];
  }

  const Graph& successors_;
  std::vector<int> number_;  // by node
  std::vector<int> nodes_;   // by number, as all that follow
  std::vector<int> parent_;  // in the tree of the search
  std::vector<int> semi_, label_;
  std::vector<int> ancestor_;  // in the forest of nodes that are done; -1: a root
  std::vector<int> path_;
  std::vector<int> result_;  // by node
};

}  // namespace

void AnalyzeControlFlow(Kernel& kernel) {
  std::vector<Instruction>& code = kernel.instructions;
  const int count = static_cast<int>(code.size());
  std::vector<bool> leader(count + 1, false);
  leader[0] = true;
  for (const std::vector<int>& table : kernel.tables) {
    for (int target : table) leader[target] = true;
  }
  for (int i = 0; i < count; ++i) {
    const Instruction& instruction = code[i];
    if (instruction.control == Control::kBranch) leader[instruction.target] = true;
    if (instruction.control != Control::kNone && instruction.control != Control::kBarrier)
      leader[i + 1] = true;
  }
  std::vector<BasicBlock> blocks;
  std::vector<int> block_of(count + 1, 0);
  for (int i = 0; i < count; ++i) {
    if (leader[i]) blocks.push_back({i, i});
    blocks.back().last = i;
    block_of[i] = static_cast<int>(blocks.size()) - 1;
  }
  // The nodes are the blocks, the end of the thread, and the tables: a table's targets are edges
  // once, however many branches take it.
  const int end = static_cast<int>(blocks.size());
  const int first_table = end + 1;
  Graph successors(blocks.size() + 1 + kernel.tables.size());
  for (int b = 0; b < end; ++b) {
    Instruction& last = code[blocks[b].last];
    last.ends_block = true;
    const bool falls_through =
        last.control == Control::kNone || last.control == Control::kBarrier || last.has_guard;
    if (falls_through)
      successors[b].push_back(blocks[b].last + 1 < count ? block_of[blocks[b].last + 1] : end);
    if (last.control == Control::kBranch) successors[b].push_back(block_of[last.target]);
    if (last.control == Control::kBranchTable) successors[b].push_back(first_table + last.target);
    // Nothing goes on behind a trap: it is no path on which lanes fail to meet.
    if (last.control == Control::kExit) successors[b].push_back(end);
  }
  for (size_t t = 0; t < kernel.tables.size(); ++t) {
    for (int target : kernel.tables[t]) successors[first_table + t].push_back(block_of[target]);
  }
  const PostDominators dominators(successors, end);
  for (int b = 0; b < end; ++b) {
    int dominator = dominators.of(b);
    while (dominator > end) dominator = dominators.of(dominator);
    code[blocks[b].last].reconvergence =
        dominator < 0 || dominator == end ? -1 : blocks[dominator].first;
  }
}

}  // namespace weft::ptx
