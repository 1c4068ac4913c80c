#include "runtime/memory_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace weft {
namespace {

bool Take(MemoryBudget& budget, int64_t bytes, const RunLimits& limits = {}) {
  bool taken = false;
  (void)budget.Take(bytes, limits, &taken);
  return taken;
}

TEST(MemoryBudget, HoldsItsLimit) {
  MemoryBudget budget(100);
  EXPECT_TRUE(Take(budget, 60));
  EXPECT_FALSE(Take(budget, 41));
  bool taken = true;
  EXPECT_EQ(budget.Take(41, RunLimits(), &taken), 60);
  EXPECT_TRUE(Take(budget, 40));
  EXPECT_FALSE(budget.Borrow(1));
  budget.GiveBack(60);
  EXPECT_TRUE(budget.Borrow(60));
  EXPECT_FALSE(budget.Borrow(1));
  budget.Return(60);
  EXPECT_TRUE(Take(budget, 60));
}

TEST(MemoryBudget, NoLimit) {
  MemoryBudget budget(0);
  EXPECT_TRUE(Take(budget, INT64_MAX - 1));
  EXPECT_TRUE(budget.Borrow(1));
  EXPECT_FALSE(Take(budget, 2));
}

// What could be had if it were not borrowed is waited for; what could not is refused at once.
TEST(MemoryBudget, WhatIsBorrowedIsWaitedFor) {
  MemoryBudget budget(100);
  ASSERT_TRUE(Take(budget, 30));
  ASSERT_TRUE(budget.Borrow(50));
  EXPECT_FALSE(Take(budget, 71));
  EXPECT_TRUE(Take(budget, 20));
  EXPECT_FALSE(Take(budget, 50, RunLimits({.deadline = absl::Now() + absl::Milliseconds(5)})));
  std::atomic<bool> returned = false;
  bool early = true, taken = false;
  std::thread other([&] {
    taken = Take(budget, 50);
    early = !returned;
  });
  // Long enough for a thread that does not wait to be done.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  returned = true;
  budget.Return(50);
  other.join();
  EXPECT_TRUE(taken);
  EXPECT_FALSE(early);
  EXPECT_FALSE(budget.Borrow(1));
}

}  // namespace
}  // namespace weft
