// What a call lets its queues choose from, where a device has several ways to do a launch.
#ifndef WEFT_RUNTIME_TUNING_H_
#define WEFT_RUNTIME_TUNING_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "runtime/core/executor.h"
#include "runtime/limits.h"
#include "runtime/memory_budget.h"
#include "runtime/plan_tables.h"

namespace weft {

// How steps of a plan are done where there was a choice, in words for profiles. Thread-safe.
class StepWays {
 public:
  void Set(uint32_t step, std::string way) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ways_[step] = std::move(way);
  }
  // Empty where there was none.
  std::string Get(uint32_t step) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto way = ways_.find(step);
    return way == ways_.end() ? std::string() : way->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<uint32_t, std::string> ways_;
};

// A plan at the sizes of a call, as one of its devices has it.
struct TuningRequest {
  const PlanTables& tables;
  const WeftInstance* instance;
  uint32_t device;  // as the plan counts them
  // Of all calls of the session. Whoever takes from it gives that back before the session ends.
  MemoryBudget& memory;
  StepWays& ways;
  // Of the run that the call is made for; they end what is waited for.
  const RunLimits& limits;
};

}  // namespace weft

#endif  // WEFT_RUNTIME_TUNING_H_
