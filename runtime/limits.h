// How long a run may take: its deadline and cancellation, for everything that waits.
#ifndef WEFT_RUNTIME_LIMITS_H_
#define WEFT_RUNTIME_LIMITS_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string_view>

#include "absl/status/status.h"
#include "runtime/run_options.h"

namespace weft {

// RunOptions as of the moment at which the run began: from there on the deadline is one of
// CLOCK_MONOTONIC, so that setting the clock on the wall neither ends a run nor prolongs it.
class RunLimits {
 public:
  RunLimits() = default;  // none
  explicit RunLimits(const RunOptions& options);

  // Nanoseconds of CLOCK_MONOTONIC; INT64_MAX: none.
  int64_t deadline() const { return deadline_; }
  const std::atomic<bool>* cancel() const { return cancel_; }
  bool any() const { return deadline_ != INT64_MAX || cancel_ != nullptr; }

  // Cancelled or DeadlineExceeded, where so: "the deadline passed while " and `doing`.
  absl::Status Check(std::string_view doing) const;
  // Waits until notified, or until Check should be asked again.
  void Wait(std::condition_variable& changed, std::unique_lock<std::mutex>& lock) const;

 private:
  int64_t deadline_ = INT64_MAX;
  const std::atomic<bool>* cancel_ = nullptr;
};

}  // namespace weft

#endif  // WEFT_RUNTIME_LIMITS_H_
