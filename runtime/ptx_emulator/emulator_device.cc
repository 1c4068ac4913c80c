#include "runtime/ptx_emulator/emulator_device.h"

#include <algorithm>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/blame.h"
#include "runtime/cuda/capability.h"

namespace weft {
namespace {

uint64_t AddressOf(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

// The emulator, which takes one caller at a time.
struct Shared {
  explicit Shared(const ptx::EmulatorOptions& options) : emulator(options) {}
  std::mutex mutex;
  ptx::Emulator emulator;
};

struct EmulatedKernel {
  ptx::FunctionHandle function;
  uint32_t block_threads = 0;
  size_t num_parameters = 0;
};

constexpr uint32_t kMaxBlockThreads = 1024;

// A module, loaded.
class EmulatorCode final : public DeviceCode {
 public:
  EmulatorCode(std::shared_ptr<Shared> shared, int module)
      : shared_(std::move(shared)), module_(module) {}
  EmulatorCode(const EmulatorCode&) = delete;
  EmulatorCode& operator=(const EmulatorCode&) = delete;
  ~EmulatorCode() override {
    std::lock_guard<std::mutex> lock(shared_->mutex);
    (void)shared_->emulator.Unload(module_);
  }

  absl::StatusOr<WeftKernel> Find(const KernelEntry& kernel) override {
    std::lock_guard<std::mutex> lock(shared_->mutex);
    absl::StatusOr<ptx::FunctionHandle> function =
        shared_->emulator.GetFunction(module_, kernel.name);
    if (!function.ok()) return absl::InvalidArgumentError(function.status().message());
    // Pointers and sizes.
    const std::vector<ptx::ParameterInfo> parameters = shared_->emulator.Parameters(*function);
    for (const ptx::ParameterInfo& parameter : parameters) {
      if (parameter.bytes == 8) continue;
      return absl::InvalidArgumentError(absl::StrCat("kernel '", kernel.name,
                                                     "': expected parameters of 8 bytes, got '",
                                                     parameter.name, "' of ", parameter.bytes));
    }
    if (kernel.block_threads == 0 || kernel.block_threads > kMaxBlockThreads) {
      return absl::InvalidArgumentError(absl::StrCat("kernel '", kernel.name, "': expected 1 to ",
                                                     kMaxBlockThreads, " threads in a block, got ",
                                                     kernel.block_threads));
    }
    kernels_.push_back(std::make_unique<EmulatedKernel>(
        EmulatedKernel{*function, kernel.block_threads, parameters.size()}));
    return reinterpret_cast<WeftKernel>(kernels_.back().get());
  }

 private:
  const std::shared_ptr<Shared> shared_;
  const int module_;
  std::vector<std::unique_ptr<EmulatedKernel>> kernels_;
};

class EmulatorQueue final : public DeviceQueue {
 public:
  explicit EmulatorQueue(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

  absl::Status CopyIn(void* device, const void* host, size_t bytes) override {
    if (bytes == 0) return absl::OkStatus();
    std::lock_guard<std::mutex> lock(shared_->mutex);
    return shared_->emulator.CopyToDevice(AddressOf(device), host, bytes);
  }
  absl::Status CopyOut(void* host, const void* device, size_t bytes) override {
    if (bytes == 0) return absl::OkStatus();
    std::lock_guard<std::mutex> lock(shared_->mutex);
    return shared_->emulator.CopyToHost(host, AddressOf(device), bytes);
  }
  void Bind(WeftRunArgs* args) override {
    static const WeftDeviceFunctions functions = {Launch, CopyWithin, Read, nullptr};
    args->device = &functions;
    args->queue = this;
    // What a run finds in the arena is left from before: to read it is a fault of the plan.
    std::lock_guard<std::mutex> lock(shared_->mutex);
    const ptx::Allocation* arena = shared_->emulator.memory().Find(AddressOf(args->arena));
    if (arena == nullptr) return;
    Keep(shared_->emulator.memory().MarkUnwritten(arena->address, arena->bytes));
  }
  absl::Status Finish() override { return std::exchange(status_, absl::OkStatus()); }

 private:
  static int Launch(void* queue, const WeftLaunch* launch) {
    return static_cast<EmulatorQueue*>(queue)->Do(*launch);
  }
  static int CopyWithin(void* queue, void* destination, const void* source, int64_t bytes) {
    auto* self = static_cast<EmulatorQueue*>(queue);
    std::lock_guard<std::mutex> lock(self->shared_->mutex);
    return self->Keep(self->shared_->emulator.CopyOnDevice(
        AddressOf(destination), AddressOf(source), static_cast<uint64_t>(bytes)));
  }
  static int Read(void* queue, void* host, const void* source, int64_t bytes) {
    auto* self = static_cast<EmulatorQueue*>(queue);
    if (bytes == 0) return 0;
    std::lock_guard<std::mutex> lock(self->shared_->mutex);
    return self->Keep(
        self->shared_->emulator.CopyToHost(host, AddressOf(source), static_cast<uint64_t>(bytes)));
  }

  // Keeps the first error until Finish.
  int Keep(absl::Status status) {
    status_.Update(std::move(status));
    return status_.ok() ? 0 : 1;
  }

  int Do(const WeftLaunch& launch) {
    const auto* kernel = reinterpret_cast<const EmulatedKernel*>(launch.kernel);
    if (kernel->num_parameters != size_t{launch.num_buffers} + launch.num_sizes) {
      return Keep(absl::InvalidArgumentError(
          absl::StrCat("expected a kernel of ", launch.num_buffers, " buffers and ",
                       launch.num_sizes, " sizes, got one of ", kernel->num_parameters,
                       " parameters; in ", PlaceOfStep(*launch.step))));
    }
    std::lock_guard<std::mutex> lock(shared_->mutex);
    ptx::Emulator& emulator = shared_->emulator;
    std::vector<ptx::Region> regions;
    const uint32_t first_result = launch.num_buffers - launch.step->num_results;
    for (uint32_t i = 0; i < launch.num_buffers; ++i) {
      const auto bytes = static_cast<uint64_t>(weft_launch_bytes(&launch, i));
      const uint64_t address = AddressOf(launch.buffers[i]);
      const auto same = std::find_if(regions.begin(), regions.end(), [&](const ptx::Region& other) {
        return other.address == address;
      });
      const bool is_result = i >= first_result;
      if (bytes == 0) continue;
      if (same == regions.end()) {
        const std::string name =
            is_result ? absl::StrCat("result ", i - first_result) : absl::StrCat("operand ", i);
        regions.push_back({address, bytes, name, is_result});
      } else {
        same->bytes = std::max(same->bytes, bytes);
        same->writable |= is_result;
      }
    }
    // None at all would mean all of the memory.
    if (regions.empty()) regions.push_back({});
    absl::Status status;
    ForResultsAlone(regions, [&](const ptx::Region& result) {
      status.Update(emulator.memory().MarkUnwritten(result.address, result.bytes));
    });
    std::vector<const void*> parameters;
    for (uint32_t i = 0; i < launch.num_buffers; ++i) parameters.push_back(launch.buffers + i);
    for (uint32_t i = 0; i < launch.num_sizes; ++i) parameters.push_back(launch.sizes + i);
    emulator.ClearFindings();
    if (status.ok() && launch.tiles > 0x7fffffff) {
      status = absl::ResourceExhaustedError(
          absl::StrCat("expected at most 2147483647 blocks, got ", launch.tiles));
    }
    if (status.ok()) {
      status = emulator.Launch(kernel->function, {.grid = {static_cast<uint32_t>(launch.tiles)},
                                                  .block = {kernel->block_threads},
                                                  .parameters = parameters,
                                                  .regions = regions});
    }
    ForResultsAlone(regions, [&](const ptx::Region& result) {
      if (!status.ok()) return;
      const absl::StatusOr<uint64_t> unwritten =
          emulator.memory().CountUnwritten(result.address, result.bytes);
      if (unwritten.ok() && *unwritten == 0) return;
      status = !unwritten.ok() ? unwritten.status()
                               : absl::InternalError(absl::StrCat(
                                     "the kernel leaves ", *unwritten, " of the ", result.bytes,
                                     " bytes of ", result.name, " unwritten"));
    });
    if (!status.ok()) {
      status = absl::Status(status.code(),
                            absl::StrCat(status.message(), "; in ", PlaceOfStep(*launch.step)));
    }
    return Keep(std::move(status));
  }

  // Those that no operand shares.
  template <typename Function>
  static void ForResultsAlone(const std::vector<ptx::Region>& regions, const Function& function) {
    for (const ptx::Region& region : regions) {
      if (region.bytes > 0 && absl::StartsWith(region.name, "result")) function(region);
    }
  }

  const std::shared_ptr<Shared> shared_;
  absl::Status status_;
};

class EmulatorDevice final : public Device {
 public:
  explicit EmulatorDevice(const ptx::EmulatorOptions& options)
      : sm_(options.sm), shared_(std::make_shared<Shared>(options)) {}

  std::string_view name() const override { return "emulator"; }
  std::string target() const override { return absl::StrCat("cuda:sm_", sm_); }
  bool is_host() const override { return false; }

  int Suits(const std::string& target, const std::vector<std::string>&,
            std::string* why) const override {
    return cuda::SuitsCapability(sm_, target, why);
  }

  absl::StatusOr<std::unique_ptr<DeviceCode>> Load(const Container& container,
                                                   const std::string& section) override {
    absl::StatusOr<std::string_view> code = container.Section(section);
    if (!code.ok()) return code.status();
    std::lock_guard<std::mutex> lock(shared_->mutex);
    absl::StatusOr<int> module = shared_->emulator.Load(std::string(*code));
    if (!module.ok()) {
      return absl::Status(module.status().code(),
                          absl::StrCat(container.bytes()->path(), ": section '", section,
                                       "': ", module.status().message()));
    }
    return std::make_unique<EmulatorCode>(shared_, *module);
  }

  absl::StatusOr<DeviceMemory> Allocate(size_t size) override {
    if (size == 0) return DeviceMemory();
    std::lock_guard<std::mutex> lock(shared_->mutex);
    absl::StatusOr<uint64_t> address = shared_->emulator.Allocate(size, "a session");
    if (!address.ok()) return address.status();
    // Only fails for what was not allocated.
    if (absl::Status zeroed = shared_->emulator.Fill(*address, 0, size); !zeroed.ok())
      return zeroed;
    return DeviceMemory(this, reinterpret_cast<void*>(*address), size);
  }
  absl::Status CopyIn(void* device, const void* host, size_t bytes) override {
    return EmulatorQueue(shared_).CopyIn(device, host, bytes);
  }
  absl::Status CopyOut(void* host, const void* device, size_t bytes) override {
    return EmulatorQueue(shared_).CopyOut(host, device, bytes);
  }

  int scratch_copies() const override { return 0; }
  absl::StatusOr<std::unique_ptr<DeviceQueue>> NewQueue(int64_t scratch_bytes) override {
    if (scratch_bytes > 0) {
      return absl::InvalidArgumentError(
          "a GPU's kernels have no scratch, but the plan states some");
    }
    return std::make_unique<EmulatorQueue>(shared_);
  }

 private:
  void Free(void* data, size_t) override {
    std::lock_guard<std::mutex> lock(shared_->mutex);
    (void)shared_->emulator.Free(AddressOf(data));
  }

  const int sm_;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Device>> MakeEmulatorDevice(const ptx::EmulatorOptions& options) {
  if (options.sm < 70) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a compute capability from sm_70 on, got sm_", options.sm));
  }
  return std::make_shared<EmulatorDevice>(options);
}

}  // namespace weft
