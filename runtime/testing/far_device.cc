#include "runtime/testing/far_device.h"

#include <sys/mman.h>

#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "runtime/cpu/cpu_device.h"

namespace weft {
namespace {

void Copy(void* to, const void* from, size_t bytes) {
  if (bytes > 0) memcpy(to, from, bytes);
}

class FarQueue final : public DeviceQueue {
 public:
  explicit FarQueue(FarDevice* device) : device_(device), thread_([this] { Work(); }) {}
  FarQueue(const FarQueue&) = delete;
  FarQueue& operator=(const FarQueue&) = delete;
  ~FarQueue() override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  absl::Status CopyIn(void* device, const void* host, size_t bytes) override {
    const std::string copy(static_cast<const char*>(host), bytes);
    Add([=, this] { Copy(device_->Translate(device, bytes), copy.data(), bytes); });
    return absl::OkStatus();
  }
  absl::Status CopyOut(void* host, const void* device, size_t bytes) override {
    Add([=, this] { Copy(host, device_->Translate(device, bytes), bytes); });
    return absl::OkStatus();
  }
  void Bind(WeftRunArgs* args) override {
    static const WeftDeviceFunctions functions = {Launch, CopyWithin, Read, nullptr, Write};
    args->device = &functions;
    args->queue = this;
  }
  absl::Status Finish() override {
    const std::unique_lock<std::mutex> lock = Wait();
    return std::exchange(status_, absl::OkStatus());
  }

 private:
  static int Launch(void* queue, const WeftLaunch* launch) {
    auto* self = static_cast<FarQueue*>(queue);
    const bool at_once = self->device_->refuses();
    if (at_once && !self->device_->TakeLaunch()) return self->Fail();
    const std::vector<void*> buffers(launch->buffers, launch->buffers + launch->num_buffers);
    const std::vector<int64_t> sizes(launch->sizes, launch->sizes + launch->num_sizes);
    self->Add([self, buffers, sizes, kernel = launch->kernel, tiles = launch->tiles,
               scratch_bytes = launch->scratch_bytes, at_once] {
      if (!at_once && !self->device_->TakeLaunch()) {
        self->Fail();
        return;
      }
      std::vector<void*> here;
      for (void* buffer : buffers) here.push_back(self->device_->Translate(buffer, 0));
      void* scratch = aligned_alloc(64, static_cast<size_t>((scratch_bytes + 127) / 64 * 64));
      kernel(here.data(), sizes.data(), 0, tiles, scratch);
      free(scratch);
    });
    return 0;
  }
  static int CopyWithin(void* queue, void* destination, const void* source, int64_t bytes) {
    auto* self = static_cast<FarQueue*>(queue);
    self->Add([=] {
      const auto size = static_cast<size_t>(bytes);
      Copy(self->device_->Translate(destination, size), self->device_->Translate(source, size),
           size);
    });
    return 0;
  }
  static int Read(void* queue, void* host, const void* source, int64_t bytes) {
    auto* self = static_cast<FarQueue*>(queue);
    const auto size = static_cast<size_t>(bytes);
    if (size > 0) self->Add([=] { Copy(host, self->device_->Translate(source, size), size); });
    const std::unique_lock<std::mutex> lock = self->Wait();
    return self->status_.ok() ? 0 : 1;
  }

  static int Write(void* queue, void* destination, const void* host, int64_t bytes) {
    auto* self = static_cast<FarQueue*>(queue);
    return self->CopyIn(destination, host, static_cast<size_t>(bytes)).ok() ? 0 : 1;
  }

  std::unique_lock<std::mutex> Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    waited_for_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return work_.empty() && !busy_; });
    waited_for_ = false;
    return lock;
  }

  int Fail() {
    std::lock_guard<std::mutex> lock(mutex_);
    status_ = absl::InternalError("told to fail");
    return 1;
  }
  void Add(std::function<void()> work) {
    std::lock_guard<std::mutex> lock(mutex_);
    work_.push_back(std::move(work));
    changed_.notify_all();
  }
  void Work() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stop_ || (waited_for_ && !work_.empty()); });
      if (work_.empty()) return;
      const std::function<void()> work = std::move(work_.front());
      work_.pop_front();
      busy_ = true;
      // What failed leaves the rest undone.
      const bool failed = !status_.ok();
      lock.unlock();
      if (!failed) work();
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }

  FarDevice* const device_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  bool busy_ = false, stop_ = false, waited_for_ = false;
  absl::Status status_;
  std::thread thread_;  // starts when all else is there
};

}  // namespace

FarDevice::FarDevice(std::string name) : name_(std::move(name)), cpu_(MakeCpuDevice(1).value()) {}

FarDevice::~FarDevice() {
  if (!ranges_.empty()) abort();  // memory that outlives its device
}

int FarDevice::Suits(const std::string& target, const std::vector<std::string>& features,
                     std::string* why) const {
  return cpu_->Suits(target, features, why);
}

absl::StatusOr<std::unique_ptr<DeviceCode>> FarDevice::Load(const Container& container,
                                                            const TargetCode& code) {
  return cpu_->Load(container, code);
}

absl::StatusOr<DeviceMemory> FarDevice::Allocate(size_t size, const RunLimits&) {
  if (size == 0) return DeviceMemory();
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return absl::ResourceExhaustedError("no memory on the far device");
  void* address = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    munmap(memory, size);
    return absl::ResourceExhaustedError("no addresses for the far device");
  }
  std::lock_guard<std::mutex> lock(mutex_);
  ranges_[static_cast<const char*>(address)] = {static_cast<char*>(memory), size};
  return DeviceMemory(this, address, size);
}

void FarDevice::Free(void* data, size_t size) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto range = ranges_.find(static_cast<const char*>(data));
  if (range == ranges_.end() || range->second.size != size) abort();
  munmap(range->second.memory, size);
  munmap(data, size);
  ranges_.erase(range);
}

char* FarDevice::Translate(const void* device, size_t bytes) {
  if (device == nullptr && bytes == 0) return nullptr;
  std::lock_guard<std::mutex> lock(mutex_);
  const auto* address = static_cast<const char*>(device);
  auto range = ranges_.upper_bound(address);
  if (range == ranges_.begin()) abort();
  --range;
  const auto offset = static_cast<size_t>(address - range->first);
  if (offset > range->second.size || bytes > range->second.size - offset) abort();
  return range->second.memory + offset;
}

bool FarDevice::TakeLaunch() {
  int64_t left = launches_left_;
  while (left > 0 && !launches_left_.compare_exchange_weak(left, left - 1)) {
  }
  return left != 0;
}

absl::Status FarDevice::CopyIn(void* device, const void* host, size_t bytes) {
  Copy(Translate(device, bytes), host, bytes);
  return absl::OkStatus();
}

absl::Status FarDevice::CopyOut(void* host, const void* device, size_t bytes) {
  Copy(host, Translate(device, bytes), bytes);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<DeviceQueue>> FarDevice::NewQueue(int64_t) {
  return std::make_unique<FarQueue>(this);
}

}  // namespace weft
