#include "compiler/codegen/test_hardware.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/container.h"
#include "runtime/hardware_devices.h"

namespace weft {
namespace {

constexpr size_t kGuardBytes = 256;
constexpr char kGuard = 0x5a;

class HardwareGpu : public TestDevice {
 public:
  HardwareGpu(std::shared_ptr<Device> device, std::unique_ptr<DeviceCode> code, std::string ptx)
      : device_(std::move(device)), code_(std::move(code)) {
    ptx_ = std::move(ptx);
  }

  WeftKernel Find(const std::string&) const override { return nullptr; }

  absl::Status Run(const Launch& launch, const std::vector<HostTensor>& inputs,
                   std::vector<HostTensor>& results) override {
    absl::StatusOr<WeftKernel> kernel =
        code_->Find({launch.symbol, 0, static_cast<uint32_t>(launch.block_threads), launch.maps,
                     launch.max_blocks != INT64_MAX});
    if (!kernel.ok()) return kernel.status();
    std::vector<DeviceMemory> memory;
    std::vector<size_t> sizes;
    std::vector<void*> buffers;
    const auto add = [&](size_t bytes, const void* contents) {
      absl::StatusOr<DeviceMemory> part = device_->Allocate(bytes + kGuardBytes);
      if (!part.ok()) return part.status();
      std::vector<char> filled(bytes + kGuardBytes, kGuard);
      if (contents != nullptr) std::copy_n(static_cast<const char*>(contents), bytes, &filled[0]);
      absl::Status status = device_->CopyIn(part->data(), filled.data(), filled.size());
      buffers.push_back(part->data());
      sizes.push_back(bytes);
      memory.push_back(*std::move(part));
      return status;
    };
    for (const HostTensor& input : inputs) {
      if (absl::Status status = add(input.size_bytes(), input.data()); !status.ok()) return status;
    }
    for (size_t i = 0; i < results.size(); ++i) {
      const int operand = launch.shared[i];
      absl::Status status;
      if (operand < 0) {
        status = add(results[i].size_bytes(), nullptr);
      } else {
        buffers.push_back(buffers[static_cast<size_t>(operand)]);
      }
      if (!status.ok()) return status;
    }
    absl::Status status = Run(launch, *kernel, buffers);
    for (size_t i = 0; i < memory.size() && status.ok(); ++i) {
      std::vector<char> guard(kGuardBytes);
      status = device_->CopyOut(guard.data(), static_cast<char*>(memory[i].data()) + sizes[i],
                                kGuardBytes);
      if (status.ok() &&
          std::any_of(guard.begin(), guard.end(), [](char c) { return c != kGuard; }))
        status = absl::InternalError(absl::StrCat("writes after the end of buffer ", i));
    }
    for (size_t i = 0; i < results.size() && status.ok(); ++i) {
      status = device_->CopyOut(results[i].mutable_data(), buffers[inputs.size() + i],
                                results[i].size_bytes());
    }
    return status;
  }

 private:
  absl::Status Run(const Launch& launch, WeftKernel kernel, const std::vector<void*>& buffers) {
    if (launch.tiles == 0) return absl::OkStatus();
    absl::StatusOr<std::unique_ptr<DeviceQueue>> queue = device_->NewQueue(launch.scratch_bytes);
    if (!queue.ok()) return queue.status();
    WeftStep step = {};
    step.label = launch.symbol.c_str();
    step.location = step.nodes = step.message = "";
    WeftLaunch work = {};
    work.kernel = kernel;
    work.buffers = buffers.data();
    work.sizes = launch.sizes.data();
    work.num_buffers = static_cast<uint32_t>(buffers.size());
    work.num_sizes = static_cast<uint32_t>(launch.sizes.size());
    work.tiles = launch.tiles;
    work.scratch_bytes = launch.scratch_bytes;
    work.step = &step;
    WeftRunArgs args = {};
    args.deadline = INT64_MAX;
    (*queue)->Bind(&args);
    // What fails is Finish's to say.
    (void)args.device->launch(args.queue, &work);
    return (*queue)->Finish();
  }

  const std::shared_ptr<Device> device_;
  const std::unique_ptr<DeviceCode> code_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TestDevice>> MakeHardwareTestDevice(const std::string& name,
                                                                   std::string ptx) {
  absl::StatusOr<std::shared_ptr<Device>> device = MakeHardwareDevice(name, /*threads=*/1);
  if (!device.ok()) return device.status();
  absl::StatusOr<Container> container =
      Container::Open(Bytes::Of(WriteContainer({{"code", ptx, 12}})));
  if (!container.ok()) return container.status();
  absl::StatusOr<std::unique_ptr<DeviceCode>> code =
      (*device)->Load(*container, {.section = "code"});
  if (!code.ok()) return code.status();
  return std::make_unique<HardwareGpu>(*std::move(device), *std::move(code), std::move(ptx));
}

}  // namespace weft
