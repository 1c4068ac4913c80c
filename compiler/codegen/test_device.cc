#include "compiler/codegen/test_device.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "compiler/codegen/cuda/backend.h"
#include "compiler/codegen/test_hardware.h"
#include "compiler/codegen/test_kernel.h"
#include "runtime/ptx_emulator/buffer_launch.h"
#include "runtime/ptx_emulator/emulator.h"
#include "runtime/ptx_emulator/kernel_map.h"

namespace weft {
namespace {

// Memory that ends where a page that cannot be touched begins.
class GuardedMemory {
 public:
  explicit GuardedMemory(size_t size) : pages_((size + 4095) / 4096 * 4096 + 4096) {
    base_ = static_cast<char*>(
        mmap(nullptr, pages_ + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + pages_, 4096, PROT_NONE);
    std::memset(base_, 0x5a, pages_);
    data_ = base_ + pages_ - size;
  }
  GuardedMemory(const GuardedMemory&) = delete;
  ~GuardedMemory() { munmap(base_, pages_ + 4096); }
  char* data() { return data_; }
  bool FrontIntact() const {
    for (const char* p = base_; p < data_; ++p) {
      if (*p != 0x5a) return false;
    }
    return true;
  }

 private:
  size_t pages_;
  char* base_;
  char* data_;
};

class Processor : public TestDevice {
 public:
  explicit Processor(std::unique_ptr<LoadedImage> image) : image_(std::move(image)) {}

  WeftKernel Find(const std::string& symbol) const override { return image_->Find(symbol); }

  absl::Status Run(const Launch& launch, const std::vector<HostTensor>& inputs,
                   std::vector<HostTensor>& results) override {
    WeftKernel kernel = Find(launch.symbol);
    if (kernel == nullptr) return absl::InternalError("the kernel is not in the image");
    std::vector<std::unique_ptr<GuardedMemory>> memory;
    std::vector<void*> buffers;
    auto add = [&](size_t size) {
      memory.push_back(std::make_unique<GuardedMemory>(size));
      return memory.back()->data();
    };
    for (const HostTensor& input : inputs) {
      buffers.push_back(add(input.size_bytes()));
      std::memcpy(buffers.back(), input.data(), input.size_bytes());
    }
    for (size_t i = 0; i < results.size(); ++i) {
      const int operand = launch.shared[i];
      buffers.push_back(operand >= 0 ? buffers[static_cast<size_t>(operand)]
                                     : add(results[i].size_bytes()));
    }
    void* scratch = add(static_cast<size_t>((launch.scratch_bytes + 63) / 64 * 64));
    if (!launch.one_by_one) {
      kernel(buffers.data(), launch.sizes.data(), 0, launch.tiles, scratch);
    } else {
      for (int64_t i = launch.tiles; i-- > 0;) {
        kernel(buffers.data(), launch.sizes.data(), i, i + 1, scratch);
      }
    }
    for (const auto& part : memory) {
      if (!part->FrontIntact()) return absl::InternalError("writes before the start of a buffer");
    }
    for (size_t i = 0; i < results.size(); ++i) {
      std::memcpy(results[i].mutable_data(), buffers[inputs.size() + i], results[i].size_bytes());
    }
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<LoadedImage> image_;
};

class Gpu : public TestDevice {
 public:
  Gpu(std::string ptx, int sm)
      : emulator_({.sm = sm, .memory_bytes = uint64_t{2} << 30, .threads = 1}) {
    ptx_ = std::move(ptx);
  }

  absl::Status Load() {
    absl::StatusOr<int> module = emulator_.Load(ptx_);
    if (!module.ok()) return module.status();
    module_ = *module;
    return absl::OkStatus();
  }

  WeftKernel Find(const std::string&) const override { return nullptr; }
  std::optional<int64_t> bank_conflicts() const override { return emulator_.bank_conflicts(); }
  std::optional<ptx::GlobalTraffic> global_traffic() const override {
    return emulator_.global_traffic();
  }

  absl::Status Run(const Launch& launch, const std::vector<HostTensor>& inputs,
                   std::vector<HostTensor>& results) override {
    absl::StatusOr<ptx::FunctionHandle> function = emulator_.GetFunction(module_, launch.symbol);
    if (!function.ok()) return function.status();
    ptx::BufferLaunch checked;
    checked.function = *function;
    checked.num_results = results.size();
    checked.blocks = std::min(launch.tiles, launch.max_blocks);
    checked.block_threads = static_cast<uint32_t>(launch.block_threads);
    checked.dynamic_shared_bytes = static_cast<uint32_t>(launch.scratch_bytes);
    absl::Status status =
        emulator_.SetMaxDynamicShared(*function, static_cast<uint32_t>(launch.scratch_bytes));
    std::vector<uint64_t> allocated;
    const auto add = [&](uint64_t bytes, std::string name) {
      // One byte more than that of an empty buffer, which has an address as well.
      absl::StatusOr<uint64_t> address =
          emulator_.Allocate(std::max<uint64_t>(bytes, 1), std::move(name));
      if (!address.ok()) return address.status();
      allocated.push_back(*address);
      checked.buffers.push_back({*address, bytes});
      return absl::OkStatus();
    };
    for (size_t i = 0; i < inputs.size() && status.ok(); ++i) {
      const uint64_t bytes = inputs[i].size_bytes();
      status = add(bytes, absl::StrCat("operand ", i));
      if (status.ok()) status = emulator_.CopyToDevice(allocated.back(), inputs[i].data(), bytes);
    }
    for (size_t i = 0; i < results.size() && status.ok(); ++i) {
      const int operand = launch.shared[i];
      if (operand < 0) {
        status = add(results[i].size_bytes(), absl::StrCat("result ", i));
      } else {
        checked.buffers.push_back(checked.buffers[static_cast<size_t>(operand)]);
      }
    }
    emulator_.ClearFindings();
    if (status.ok()) SetMaps(launch.maps, launch.sizes, &checked);
    if (status.ok()) status = ptx::LaunchOnBuffers(emulator_, checked);
    for (size_t i = 0; i < results.size() && status.ok(); ++i) {
      status =
          emulator_.CopyToHost(results[i].mutable_data(),
                               checked.buffers[inputs.size() + i].address, results[i].size_bytes());
    }
    for (const uint64_t address : allocated) status.Update(emulator_.Free(address));
    return status;
  }

 private:
  ptx::Emulator emulator_;
  int module_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TestDevice>> TestDevice::Compile(mlir::ModuleOp kernels,
                                                                const Target& target) {
  if (target.kind == Target::Kind::kCuda) {
    absl::StatusOr<std::string> ptx = CompileToPtx(kernels, target);
    if (!ptx.ok()) return ptx.status();
    if (const char* device = std::getenv("WEFT_TEST_DEVICE"); device != nullptr) {
      return MakeHardwareTestDevice(device, *std::move(ptx));
    }
    return Emulate(*std::move(ptx), target.sm);
  }
  auto image = LoadKernels(kernels, target);
  if (!image.ok()) return image.status();
  return std::make_unique<Processor>(*std::move(image));
}

absl::StatusOr<std::unique_ptr<TestDevice>> TestDevice::Emulate(std::string ptx, int sm) {
  auto gpu = std::make_unique<Gpu>(std::move(ptx), sm);
  if (absl::Status loaded = gpu->Load(); !loaded.ok()) return loaded;
  return gpu;
}

}  // namespace weft
