// Prepared calls that wait for their next use, so that repeated runs allocate nothing anew.
#ifndef WEFT_RUNTIME_CALL_CACHE_H_
#define WEFT_RUNTIME_CALL_CACHE_H_

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "runtime/call.h"

namespace weft {

// Thread-safe. Holds at most `capacity` calls; those longest unused go first.
class CallCache {
 public:
  explicit CallCache(size_t capacity) : capacity_(capacity) {}

  // A call put back under this key, or null.
  std::unique_ptr<PreparedCall> Take(const std::string& key) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto entry = calls_.begin(); entry != calls_.end(); ++entry) {
      if (entry->first != key) continue;
      std::unique_ptr<PreparedCall> call = std::move(entry->second);
      calls_.erase(entry);
      return call;
    }
    return nullptr;
  }

  void Put(std::string key, std::unique_ptr<PreparedCall> call) {
    std::unique_ptr<PreparedCall> oldest;  // freed after the lock
    std::lock_guard<std::mutex> lock(mutex_);
    calls_.emplace_front(std::move(key), std::move(call));
    if (calls_.size() > capacity_) {
      oldest = std::move(calls_.back().second);
      calls_.pop_back();
    }
  }

 private:
  const size_t capacity_;
  std::mutex mutex_;
  std::list<std::pair<std::string, std::unique_ptr<PreparedCall>>> calls_;  // last used first
};

}  // namespace weft

#endif  // WEFT_RUNTIME_CALL_CACHE_H_
