// How much memory the calls of a session may have.
#ifndef WEFT_RUNTIME_MEMORY_BUDGET_H_
#define WEFT_RUNTIME_MEMORY_BUDGET_H_

#include <atomic>
#include <cstdint>

namespace weft {

// Arena and scratch of all calls of a session together, and what devices take for them besides.
// Thread-safe.
class MemoryBudget {
 public:
  explicit MemoryBudget(int64_t limit) : limit_(limit > 0 ? limit : INT64_MAX) {}
  int64_t limit() const { return limit_; }
  // Counts so many bytes more, or leaves it where that passes the limit. Returns what was counted
  // before.
  int64_t Take(int64_t bytes, bool* taken) {
    int64_t used = used_.load(std::memory_order_relaxed);
    do {
      *taken = bytes <= limit_ - used;
    } while (*taken && !used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return used;
  }
  void GiveBack(int64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }

 private:
  const int64_t limit_;
  std::atomic<int64_t> used_{0};
};

}  // namespace weft

#endif  // WEFT_RUNTIME_MEMORY_BUDGET_H_
