#include "runtime/ptx_emulator/emulator_device.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/blame.h"
#include "runtime/cuda/capability.h"
#include "runtime/gpu_kernel.h"
#include "runtime/ptx_emulator/buffer_launch.h"
#include "runtime/ptx_emulator/kernel_map.h"

namespace weft {
namespace {

uint64_t AddressOf(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

struct EmulatedKernel {
  ptx::FunctionHandle function;
  uint32_t block_threads = 0;
  std::vector<KernelMap> maps;
  int64_t num_parameters = 0;
  uint32_t max_scratch_bytes = 0;
  int64_t max_blocks = INT64_MAX;
};

constexpr uint32_t kMaxBlockThreads = 1024;
// Few, so that blocks take several tiles of small tensors.
constexpr int64_t kMultiprocessors = 4;

// A module, loaded.
class EmulatorCode final : public DeviceCode {
 public:
  EmulatorCode(std::shared_ptr<ptx::Emulator> emulator, int module)
      : emulator_(std::move(emulator)), module_(module) {}
  EmulatorCode(const EmulatorCode&) = delete;
  EmulatorCode& operator=(const EmulatorCode&) = delete;
  ~EmulatorCode() override { (void)emulator_->Unload(module_); }

  absl::StatusOr<WeftKernel> Find(const KernelEntry& kernel) override {
    absl::StatusOr<ptx::FunctionHandle> function = emulator_->GetFunction(module_, kernel.name);
    if (!function.ok()) return absl::InvalidArgumentError(function.status().message());
    std::vector<size_t> parameters;
    for (const ptx::ParameterInfo& parameter : emulator_->Parameters(*function)) {
      parameters.push_back(parameter.bytes);
    }
    absl::Status status = CheckGpuKernel(kernel, kMaxBlockThreads, parameters);
    if (!status.ok()) return status;
    const uint32_t declared = ptx::Emulator::SharedBytes(*function);
    const uint32_t most = emulator_->max_shared_bytes();
    const uint32_t scratch = most - std::min(most, declared);
    status = emulator_->SetMaxDynamicShared(*function, scratch);
    if (!status.ok()) return status;
    kernels_.push_back(
        std::make_unique<EmulatedKernel>(EmulatedKernel{*function,
                                                        kernel.block_threads,
                                                        {kernel.maps.begin(), kernel.maps.end()},
                                                        static_cast<int64_t>(parameters.size()),
                                                        scratch,
                                                        MaxBlocks(kernel, kMultiprocessors)}));
    return reinterpret_cast<WeftKernel>(kernels_.back().get());
  }

 private:
  const std::shared_ptr<ptx::Emulator> emulator_;
  const int module_;
  std::vector<std::unique_ptr<EmulatedKernel>> kernels_;
};

class EmulatorQueue final : public DeviceQueue {
 public:
  explicit EmulatorQueue(std::shared_ptr<ptx::Emulator> emulator)
      : emulator_(std::move(emulator)) {}

  absl::Status CopyIn(void* device, const void* host, size_t bytes) override {
    if (bytes == 0) return absl::OkStatus();
    return emulator_->CopyToDevice(AddressOf(device), host, bytes);
  }
  absl::Status CopyOut(void* host, const void* device, size_t bytes) override {
    if (bytes == 0) return absl::OkStatus();
    return emulator_->CopyToHost(host, AddressOf(device), bytes);
  }
  void Bind(WeftRunArgs* args) override {
    static const WeftDeviceFunctions functions = {Launch, CopyWithin, Read, Commit, Write};
    args->device = &functions;
    args->queue = this;
    deadline_ = args->deadline;
    cancel_ = args->cancel;
    // What a run finds in the arena is left from before: to read it is a fault of the plan.
    const std::shared_ptr<ptx::Allocation> arena = emulator_->memory().Find(AddressOf(args->arena));
    if (arena == nullptr) return;
    Keep(emulator_->memory().MarkUnwritten(arena->address, arena->bytes));
  }
  absl::Status Finish() override {
    NothingEndsIt();
    return std::exchange(status_, absl::OkStatus());
  }

 private:
  static int Launch(void* queue, const WeftLaunch* launch) {
    return static_cast<EmulatorQueue*>(queue)->Do(*launch);
  }
  static int CopyWithin(void* queue, void* destination, const void* source, int64_t bytes) {
    auto* self = static_cast<EmulatorQueue*>(queue);
    return self->Keep(self->emulator_->CopyOnDevice(AddressOf(destination), AddressOf(source),
                                                    static_cast<uint64_t>(bytes)));
  }
  static int Read(void* queue, void* host, const void* source, int64_t bytes) {
    auto* self = static_cast<EmulatorQueue*>(queue);
    if (bytes == 0) return 0;
    return self->Keep(
        self->emulator_->CopyToHost(host, AddressOf(source), static_cast<uint64_t>(bytes)));
  }

  static int Write(void* queue, void* destination, const void* host, int64_t bytes) {
    auto* self = static_cast<EmulatorQueue*>(queue);
    return self->Keep(self->CopyIn(destination, host, static_cast<size_t>(bytes)));
  }

  static void Commit(void* queue) { static_cast<EmulatorQueue*>(queue)->NothingEndsIt(); }

  void NothingEndsIt() {
    deadline_ = INT64_MAX;
    cancel_ = nullptr;
  }

  // Keeps the first error until Finish.
  int Keep(absl::Status status) {
    status_.Update(std::move(status));
    return status_.ok() ? 0 : 1;
  }

  int Do(const WeftLaunch& launch) {
    const auto* kernel = reinterpret_cast<const EmulatedKernel*>(launch.kernel);
    absl::Status status =
        CheckGpuLaunch(launch, kernel->maps, kernel->num_parameters, kernel->max_scratch_bytes);
    if (!status.ok()) return Keep(std::move(status));
    ptx::BufferLaunch checked;
    checked.function = kernel->function;
    for (uint32_t i = 0; i < launch.num_buffers; ++i) {
      checked.buffers.push_back(
          {AddressOf(launch.buffers[i]), static_cast<uint64_t>(weft_launch_bytes(&launch, i))});
    }
    checked.num_results = launch.step->num_results;
    SetMaps(kernel->maps, {launch.sizes, launch.num_sizes}, &checked);
    checked.blocks = std::min(launch.tiles, kernel->max_blocks);
    checked.block_threads = kernel->block_threads;
    checked.dynamic_shared_bytes = static_cast<uint32_t>(launch.scratch_bytes);
    if (cancel_ != nullptr || deadline_ != INT64_MAX) {
      checked.interrupt = [this] { return Interruption(); };
    }
    emulator_->ClearFindings();
    status = ptx::LaunchOnBuffers(*emulator_, checked);
    if (absl::IsCancelled(status)) return WEFT_ERROR_CANCELLED;
    if (absl::IsDeadlineExceeded(status)) return WEFT_ERROR_DEADLINE;
    if (!status.ok()) {
      status = absl::Status(status.code(),
                            absl::StrCat(status.message(), "; in ", PlaceOfStep(*launch.step)));
    }
    return Keep(std::move(status));
  }

  absl::Status Interruption() const {
    switch (weft_interrupted(deadline_, cancel_)) {
      case WEFT_ERROR_CANCELLED:
        return absl::CancelledError("");
      case WEFT_ERROR_DEADLINE:
        return absl::DeadlineExceededError("");
      default:
        return absl::OkStatus();
    }
  }

  const std::shared_ptr<ptx::Emulator> emulator_;
  // Of the run until it commits.
  int64_t deadline_ = INT64_MAX;
  const uint8_t* cancel_ = nullptr;
  absl::Status status_;
};

class EmulatorDevice final : public Device {
 public:
  EmulatorDevice(const ptx::EmulatorOptions& options, bool accelerated)
      : sm_(options.sm),
        accelerated_(accelerated),
        emulator_(std::make_shared<ptx::Emulator>(options)) {}

  std::string_view name() const override { return "emulator"; }
  std::string target() const override {
    return absl::StrCat("cuda:sm_", sm_, accelerated_ ? "a" : "");
  }
  bool is_host() const override { return false; }

  int Suits(const std::string& target, const std::vector<std::string>&,
            std::string* why) const override {
    return cuda::SuitsCapability(sm_, target, why);
  }

  absl::StatusOr<std::unique_ptr<DeviceCode>> Load(const Container& container,
                                                   const TargetCode& of) override {
    absl::StatusOr<std::string_view> code = container.Section(of.section);
    if (!code.ok()) return code.status();
    absl::StatusOr<int> module = emulator_->Load(std::string(*code));
    if (!module.ok()) {
      return absl::Status(module.status().code(),
                          absl::StrCat(container.bytes()->path(), ": section '", of.section,
                                       "': ", module.status().message()));
    }
    return std::make_unique<EmulatorCode>(emulator_, *module);
  }

  absl::StatusOr<DeviceMemory> Allocate(size_t size, const RunLimits&) override {
    if (size == 0) return DeviceMemory();
    absl::StatusOr<uint64_t> address = emulator_->Allocate(size, "a session");
    if (!address.ok()) return address.status();
    // Only fails for what was not allocated.
    if (absl::Status zeroed = emulator_->Fill(*address, 0, size); !zeroed.ok()) return zeroed;
    return DeviceMemory(this, reinterpret_cast<void*>(*address), size);
  }
  absl::Status CopyIn(void* device, const void* host, size_t bytes) override {
    return EmulatorQueue(emulator_).CopyIn(device, host, bytes);
  }
  absl::Status CopyOut(void* host, const void* device, size_t bytes) override {
    return EmulatorQueue(emulator_).CopyOut(host, device, bytes);
  }

  int scratch_copies() const override { return 0; }
  int64_t max_scratch_bytes() const override { return emulator_->max_shared_bytes(); }
  absl::StatusOr<std::unique_ptr<DeviceQueue>> NewQueue(int64_t) override {
    return std::make_unique<EmulatorQueue>(emulator_);
  }

 private:
  void Free(void* data, size_t) override { (void)emulator_->Free(AddressOf(data)); }

  const int sm_;
  const bool accelerated_;
  const std::shared_ptr<ptx::Emulator> emulator_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Device>> MakeEmulatorDevice(const ptx::EmulatorOptions& options,
                                                           bool accelerated) {
  if (options.sm < 70) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a compute capability from sm_70 on, got sm_", options.sm));
  }
  if (accelerated && options.sm < 90) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a compute capability from sm_90 on, where code for one generation alone begins, "
        "got sm_",
        options.sm, "a"));
  }
  return std::make_shared<EmulatorDevice>(options, accelerated);
}

}  // namespace weft
