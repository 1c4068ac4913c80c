// Where plans run. One implementation for each kind of device: this processor (runtime/cpu), and
// what is written for others. runtime/README.md says how they fit the executor.
#ifndef WEFT_RUNTIME_DEVICE_H_
#define WEFT_RUNTIME_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/container.h"
#include "runtime/core/executor.h"
#include "runtime/limits.h"
#include "runtime/tensor_map.h"

namespace weft {

class Device;
struct TuningRequest;  // runtime/tuning.h

// A range of a device's memory, aligned to 64 and freed at the end. Movable. The device must
// outlive it.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(Device* device, void* data, size_t size)
      : device_(device), data_(data), size_(size) {}
  DeviceMemory(DeviceMemory&& other) noexcept { *this = std::move(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  inline ~DeviceMemory();

  // An address of the device: the host may use it only where Device::is_host().
  void* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  Device* device_ = nullptr;
  void* data_ = nullptr;
  size_t size_ = 0;
};

// A kernel as a package states it: of processors' code the offset in its section matters, of GPUs'
// the name, the threads of a block, the tensor maps among its parameters, and whether any number of
// blocks shares its tiles.
struct KernelEntry {
  const std::string& name;
  uint64_t offset = 0;
  uint32_t block_threads = 0;
  std::span<const KernelMap> maps = {};
  bool shares_tiles = false;
};

// The code of one target, loaded; its kernels stay as long as it does.
class DeviceCode {
 public:
  virtual ~DeviceCode() = default;
  // Another device than this processor casts its own handle. InvalidArgument where there is none.
  virtual absl::StatusOr<WeftKernel> Find(const KernelEntry& kernel) = 0;
};

// Where a package has code for a target: sections of its container.
struct TargetCode {
  std::string section;
  // What an assembler made of it for the target's very generation; empty where there is none.
  std::string machine_code_section = {};
  std::string target = {};
};

// Work for a device, done in the order in which it is given, perhaps later. One thread at a time.
class DeviceQueue {
 public:
  virtual ~DeviceQueue() = default;
  // The host's bytes are the caller's again when it returns: a feed may lie where an output of
  // another device is written.
  virtual absl::Status CopyIn(void* device, const void* host, size_t bytes) = 0;
  // Host memory has to stay until Finish.
  virtual absl::Status CopyOut(void* host, const void* device, size_t bytes) = 0;
  // Begins a run, until Finish: sets what makes it use this queue, `device` and `queue`, or
  // `scratch` and `pool`; of `args`, arena, constants, deadline and cancellation are there. Where
  // the queue waits for work, the run's deadline and cancellation may end that, until the run
  // commits: DeadlineExceeded or Cancelled from any function then, and host memory is the caller's
  // again.
  virtual void Bind(WeftRunArgs* args) = 0;
  // Waits until all is done. Error: whatever failed since the last Finish; then work that was
  // started may still be under way, and comes before whatever is given next.
  virtual absl::Status Finish() = 0;
  // Before the first run of a call, whose memory is not touched, once for each of the plan's
  // devices that this queue serves: lets its launches be done in the fastest of the ways that the
  // device has, and waits for what that measures. Error: InvalidArgument where a launch does not
  // lie in its buffers as the plan states it; ResourceExhausted where what was chosen has no
  // memory; Cancelled or DeadlineExceeded where the request's limits ended a wait; or the device
  // broke down.
  virtual absl::Status Tune(const TuningRequest&) { return absl::OkStatus(); }
  // After Finish, where that of this queue or of another one of the run failed: whether what the
  // run gave it after its commit may have been started.
  virtual bool may_have_written() const { return true; }
  // Bytes, about, that it keeps so that runs to come are faster.
  virtual int64_t held_bytes() const { return 0; }
};

// Thread-safe.
class Device {
 public:
  virtual ~Device() = default;
  // "cpu", "cuda:0", "emulator". Nodes that are placed on a device of this name are on this one
  // where a session runs on it, unless it is told otherwise.
  virtual std::string_view name() const = 0;
  // The least that code for this device must be compiled for: "cpu:x86-64-v3", "cuda:sm_80".
  virtual std::string target() const = 0;
  // Whether its memory is the host's: then feeds, constants and outputs are used where they lie.
  virtual bool is_host() const = 0;

  // How much of the device the code of a target uses (more is better), or -1 where it cannot run
  // there: then `*why` gets a phrase more. `features` may be empty.
  virtual int Suits(const std::string& target, const std::vector<std::string>& features,
                    std::string* why) const = 0;
  virtual absl::StatusOr<std::unique_ptr<DeviceCode>> Load(const Container& container,
                                                           const TargetCode& code) = 0;

  // Zeros, for runs and copies that begin afterwards. ResourceExhausted where memory is short;
  // Cancelled or DeadlineExceeded where the limits ended a wait for some that others soon give
  // back.
  virtual absl::StatusOr<DeviceMemory> Allocate(size_t size, const RunLimits& limits) = 0;
  absl::StatusOr<DeviceMemory> Allocate(size_t size) { return Allocate(size, RunLimits()); }
  // These wait until the copy is made.
  virtual absl::Status CopyIn(void* device, const void* host, size_t bytes) = 0;
  virtual absl::Status CopyOut(void* host, const void* device, size_t bytes) = 0;

  // How many times a queue holds the scratch that a plan states; 0 where it is on the chip.
  virtual int scratch_copies() const = 0;
  // The most scratch of one launch.
  virtual int64_t max_scratch_bytes() const { return INT64_MAX; }
  // `scratch_bytes`: what the plans that will run there state at most.
  virtual absl::StatusOr<std::unique_ptr<DeviceQueue>> NewQueue(int64_t scratch_bytes) = 0;

 private:
  friend class DeviceMemory;
  virtual void Free(void* data, size_t size) = 0;
};

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) device_->Free(data_, size_);
}

}  // namespace weft

#endif  // WEFT_RUNTIME_DEVICE_H_
