#include "compiler/passes/group_order.h"

#include <random>
#include <set>

#include "gtest/gtest.h"

namespace weft {
namespace {

using Edges = std::vector<std::pair<int, int>>;

// Whether a path leads from one group to the other through a third, found the long way.
bool LeadsThroughOthers(const GroupOrder& order, const Edges& edges, int from, int to) {
  std::set<int> reached;
  std::vector<int> open = {from};
  while (!open.empty()) {
    const int group = open.back();
    open.pop_back();
    for (const auto& [a, b] : edges) {
      const int next = order.GroupOf(b);
      if (order.GroupOf(a) != group || next == group) continue;
      if (next == to) {
        if (group != from) return true;
        continue;
      }
      if (reached.insert(next).second) open.push_back(next);
    }
  }
  return false;
}

TEST(GroupOrder, RandomGraphs) {
  std::mt19937 random(7);
  int merges = 0, refusals = 0;
  for (int round = 0; round < 200; ++round) {
    const int n = 2 + static_cast<int>(random() % 30),
              density = 1 + static_cast<int>(random() % 10);
    Edges edges;
    for (int i = 0; i < n; ++i) {
      for (int j = i + 1; j < n; ++j) {
        if (static_cast<int>(random() % 20) < density) edges.emplace_back(i, j);
      }
    }
    GroupOrder order(n, edges);
    for (int attempt = 0; attempt < 4 * n; ++attempt) {
      const int a = order.GroupOf(static_cast<int>(random() % static_cast<unsigned>(n)));
      const int b = order.GroupOf(static_cast<int>(random() % static_cast<unsigned>(n)));
      if (a == b) continue;
      const bool apart =
          LeadsThroughOthers(order, edges, a, b) || LeadsThroughOthers(order, edges, b, a);
      ASSERT_EQ(order.AreApart(a, b), apart) << "round " << round << ": " << a << ", " << b;
      ++(apart ? refusals : merges);
      if (!apart) order.Merge(a, b);
    }
  }
  EXPECT_GT(merges, 1000);
  EXPECT_GT(refusals, 1000);
}

// Each x leads to a y of its own and to the last node. Joining all x to that moves all y behind it,
// to one place of the order, where labels run out again and again.
TEST(GroupOrder, ManyMovesToOnePlace) {
  constexpr int kCount = 20000, kLast = 2 * kCount;
  Edges edges;
  for (int i = 0; i < kCount; ++i) {
    edges.emplace_back(i, kCount + i);
    edges.emplace_back(i, kLast);
    edges.emplace_back(kCount + i, kLast + 1 + i);
  }
  GroupOrder order(kLast + 1 + kCount, edges);
  for (int i = 0; i < kCount; ++i) {
    ASSERT_FALSE(order.AreApart(i, kLast)) << i;
    order.Merge(kLast, i);
  }
  for (int i = 0; i < kCount; ++i) {
    ASSERT_EQ(order.GroupOf(i), kLast);
    ASSERT_FALSE(order.AreApart(kLast, kCount + i)) << i;
    ASSERT_TRUE(order.AreApart(kLast, kLast + 1 + i)) << i;
  }
}

// What is far from both ends is not looked at, and no more of a node that very many read than of
// what lies before the one in question.
TEST(GroupOrder, OneNodeThatAllRead) {
  constexpr int kCount = 300000;
  Edges edges;
  for (int i = 1; i < kCount; ++i) {
    edges.emplace_back(0, i);
    if (i > 1) edges.emplace_back(i - 1, i);
  }
  GroupOrder order(kCount, edges);
  for (int i = kCount; --i > 1;) ASSERT_TRUE(order.AreApart(0, i)) << i;
  // Each takes up the next, until the members of one group are many.
  for (int i = 1; i < 5000; ++i) {
    ASSERT_FALSE(order.AreApart(0, i)) << i;
    order.Merge(0, i);
  }
}

// The first and the last node have `count` nodes of their own each between them, none of which
// leads from one to the other.
GroupOrder Apart(int count) {
  Edges edges;
  for (int i = 0; i < count; ++i) {
    edges.emplace_back(0, 1 + i);
    edges.emplace_back(1 + count + i, 1 + 2 * count);
  }
  return GroupOrder(2 + 2 * count, edges);
}

// Where there is too much to look at, two groups are taken to be apart, however often one asks; all
// others merge as ever.
TEST(GroupOrder, SearchesThatDecideNothing) {
  constexpr int kFew = 2000, kMany = 10000, kLast = 1 + 2 * kMany;
  GroupOrder small = Apart(kFew);
  EXPECT_FALSE(small.AreApart(0, 1 + 2 * kFew));
  GroupOrder order = Apart(kMany);
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(order.AreApart(0, kLast)) << round;
    EXPECT_TRUE(order.AreApart(kLast, 0)) << round;
  }
  for (int i = 2; i <= kFew; ++i) {
    ASSERT_FALSE(order.AreApart(1, i)) << i;
    order.Merge(1, i);
  }
  // Some of what follows the first node is one group now, and may be one with it; so may one of
  // what leads to the last, and then another.
  ASSERT_FALSE(order.AreApart(0, 1));
  order.Merge(0, 1);
  EXPECT_EQ(order.GroupOf(kFew), 0);
  ASSERT_FALSE(order.AreApart(0, kMany + 1));
  order.Merge(0, kMany + 1);
  EXPECT_FALSE(order.AreApart(kMany + 2, 0));
}

}  // namespace
}  // namespace weft
