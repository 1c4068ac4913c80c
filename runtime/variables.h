// The variables of a session.
#ifndef WEFT_RUNTIME_VARIABLES_H_
#define WEFT_RUNTIME_VARIABLES_H_

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/host_tensor.h"
#include "runtime/device.h"
#include "runtime/limits.h"
#include "runtime/session_devices.h"

namespace weft {

class Package;

struct SessionVariable {
  std::string name;
  DataType dtype = DataType::kInvalid;
  std::vector<int64_t> shape;
  std::shared_ptr<Device> device;  // where it lives
  bool defined = false;
  // Whether `value` may be written to; otherwise it lies in a package that others may read as well.
  bool owned = false;
  // kInvalid while undefined and never written. Its elements lie on `device`: where that is not the
  // host, only the address is of use here.
  HostTensor value;
};

// Guards the values: any number of readers, or one writer, in the order in which they come, so that
// everyone's turn does. Waiting ends at a deadline or when cancelled.
class VariablesLock {
 public:
  enum class Mode { kNone, kRead, kWrite };
  absl::Status Acquire(Mode mode, const RunLimits& limits = {});
  void Release(Mode mode);

 private:
  // One that waits, on its thread's stack.
  struct Waiter {
    bool write;
    Waiter* next;
  };
  void Enqueue(Waiter* waiter);
  void Remove(Waiter* waiter);
  bool MayEnter(const Waiter* waiter) const;

  std::mutex mutex_;
  std::condition_variable changed_;
  Waiter* first_ = nullptr;
  int readers_ = 0;
  bool writing_ = false;
};

// Holds the lock in a scope, where it was not refused.
class VariablesLocked {
 public:
  VariablesLocked(VariablesLock& lock, VariablesLock::Mode mode, const RunLimits& limits = {})
      : lock_(lock), mode_(mode), status_(lock.Acquire(mode, limits)) {}
  VariablesLocked(const VariablesLocked&) = delete;
  VariablesLocked& operator=(const VariablesLocked&) = delete;
  ~VariablesLocked() {
    if (status_.ok()) lock_.Release(mode_);
  }
  const absl::Status& status() const { return status_; }

 private:
  VariablesLock& lock_;
  const VariablesLock::Mode mode_;
  const absl::Status status_;
};

// Declaring is thread-safe; values are guarded by lock().
class Variables {
 public:
  explicit Variables(std::shared_ptr<SessionDevices> devices) : devices_(std::move(devices)) {}

  // Adds the package's variables, with their first values where they have some, as far as they are
  // not there yet. Waits for no run. InvalidArgument where one is there with another type, or on
  // another device; where the session has no device of the name that one is placed on, what is said
  // of that.
  absl::Status Declare(const Package& package);
  // The variable of that name, for as long as this object lives; null where there is none.
  SessionVariable* Find(std::string_view name) const;
  std::vector<std::string> Names() const;
  VariablesLock& lock() { return lock_; }

  // Gives a variable memory of its own to be written to. Hold the lock for writing.
  static absl::Status MakeWritable(SessionVariable* variable);

  // These take the lock themselves. See Session.
  absl::StatusOr<std::map<std::string, HostTensor>> Get();
  absl::StatusOr<HostTensor> GetOne(const std::string& name);
  absl::Status Set(const std::map<std::string, HostTensor>& values);
  absl::Status Save(const std::string& path, const std::map<std::string, std::string>& metadata);
  absl::StatusOr<std::map<std::string, std::string>> Restore(const std::string& path);

 private:
  absl::StatusOr<SessionVariable*> FindOrSuggest(const std::string& name) const;
  // Memory on the variable's device, of zeros; a copy of a host's tensor there; its value's on the
  // host.
  static absl::StatusOr<HostTensor> Allocate(const SessionVariable& variable);
  static absl::StatusOr<HostTensor> ToDevice(const SessionVariable& variable,
                                             const HostTensor& host);
  static absl::StatusOr<HostTensor> ToHost(const SessionVariable& variable);
  // Copies of all values; or, where they are on the host, views of them while the lock is held.
  absl::StatusOr<std::map<std::string, HostTensor>> Collect(bool copy) const;
  std::vector<SessionVariable*> All() const;

  const std::shared_ptr<SessionDevices> devices_;
  mutable std::mutex mutex_;  // guards the map, not what it points to
  std::map<std::string, std::unique_ptr<SessionVariable>, std::less<>> variables_;
  VariablesLock lock_;
};

// FailedPrecondition, naming the variable and what to do.
absl::Status UndefinedVariable(std::string_view name);

}  // namespace weft

#endif  // WEFT_RUNTIME_VARIABLES_H_
