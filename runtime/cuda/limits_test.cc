// Deadlines and cancellation of runs on a GPU (a driver made for tests): what ends, what is waited
// for, and what comes after.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "runtime/cuda/testing/device_fixture.h"

namespace weft {
namespace {

using ::testing::Each;

using LimitsTest = QueueTest;

TEST_F(LimitsTest, WhatIsGivenUpTouchesNoOutputAndTheNextRunComesAfterwards) {
  const DeviceMemory a = Numbers(1), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  std::vector<float> result(kCount, -1);
  cuda::ConfigureFakeDriver({.busy = true, .asked = &asked_});
  {
    Run run(*queue, INT64_MAX, &asked_);
    ASSERT_EQ(run.Launch(Increment(a, b)), 0);
    ASSERT_TRUE(queue->CopyOut(result.data(), b.data(), kBytes).ok());
    EXPECT_EQ(queue->Finish().code(), absl::StatusCode::kCancelled);
  }
  EXPECT_THAT(result, Each(-1));
  EXPECT_EQ(cuda::CountInFakeDriver().kernels, 0);
  {
    // Its pinned memory is still in use.
    const std::vector<float> feed(kCount, 5);
    Run run(*queue, InMilliseconds(10));
    EXPECT_EQ(queue->CopyIn(a.data(), feed.data(), kBytes).code(),
              absl::StatusCode::kDeadlineExceeded);
    EXPECT_TRUE(queue->Finish().ok());
  }
  {
    Run run(*queue);
    ASSERT_EQ(run.Launch(Increment(b, a)), 0);
    ASSERT_TRUE(queue->CopyOut(result.data(), a.data(), kBytes).ok());
    ASSERT_TRUE(queue->Finish().ok());
  }
  EXPECT_THAT(result, Each(3));
}

TEST_F(LimitsTest, ADeadlineEndsTheWaiting) {
  const DeviceMemory a = Numbers(1), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  std::vector<float> result(kCount, -1);
  cuda::ConfigureFakeDriver({.busy = true});
  for (const int64_t milliseconds : {-1, 10}) {
    Run run(*queue, InMilliseconds(milliseconds));
    ASSERT_EQ(run.Launch(Increment(a, b)), 0);
    ASSERT_TRUE(queue->CopyOut(result.data(), b.data(), kBytes).ok());
    EXPECT_EQ(queue->Finish().code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(result, Each(-1));
  }
}

TEST_F(LimitsTest, WhatWasGivenUpComesBeforeWhatOthersDo) {
  const DeviceMemory a = Numbers(1), b = Numbers(0);
  const auto queue = device().NewQueue(0).value(), other = device().NewQueue(0).value();
  GiveUp(*queue, Increment(a, b));
  {
    // Reads `b` and writes `a`, which the first has to have written and read.
    Run run(*other);
    ASSERT_EQ(run.Launch(Increment(b, a)), 0);
    ASSERT_TRUE(other->Finish().ok());
  }
  EXPECT_THAT(ValuesOf(a), Each(3));
  GiveUp(*queue, Increment(a, b));
  EXPECT_THAT(ValuesOf(b), Each(4));  // the device's own copies wait as well
  // Once it is done, nothing waits for it any more, though its queue has not looked.
  cuda::ConfigureFakeDriver();
  Run run(*other);
  ASSERT_EQ(run.Launch(Increment(b, a)), 0);
  ASSERT_TRUE(other->Finish().ok());
  EXPECT_EQ(cuda::CountInFakeDriver().event_waits, 0);
}

// Memory, queues and code that work which was given up uses are released after it (the driver would
// complain), and nobody waits for that; what is new can be used meanwhile.
TEST_F(LimitsTest, NobodyWaitsToGiveBackOrToGet) {
  const DeviceMemory a = Numbers(1);
  DeviceMemory b = Numbers(0);
  auto queue = device().NewQueue(0).value();
  auto code = device().Load(CodeOf(kIncrement), {.section = "code"}).value();
  WeftLaunch launch = Increment(a, b);
  launch.kernel = code->Find({"increment", 0, 32}).value();
  GiveUp(*queue, launch);
  const cuda::FakeDriverCounts before = cuda::CountInFakeDriver();
  b = DeviceMemory();
  queue = nullptr;
  code = nullptr;
  DeviceMemory fresh = device().Allocate(kBytes).value();
  cuda::FakeDriverCounts after = cuda::CountInFakeDriver();
  EXPECT_EQ(after.allocations, before.allocations + 1);
  EXPECT_EQ(after.streams, before.streams);
  EXPECT_EQ(after.modules, before.modules);
  EXPECT_EQ(after.pinned, before.pinned);
  EXPECT_EQ(after.blocked, 0);
  EXPECT_EQ(after.kernels, 0);
  EXPECT_THAT(ValuesOf(fresh), Each(0));  // waits
  fresh = DeviceMemory();
  after = cuda::CountInFakeDriver();
  EXPECT_EQ(after.kernels, 1);
  EXPECT_EQ(after.allocations, before.allocations - 1);
  EXPECT_EQ(after.streams, before.streams - 1);
  EXPECT_EQ(after.modules, before.modules - 1);
}

TEST_F(LimitsTest, TheEndOfTheDeviceWaits) {
  DeviceMemory a = Numbers(1);
  auto queue = device().NewQueue(0).value();
  GiveUp(*queue, Increment(a, a));
  queue = nullptr;
  a = DeviceMemory();
}

// Also a run that starts with neither feeds nor reads.
TEST_F(LimitsTest, ARunAfterOneThatWasGivenUpIsDone) {
  const DeviceMemory a = Numbers(1), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  GiveUp(*queue, Increment(a, b));
  Run run(*queue);
  ASSERT_EQ(run.Launch(Increment(b, a)), 0);
  ASSERT_TRUE(queue->Finish().ok());
  EXPECT_THAT(ValuesOf(a), Each(3));
}

TEST_F(LimitsTest, CancellationEndsAReadAndACommittedRunIsCompleted) {
  const DeviceMemory a = Numbers(1), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  cuda::ConfigureFakeDriver({.busy = true, .asked = &asked_});
  {
    Run run(*queue, INT64_MAX, &asked_);
    ASSERT_EQ(run.Launch(Increment(a, b)), 0);
    float value = 0;
    EXPECT_EQ(run.Read(&value, b, sizeof value), WEFT_ERROR_CANCELLED);
    EXPECT_TRUE(queue->Finish().ok());  // it was said
  }
  std::atomic<bool> cancel = false;
  {
    Run run(*queue, INT64_MAX, &cancel);
    ASSERT_EQ(run.Launch(Increment(b, a)), 0);
    run.Commit();
    cancel = true;
    EXPECT_TRUE(queue->Finish().ok());
  }
  EXPECT_THAT(ValuesOf(a), Each(3));
  {
    // Cancelled before anything started: nothing does.
    cuda::ConfigureFakeDriver();
    Run run(*queue, INT64_MAX, &cancel);
    ASSERT_EQ(run.Launch(Increment(b, a)), 0);
    EXPECT_EQ(queue->Finish().code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(cuda::CountInFakeDriver().launches, 0);
  }
}

// A stream takes about a thousand launches and copies, and then the driver waits, where nothing
// ends that.
TEST_F(LimitsTest, MuchWorkDoesNotWaitInTheDriver) {
  const DeviceMemory a = Numbers(0), b = Numbers(1);
  const auto queue = device().NewQueue(0).value();
  const WeftLaunch up = Increment(a, a);
  for (const bool copies : {false, true}) {
    asked_ = false;
    cuda::ConfigureFakeDriver({.busy = true, .asked = &asked_});
    Run run(*queue, INT64_MAX, &asked_);
    int result = 0;
    for (int i = 0; i < 5000 && result == 0; ++i) result = copies ? run.Copy(a, b) : run.Launch(up);
    EXPECT_EQ(result, WEFT_ERROR_CANCELLED);
    EXPECT_TRUE(queue->Finish().ok());
    EXPECT_EQ(cuda::CountInFakeDriver().blocked, 0);
  }
}

TEST_F(LimitsTest, AnErrorDoesNotWaitForWhatIsUnderWay) {
  const DeviceMemory a = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  const WeftLaunch up = Increment(a, a);
  WeftLaunch short_of_one = up;
  short_of_one.num_sizes = 0;
  cuda::ConfigureFakeDriver({.busy = true});
  {
    Run run(*queue);
    int64_t launches = 0;
    while (cuda::CountInFakeDriver().launches == 0 && launches < 10'000) {
      ASSERT_EQ(run.Launch(up), 0);
      ++launches;
    }
    ASSERT_EQ(run.Launch(short_of_one), WEFT_ERROR_DEVICE);
    EXPECT_EQ(queue->Finish().code(), absl::StatusCode::kInvalidArgument);
    const cuda::FakeDriverCounts counts = cuda::CountInFakeDriver();
    EXPECT_EQ(counts.blocked, 0);
    EXPECT_EQ(counts.kernels, 0);
    EXPECT_GT(launches, 1);
  }
  cuda::ConfigureFakeDriver();
  Run run(*queue);
  ASSERT_EQ(run.Launch(up), 0);
  ASSERT_TRUE(queue->Finish().ok());
  EXPECT_GT(ValuesOf(a)[0], 1);  // what was started before came first
}

// Outputs that go through pinned memory piece by piece are whole, or were not touched.
TEST_F(LimitsTest, LargeOutputsAreWholeOrUntouched) {
  constexpr size_t kLarge = size_t{6} << 20;
  const DeviceMemory large = device().Allocate(kLarge).value();
  const auto queue = device().NewQueue(0).value();
  const std::vector<char> ones(kLarge, 1);
  std::vector<char> result(kLarge, -1);
  ASSERT_TRUE(device().CopyIn(large.data(), ones.data(), kLarge).ok());
  // Before the first piece, and after one that the caller has.
  for (const int64_t copy : {1, 2}) {
    std::atomic<bool> copied = false;
    cuda::ConfigureFakeDriver({.copied = &copied, .copied_at = copy});
    Run run(*queue, INT64_MAX, &copied);
    ASSERT_TRUE(queue->CopyOut(result.data(), large.data(), kLarge).ok());
    EXPECT_EQ(queue->Finish().code(),
              copy == 1 ? absl::StatusCode::kCancelled : absl::StatusCode::kOk);
    EXPECT_TRUE(copied);
    EXPECT_EQ(result, std::vector<char>(kLarge, copy == 1 ? -1 : 1));
    cuda::ConfigureFakeDriver();
    Run after(*queue);
    EXPECT_EQ(after.Read(nullptr, large, 0), 0);
    EXPECT_TRUE(queue->Finish().ok());
  }
}

// Pinned memory that a run left in use is nobody's to wait for.
TEST_F(LimitsTest, LargeFeedsDoNotWaitForAnotherRunsPieces) {
  constexpr size_t kLarge = size_t{2} << 20;
  const DeviceMemory large = device().Allocate(kLarge).value(), a = Numbers(1);
  const auto queue = device().NewQueue(0).value(), other = device().NewQueue(0).value();
  const std::vector<char> ones(kLarge, 1);
  cuda::ConfigureFakeDriver({.busy = true, .asked = &asked_});
  {
    Run run(*queue, INT64_MAX, &asked_);
    ASSERT_TRUE(queue->CopyIn(large.data(), ones.data(), kLarge).ok());
    EXPECT_EQ(run.Read(nullptr, a, 0), WEFT_ERROR_CANCELLED);
    EXPECT_TRUE(queue->Finish().ok());
  }
  {
    Run run(*other, InMilliseconds(10));
    EXPECT_TRUE(other->CopyIn(large.data(), ones.data(), kLarge).ok());
    EXPECT_EQ(other->Finish().code(), absl::StatusCode::kDeadlineExceeded);
  }
}

}  // namespace
}  // namespace weft
