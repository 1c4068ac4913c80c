// A device for tests that is as far from the host as one can be: its memory lies at addresses that
// the host cannot use, and its work is done later, by a thread of its own, when somebody waits for
// it. It runs code for this
// processor. A copy that the runtime forgets ends the program, one that comes too late is seen in
// the results.
#ifndef WEFT_RUNTIME_TESTING_FAR_DEVICE_H_
#define WEFT_RUNTIME_TESTING_FAR_DEVICE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/device.h"

namespace weft {

class FarDevice final : public Device {
 public:
  // `name`: one that nodes may have, to be their device in a session that runs on it.
  explicit FarDevice(std::string name = "far");
  ~FarDevice() override;

  std::string_view name() const override { return name_; }
  std::string target() const override { return cpu_->target(); }
  bool is_host() const override { return false; }
  int Suits(const std::string& target, const std::vector<std::string>& features,
            std::string* why) const override;
  absl::StatusOr<std::unique_ptr<DeviceCode>> Load(const Container& container,
                                                   const TargetCode& code) override;
  absl::StatusOr<DeviceMemory> Allocate(size_t size, const RunLimits& limits) override;
  absl::Status CopyIn(void* device, const void* host, size_t bytes) override;
  absl::Status CopyOut(void* host, const void* device, size_t bytes) override;
  int scratch_copies() const override { return 0; }
  absl::StatusOr<std::unique_ptr<DeviceQueue>> NewQueue(int64_t scratch_bytes) override;

  // The memory behind `bytes` bytes at an address of the device; ends the program where there are
  // none.
  char* Translate(const void* device, size_t bytes);
  // From the launch after so many more on, launches fail as they are worked on, or (`at_once`) are
  // refused as they are given; negative: they do not.
  void FailAfter(int64_t launches, bool at_once = false) {
    refuses_ = at_once;
    launches_left_ = launches;
  }
  bool refuses() const { return refuses_; }
  bool TakeLaunch();

 private:
  struct Range {
    char* memory;
    size_t size;
  };
  void Free(void* data, size_t size) override;

  const std::string name_;
  const std::shared_ptr<Device> cpu_;
  std::mutex mutex_;
  std::map<const char*, Range> ranges_;  // by address of the device
  std::atomic<int64_t> launches_left_{-1};
  std::atomic<bool> refuses_{false};
};

}  // namespace weft

#endif  // WEFT_RUNTIME_TESTING_FAR_DEVICE_H_
