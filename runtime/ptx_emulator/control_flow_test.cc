#include "runtime/ptx_emulator/control_flow.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"

// Where lanes meet again, against the definition.
namespace weft::ptx {
namespace {

// The next instructions; the number of instructions is the end of the thread.
std::vector<std::vector<int>> Successors(const Kernel& kernel) {
  const int end = static_cast<int>(kernel.instructions.size());
  std::vector<std::vector<int>> successors(end);
  for (int i = 0; i < end; ++i) {
    const Instruction& instruction = kernel.instructions[i];
    if (instruction.control == Control::kNone || instruction.has_guard)
      successors[i].push_back(i + 1);
    if (instruction.control == Control::kBranch) successors[i].push_back(instruction.target);
    if (instruction.control == Control::kExit) successors[i].push_back(end);
    if (instruction.control == Control::kBranchTable) {
      for (int target : kernel.tables[instruction.target]) successors[i].push_back(target);
    }
  }
  return successors;
}

// Which instructions reach the end by a path that does not go through `without`.
std::vector<bool> ReachEnd(const std::vector<std::vector<int>>& successors, int without) {
  const int end = static_cast<int>(successors.size());
  std::vector<bool> reaches(end + 1, false);
  reaches[end] = true;
  for (bool changed = true; changed;) {
    changed = false;
    for (int i = 0; i < end; ++i) {
      if (reaches[i] || i == without) continue;
      for (int next : successors[i]) {
        if (next != without && reaches[next]) reaches[i] = changed = true;
      }
    }
  }
  return reaches;
}

TEST(ControlFlow, MeetsWhereAllPathsDo) {
  std::mt19937 random(1);
  const auto below = [&](int n) { return static_cast<int>(random() % n); };
  int with_tables = 0, met = 0;
  for (int round = 0; round < 400; ++round) {
    const int count = 2 + below(24);
    Kernel kernel;
    for (int t = 0; t < 2; ++t) {
      std::vector<int>& table = kernel.tables.emplace_back();
      for (int i = below(4) + 1; i > 0; --i) table.push_back(below(count));
    }
    kernel.instructions.resize(count);
    for (Instruction& instruction : kernel.instructions) {
      constexpr Control kControls[] = {Control::kNone,   Control::kBranch, Control::kBranch,
                                       Control::kBranch, Control::kExit,   Control::kBranchTable};
      instruction.control = kControls[below(6)];
      instruction.has_guard = below(3) > 0;
      if (instruction.control == Control::kBranch) instruction.target = below(count);
      if (instruction.control == Control::kBranchTable) instruction.target = below(2);
    }
    kernel.instructions.back().control = Control::kExit;
    kernel.instructions.back().has_guard = false;
    AnalyzeControlFlow(kernel);
    const std::vector<std::vector<int>> successors = Successors(kernel);
    const std::vector<bool> ends = ReachEnd(successors, -1);
    std::vector<std::vector<bool>> reach;
    for (int i = 0; i < count; ++i) reach.push_back(ReachEnd(successors, i));
    const auto on_all_paths = [&](int of, int node) { return of != node && !reach[node][of]; };
    for (int i = 0; i < count; ++i) {
      if (!kernel.instructions[i].ends_block) continue;
      int expected = -1;
      for (int node = 0; ends[i] && node < count; ++node) {
        if (!on_all_paths(i, node)) continue;
        // The first: every other comes behind it.
        bool first = true;
        for (int other = 0; other < count; ++other) {
          if (other != node && on_all_paths(i, other)) first &= on_all_paths(node, other);
        }
        if (first) expected = node;
      }
      EXPECT_EQ(kernel.instructions[i].reconvergence, expected) << "round " << round << ", " << i;
      met += expected >= 0 ? 1 : 0;
      with_tables += kernel.instructions[i].control == Control::kBranchTable ? 1 : 0;
    }
  }
  EXPECT_GT(with_tables, 100);
  EXPECT_GT(met, 100);
}

}  // namespace
}  // namespace weft::ptx
