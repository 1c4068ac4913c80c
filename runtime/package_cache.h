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
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/limits.h"
#include "runtime/package.h"

namespace weft {

// Thread-safe. Holds at most `capacity` packages; the one longest unused goes first. What is asked
// for by several threads at once is made once.
class PackageCache {
 public:
  using Made = absl::StatusOr<std::shared_ptr<const Package>>;
  using Make = std::function<Made()>;

  explicit PackageCache(size_t capacity) : capacity_(capacity) {}
  // Waits for what is still being made.
  ~PackageCache();
  PackageCache(const PackageCache&) = delete;
  PackageCache& operator=(const PackageCache&) = delete;

  // The package under this key, or what `make` makes. An error goes to all who wait for it, and is
  // not kept. Where `limits` end the wait, making goes on, on a thread of its own, and the package
  // is there for those who come later.
  Made Get(const std::string& key, Make make, const RunLimits& limits);
  // Counts as a use of that package, if it is still there.
  void Touch(const Package* package);
  // All of them, in the order in which they were made.
  std::vector<std::shared_ptr<const Package>> All() const;

 private:
  // One that is being made.
  struct Job {
    std::thread thread;  // where it has its own
    bool done = false;
    Made made = absl::UnknownError("not done");
  };
  struct Entry {
    std::shared_ptr<Job> job;                // while it is being made
    std::shared_ptr<const Package> package;  // afterwards
    uint64_t made = 0, last_used = 0;
  };
  // Makes it and puts it in its place.
  void Do(const std::string& key, const std::shared_ptr<Job>& job, const Make& make);
  // Hold the mutex.
  absl::Status StartThread(const std::string& key, const std::shared_ptr<Job>& job, Make make);
  void DropOldest();

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Entry> entries_;
  uint64_t clock_ = 0;
  int jobs_with_thread_ = 0;
  std::vector<std::thread> ended_;  // threads that have done their job, to be joined
};

}  // namespace weft

#endif  // WEFT_RUNTIME_PACKAGE_CACHE_H_
