#include "runtime/cuda/cuda_device.h"

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/cuda/capability.h"
#include "runtime/cuda/code.h"
#include "runtime/cuda/context.h"
#include "runtime/cuda/cubin.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/library_calls.h"
#include "runtime/cuda/queue.h"
#include "runtime/limits.h"

namespace weft {
namespace {

class CudaDevice final : public Device {
 public:
  CudaDevice(std::shared_ptr<cuda::Context> context, int ordinal,
             std::shared_ptr<cuda::Tuner> tuner)
      : context_(std::move(context)),
        name_(absl::StrCat("cuda:", ordinal)),
        tuner_(std::move(tuner)) {}

  std::string_view name() const override { return name_; }
  // The latest generation up to this one that the compiler knows.
  std::string target() const override {
    return absl::StrCat("cuda:sm_", context_->sm() >= 90 ? 90 : context_->sm() >= 80 ? 80 : 70);
  }
  bool is_host() const override { return false; }

  int Suits(const std::string& target, const std::vector<std::string>&,
            std::string* why) const override {
    return cuda::SuitsCapability(context_->sm(), target, why);
  }

  absl::StatusOr<std::unique_ptr<DeviceCode>> Load(const Container& container,
                                                   const TargetCode& of) override {
    const auto in = [&](const std::string& section, const absl::Status& status) {
      return absl::Status(status.code(), absl::StrCat(container.bytes()->path(), ": section '",
                                                      section, "': ", status.message()));
    };
    absl::StatusOr<std::string_view> ptx = container.Section(of.section), machine_code;
    if (!ptx.ok()) return ptx.status();
    machine_code = "";
    if (!of.machine_code_section.empty() && cuda::RunsMachineCode(context_->sm(), of.target)) {
      machine_code = container.Section(of.machine_code_section);
      if (!machine_code.ok()) return machine_code.status();
      if (absl::Status status = cuda::CheckCubin(*machine_code); !status.ok()) {
        return in(of.machine_code_section, status);
      }
    }
    absl::StatusOr<std::unique_ptr<cuda::Code>> code =
        cuda::Code::Load(context_, *ptx, *machine_code);
    if (!code.ok()) return in(of.section, code.status());
    return *std::move(code);
  }

  absl::StatusOr<DeviceMemory> Allocate(size_t size, const RunLimits& limits) override {
    if (size == 0) return DeviceMemory();
    if (absl::Status usable = context_->Usable(); !usable.ok()) return usable;
    const cuda::Context::Current current(*context_);
    if (!current.ok()) return current.status();
    const absl::StatusOr<cuda::CUdeviceptr> address = context_->Allocate(size, limits);
    if (!address.ok()) return address.status();
    DeviceMemory memory(this, reinterpret_cast<void*>(static_cast<uintptr_t>(*address)), size);
    absl::Status status = context_->Clear(*address, size);
    if (!status.ok()) return status;
    return memory;
  }
  absl::Status CopyIn(void* device, const void* host, size_t bytes) override {
    return InQueue([&](cuda::Queue& queue) { return queue.CopyIn(device, host, bytes); });
  }
  absl::Status CopyOut(void* host, const void* device, size_t bytes) override {
    return InQueue([&](cuda::Queue& queue) { return queue.CopyOut(host, device, bytes); });
  }

  int scratch_copies() const override { return 0; }
  int64_t max_scratch_bytes() const override { return context_->max_shared_bytes(); }
  absl::StatusOr<std::unique_ptr<DeviceQueue>> NewQueue(int64_t) override {
    return cuda::Queue::Make(context_, tuner_);
  }

 private:
  // Gives a queue of the device's own work, and waits for it. There are as many as threads do this
  // at once.
  template <typename Function>
  absl::Status InQueue(const Function& function) {
    std::unique_ptr<cuda::Queue> queue;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!idle_.empty()) {
        queue = std::move(idle_.back());
        idle_.pop_back();
      }
    }
    if (queue == nullptr) {
      absl::StatusOr<std::unique_ptr<cuda::Queue>> made = cuda::Queue::Make(context_);
      if (!made.ok()) return made.status();
      queue = *std::move(made);
    }
    absl::Status status = function(*queue);
    status.Update(queue->Finish());
    std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(queue));
    return status;
  }

  void Free(void* data, size_t) override {
    const cuda::Context::Current current(*context_);
    if (!current.ok()) return;
    context_->ReleaseLater([address = cuda::AddressOf(data)](const cuda::DriverApi& api) {
      (void)api.cuMemFree_v2(address);
    });
  }

  const std::shared_ptr<cuda::Context> context_;
  const std::string name_;
  const std::shared_ptr<cuda::Tuner> tuner_;
  std::mutex mutex_;  // guards these
  std::vector<std::unique_ptr<cuda::Queue>> idle_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Device>> MakeCudaDevice(const CudaOptions& options) {
  absl::StatusOr<const cuda::Driver*> driver = cuda::Driver::Load(options.driver_library);
  if (!driver.ok()) return driver.status();
  absl::StatusOr<std::shared_ptr<cuda::Context>> context =
      cuda::Context::Open(*driver, options.ordinal);
  if (!context.ok()) return context.status();
  std::shared_ptr<cuda::Tuner> tuner;
  if (options.libraries != nullptr) {
    absl::StatusOr<std::shared_ptr<cuda::Tuner>> made = options.libraries(*context);
    if (!made.ok()) return made.status();
    tuner = *std::move(made);
  }
  return std::make_shared<CudaDevice>(*std::move(context), options.ordinal, std::move(tuner));
}

}  // namespace weft
