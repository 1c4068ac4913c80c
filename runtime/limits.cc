#include "runtime/limits.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace weft {
namespace {

// How soon one that waits notices that it is cancelled.
constexpr int64_t kCancelPollNanoseconds = 5'000'000;

int64_t Monotonic() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

RunLimits::RunLimits(const RunOptions& options) : cancel_(options.cancel) {
  if (options.deadline == absl::InfiniteFuture()) return;
  // Saturates on both sides.
  const int64_t left = absl::ToInt64Nanoseconds(options.deadline - absl::Now());
  if (__builtin_add_overflow(Monotonic(), left, &deadline_)) deadline_ = left < 0 ? 0 : INT64_MAX;
  deadline_ = std::max<int64_t>(0, deadline_);
}

absl::Status RunLimits::Check(std::string_view doing) const {
  if (cancel_ != nullptr && cancel_->load(std::memory_order_acquire)) {
    return absl::CancelledError(absl::StrCat("cancelled while ", std::string(doing)));
  }
  if (deadline_ != INT64_MAX && Monotonic() >= deadline_) {
    return absl::DeadlineExceededError(
        absl::StrCat("the deadline passed while ", std::string(doing)));
  }
  return absl::OkStatus();
}

void RunLimits::Wait(std::condition_variable& changed, std::unique_lock<std::mutex>& lock) const {
  if (!any()) {
    changed.wait(lock);
    return;
  }
  int64_t until = deadline_;
  if (cancel_ != nullptr) until = std::min(until, Monotonic() + kCancelPollNanoseconds);
  changed.wait_until(lock, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(until)));
}

}  // namespace weft
