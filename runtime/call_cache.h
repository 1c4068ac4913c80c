// Prepared calls that wait for their next use, so that repeated runs allocate nothing anew.
#ifndef WEFT_RUNTIME_CALL_CACHE_H_
#define WEFT_RUNTIME_CALL_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/call.h"

namespace weft {

// Thread-safe. Holds at most `max_calls` calls, which together hold at most `max_bytes`; those
// longest unused go first. The one used last stays whatever its size. Taking one and putting it
// back allocates nothing.
class CallCache {
 public:
  struct Entry {
    std::string key;
    std::unique_ptr<PreparedCall> call;
    int64_t bytes = 0;
  };
  // Empty, or one entry.
  using Node = std::list<Entry>;

  CallCache(size_t max_calls, int64_t max_bytes) : max_calls_(max_calls), max_bytes_(max_bytes) {}

  // A call that was put here under this key, if there is one.
  Node Take(std::string_view key) {
    Node node;
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->key != key) continue;
      bytes_ -= entry->bytes;
      node.splice(node.begin(), entries_, entry);
      break;
    }
    return node;
  }

  void Put(Node node) {
    Node dropped;  // freed after the lock
    std::lock_guard<std::mutex> lock(mutex_);
    node.front().bytes = node.front().call->held_bytes();
    bytes_ += node.front().bytes;
    entries_.splice(entries_.begin(), node);
    while (entries_.size() > 1 && (entries_.size() > max_calls_ || bytes_ > max_bytes_)) {
      DropLast(&dropped);
    }
  }

  // Frees the call longest unused; false where there is none.
  bool DropOldest() {
    Node dropped;
    std::lock_guard<std::mutex> lock(mutex_);
    if (entries_.empty()) return false;
    DropLast(&dropped);
    return true;
  }

 private:
  void DropLast(Node* dropped) {
    bytes_ -= entries_.back().bytes;
    dropped->splice(dropped->begin(), entries_, std::prev(entries_.end()));
  }

  const size_t max_calls_;
  const int64_t max_bytes_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // last used first
  int64_t bytes_ = 0;         // of all entries
};

}  // namespace weft

#endif  // WEFT_RUNTIME_CALL_CACHE_H_
