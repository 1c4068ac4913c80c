// Deadlines are of the time that is left when a run begins: setting the clock on the wall, forward
// or back, neither ends a run nor prolongs it.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <utility>

#include "absl/time/clock.h"
#include "runtime/limits.h"
#include "runtime/session.h"
#include "runtime/testing/plan_builder.h"
#include "runtime/variables.h"

namespace {
// How far the clock on the wall was set.
std::atomic<time_t> seconds_ahead{0};
// Where it is not 0: how far it is set once this thread has read the other one, CLOCK_MONOTONIC.
thread_local time_t set_after_reading = 0;
}  // namespace

// In place of libc's, for all code that is linked into this program.
extern "C" int clock_gettime(clockid_t clock, struct timespec* time) noexcept {
  const long result = syscall(SYS_clock_gettime, clock, time);
  if (clock == CLOCK_REALTIME) time->tv_sec += seconds_ahead;
  if (clock == CLOCK_MONOTONIC && set_after_reading != 0) {
    seconds_ahead = std::exchange(set_after_reading, 0);
  }
  return static_cast<int>(result);
}

namespace weft {
namespace {

constexpr time_t kDay = 86'400;

// For the length of a scope: sets the clock on the wall as soon as this thread has read the other
// one, which a run does when it begins, to turn its deadline into one of that clock.
class ClockSetter {
 public:
  explicit ClockSetter(time_t ahead) { set_after_reading = ahead; }
  ~ClockSetter() { set_after_reading = seconds_ahead = 0; }
};

int64_t MonotonicMilliseconds() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

TEST(Deadlines, TheClockOfTheTestCanBeSet) {
  const absl::Time before = absl::Now();
  seconds_ahead = kDay;
  EXPECT_GE(absl::Now() - before, absl::Hours(23));
  seconds_ahead = 0;
}

TEST(Deadlines, WaitingForVariables) {
  for (const time_t ahead : {kDay, -kDay}) {
    VariablesLock lock;
    ASSERT_TRUE(lock.Acquire(VariablesLock::Mode::kWrite).ok());
    const int64_t start = MonotonicMilliseconds();
    const RunOptions options = {.deadline = absl::Now() + absl::Milliseconds(200)};
    const ClockSetter setter(ahead);
    EXPECT_EQ(lock.Acquire(VariablesLock::Mode::kRead, RunLimits(options)).code(),
              absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(seconds_ahead, ahead);
    const int64_t waited = MonotonicMilliseconds() - start;
    EXPECT_GE(waited, 199);
    EXPECT_LT(waited, 20'000);
  }
}

TEST(Deadlines, Running) {
  plan_testing::TestPackage package = plan_testing::MakeTestPackage();
  for (Plan& plan : *package.manifest.mutable_targets(0)->mutable_plans()) {
    if (plan.signature() != "count") continue;
    plan.mutable_blocks(0)->mutable_steps(1)->mutable_while_step()->set_max_iterations(0);
  }
  auto session = Session::FromPackage(package.Bytes());
  ASSERT_TRUE(session.ok()) << session.status();
  for (const time_t ahead : {kDay, -kDay}) {
    const int64_t start = MonotonicMilliseconds();
    const RunOptions options = {.deadline = absl::Now() + absl::Milliseconds(200)};
    const ClockSetter setter(ahead);
    EXPECT_EQ((*session)
                  ->Run("count", {{"limit", HostTensor::Scalar<int64_t>(INT64_MAX)}}, options)
                  .status()
                  .code(),
              absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(seconds_ahead, ahead);
    const int64_t waited = MonotonicMilliseconds() - start;
    EXPECT_GE(waited, 199);
    EXPECT_LT(waited, 20'000);
  }
}

TEST(Deadlines, AreSaturated) {
  EXPECT_EQ(RunLimits({.deadline = absl::InfinitePast()}).deadline(), 0);
  EXPECT_EQ(RunLimits({.deadline = absl::UnixEpoch()}).deadline(), 0);
  EXPECT_FALSE(RunLimits({.deadline = absl::InfiniteFuture()}).any());
  EXPECT_EQ(RunLimits({.deadline = absl::Now() + absl::Hours(24 * 365 * 1000)}).deadline(),
            INT64_MAX);
}

}  // namespace
}  // namespace weft
