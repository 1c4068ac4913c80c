// How much memory the calls of a session may have.
#ifndef WEFT_RUNTIME_MEMORY_BUDGET_H_
#define WEFT_RUNTIME_MEMORY_BUDGET_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "absl/status/status.h"
#include "runtime/limits.h"

namespace weft {

// Arena and scratch of all calls of a session together, and what devices take for them besides.
// Thread-safe.
class MemoryBudget {
 public:
  explicit MemoryBudget(int64_t limit) : limit_(limit > 0 ? limit : INT64_MAX) {}
  int64_t limit() const { return limit_; }
  // Counts so many bytes more, or leaves it where that passes the limit; what is only borrowed is
  // waited for, as long as `limits` allow. Returns what was counted before.
  int64_t Take(int64_t bytes, const RunLimits& limits, bool* taken) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (bytes <= limit_ - used_ && bytes > limit_ - used_ - borrowed_ &&
           limits.Check("waiting for memory").ok()) {
      limits.Wait(returned_, lock);
    }
    const int64_t before = used_;
    *taken = bytes <= limit_ - used_ - borrowed_;
    if (*taken) used_ += bytes;
    return before;
  }
  void GiveBack(int64_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    used_ -= bytes;
    returned_.notify_all();
  }
  // For what is soon given back, whatever others do: whoever has borrowed takes nothing, and waits
  // for nobody who may. False, and nothing, where that passes the limit.
  bool Borrow(int64_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (bytes > limit_ - used_ - borrowed_) return false;
    borrowed_ += bytes;
    return true;
  }
  void Return(int64_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    borrowed_ -= bytes;
    returned_.notify_all();
  }

 private:
  const int64_t limit_;
  std::mutex mutex_;
  std::condition_variable returned_;
  int64_t used_ = 0, borrowed_ = 0;
};

}  // namespace weft

#endif  // WEFT_RUNTIME_MEMORY_BUDGET_H_
