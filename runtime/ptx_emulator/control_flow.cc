#include "runtime/ptx_emulator/control_flow.h"

#include <algorithm>
#include <vector>

namespace weft::ptx {
namespace {

struct BasicBlock {
  int first = 0;
  int last = 0;  // included
  std::vector<int> successors;
};

// Cooper, Harvey and Kennedy's algorithm on the reversed graph. Node `blocks.size()` is the end of
// the thread. A block from which no path ends has no post-dominator (-1).
std::vector<int> ImmediatePostDominators(const std::vector<BasicBlock>& blocks) {
  const int count = static_cast<int>(blocks.size());
  const int end = count;
  std::vector<std::vector<int>> predecessors(count + 1);
  for (int b = 0; b < count; ++b) {
    for (int s : blocks[b].successors) predecessors[s].push_back(b);
  }
  // Post-order of the reversed graph from the end, without recursion.
  std::vector<int> order;
  std::vector<int> number(count + 1, -1);
  std::vector<bool> seen(count + 1, false);
  std::vector<std::pair<int, size_t>> stack = {{end, 0}};
  seen[end] = true;
  while (!stack.empty()) {
    const int node = stack.back().first;
    if (stack.back().second < predecessors[node].size()) {
      const int next = predecessors[node][stack.back().second++];
      if (!seen[next]) {
        seen[next] = true;
        stack.push_back({next, 0});
      }
      continue;
    }
    number[node] = static_cast<int>(order.size());
    order.push_back(node);
    stack.pop_back();
  }
  std::vector<int> dominator(count + 1, -1);
  dominator[end] = end;
  const auto intersect = [&](int a, int b) {
    while (a != b) {
      while (number[a] < number[b]) a = dominator[a];
      while (number[b] < number[a]) b = dominator[b];
    }
    return a;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (auto node = order.rbegin(); node != order.rend(); ++node) {
      if (*node == end) continue;
      int found = -1;
      for (int successor : blocks[*node].successors) {
        if (dominator[successor] < 0) continue;
        found = found < 0 ? successor : intersect(successor, found);
      }
      if (found != dominator[*node]) {
        dominator[*node] = found;
        changed = true;
      }
    }
  }
  return dominator;
}

}  // namespace

void AnalyzeControlFlow(Kernel& kernel) {
  std::vector<Instruction>& code = kernel.instructions;
  const int count = static_cast<int>(code.size());
  std::vector<bool> leader(count + 1, false);
  leader[0] = true;
  for (int i = 0; i < count; ++i) {
    const Instruction& instruction = code[i];
    if (instruction.control == Control::kBranch) leader[instruction.target] = true;
    if (instruction.control == Control::kBranchTable) {
      for (int target : kernel.tables[instruction.target]) leader[target] = true;
    }
    if (instruction.control != Control::kNone && instruction.control != Control::kBarrier)
      leader[i + 1] = true;
  }
  std::vector<BasicBlock> blocks;
  std::vector<int> block_of(count + 1, 0);
  for (int i = 0; i < count; ++i) {
    if (leader[i]) blocks.push_back({i, i, {}});
    blocks.back().last = i;
    block_of[i] = static_cast<int>(blocks.size()) - 1;
  }
  const int end = static_cast<int>(blocks.size());
  for (BasicBlock& block : blocks) {
    Instruction& last = code[block.last];
    last.ends_block = true;
    const bool falls_through =
        last.control == Control::kNone || last.control == Control::kBarrier || last.has_guard;
    if (falls_through)
      block.successors.push_back(block.last + 1 < count ? block_of[block.last + 1] : end);
    if (last.control == Control::kBranch) block.successors.push_back(block_of[last.target]);
    if (last.control == Control::kBranchTable) {
      for (int target : kernel.tables[last.target]) block.successors.push_back(block_of[target]);
    }
    // Nothing goes on behind a trap: it is no path on which lanes fail to meet.
    if (last.control == Control::kExit) block.successors.push_back(end);
    std::sort(block.successors.begin(), block.successors.end());
    block.successors.erase(std::unique(block.successors.begin(), block.successors.end()),
                           block.successors.end());
  }
  const std::vector<int> dominators = ImmediatePostDominators(blocks);
  for (size_t b = 0; b < blocks.size(); ++b) {
    const int dominator = dominators[b];
    code[blocks[b].last].reconvergence =
        dominator < 0 || dominator == end ? -1 : blocks[dominator].first;
  }
}

}  // namespace weft::ptx
