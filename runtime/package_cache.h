// Packages that a planner (a compiler) made, by what was asked for.
#ifndef WEFT_RUNTIME_PACKAGE_CACHE_H_
#define WEFT_RUNTIME_PACKAGE_CACHE_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/package.h"

namespace weft {

// Thread-safe. Holds at most `capacity` packages; the one longest unused goes first. What is asked
// for by several threads at once is made once.
class PackageCache {
 public:
  using Make = std::function<absl::StatusOr<std::shared_ptr<const Package>>()>;

  explicit PackageCache(size_t capacity) : capacity_(capacity) {}
  // The package under this key, or what `make` makes. An error is not kept.
  absl::StatusOr<std::shared_ptr<const Package>> Get(const std::string& key, const Make& make);
  // Counts as a use of that package, if it is still there.
  void Touch(const Package* package);
  // All of them, in the order in which they were made.
  std::vector<std::shared_ptr<const Package>> All() const;

 private:
  struct Entry {
    std::shared_ptr<const Package> package;  // null while it is being made
    uint64_t made = 0, last_used = 0;
  };
  void DropOldest();

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable made_;
  std::map<std::string, Entry> entries_;
  uint64_t clock_ = 0;
};

}  // namespace weft

#endif  // WEFT_RUNTIME_PACKAGE_CACHE_H_
