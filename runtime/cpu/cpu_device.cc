#include "runtime/cpu/cpu_device.h"

#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/cpu_features.h"
#include "runtime/memory.h"

namespace weft {
namespace {

void Copy(void* to, const void* from, size_t bytes) {
  if (bytes > 0) memcpy(to, from, bytes);
}

// An image of code, mapped.
class CpuCode final : public DeviceCode {
 public:
  explicit CpuCode(Pages code) : code_(std::move(code)) {}
  absl::StatusOr<WeftKernel> Find(const KernelEntry& kernel) override {
    if (kernel.offset >= code_.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("kernel '", kernel.name, "' lies outside the code"));
    }
    return reinterpret_cast<WeftKernel>(reinterpret_cast<uintptr_t>(code_.data()) + kernel.offset);
  }

 private:
  const Pages code_;
};

// Everything is done at once, on the calling thread and with the pool's help.
class CpuQueue final : public DeviceQueue {
 public:
  CpuQueue(WeftPool* pool, Pages scratch) : pool_(pool), scratch_(std::move(scratch)) {}
  absl::Status CopyIn(void* device, const void* host, size_t bytes) override {
    Copy(device, host, bytes);
    return absl::OkStatus();
  }
  absl::Status CopyOut(void* host, const void* device, size_t bytes) override {
    Copy(host, device, bytes);
    return absl::OkStatus();
  }
  void Bind(WeftRunArgs* args) override {
    args->scratch = scratch_.data();
    args->pool = pool_;
  }
  absl::Status Finish() override { return absl::OkStatus(); }

 private:
  WeftPool* const pool_;
  const Pages scratch_;
};

class CpuDevice final : public Device {
 public:
  CpuDevice(Pages pool_memory, int threads)
      : pool_memory_(std::move(pool_memory)),
        pool_(weft_pool_start(pool_memory_.data(), threads)) {}
  CpuDevice(const CpuDevice&) = delete;
  CpuDevice& operator=(const CpuDevice&) = delete;
  ~CpuDevice() override { weft_pool_stop(pool_); }

  std::string_view name() const override { return "cpu"; }
  std::string target() const override { return "cpu:x86-64-v3"; }
  bool is_host() const override { return true; }

  // The number of instruction sets used.
  int Suits(const std::string& target, const std::vector<std::string>& features,
            std::string* why) const override {
    if (!absl::StartsWith(target, "cpu:")) {
      absl::StrAppend(why, why->empty() ? "" : "; ", target, " is for another device");
      return -1;
    }
    std::vector<std::string> missing;
    int used = 0;
    for (const std::string& feature : features.empty() ? FeaturesOfTarget(target) : features) {
      const std::optional<bool> has = CpuHas(feature);
      if (!has.has_value()) continue;
      if (*has) {
        ++used;
      } else {
        missing.push_back(feature);
      }
    }
    if (missing.empty() && used > 0) return used;
    absl::StrAppend(why, why->empty() ? "" : "; ", target,
                    missing.empty() ? " does not say what it needs"
                                    : absl::StrCat(" needs ", absl::StrJoin(missing, ", ")));
    return -1;
  }

  absl::StatusOr<std::unique_ptr<DeviceCode>> Load(const Container& container,
                                                   const TargetCode& of) override {
    absl::StatusOr<Pages> code = Pages::MapCode(container, of.section);
    if (!code.ok()) return code.status();
    return std::make_unique<CpuCode>(*std::move(code));
  }

  absl::StatusOr<DeviceMemory> Allocate(size_t size, const RunLimits&) override {
    absl::StatusOr<Pages> pages = Pages::Allocate(size);
    if (!pages.ok()) return pages.status();
    return DeviceMemory(this, pages->Release(), size);
  }
  absl::Status CopyIn(void* device, const void* host, size_t bytes) override {
    Copy(device, host, bytes);
    return absl::OkStatus();
  }
  absl::Status CopyOut(void* host, const void* device, size_t bytes) override {
    Copy(host, device, bytes);
    return absl::OkStatus();
  }

  int scratch_copies() const override { return weft_pool_threads(pool_); }
  absl::StatusOr<std::unique_ptr<DeviceQueue>> NewQueue(int64_t scratch_bytes) override {
    absl::StatusOr<Pages> scratch =
        Pages::Allocate(static_cast<size_t>(scratch_bytes) * static_cast<size_t>(scratch_copies()));
    if (!scratch.ok()) return scratch.status();
    return std::make_unique<CpuQueue>(pool_, *std::move(scratch));
  }

 private:
  void Free(void* data, size_t size) override { Pages::Free(data, size); }

  const Pages pool_memory_;
  WeftPool* const pool_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Device>> MakeCpuDevice(int threads) {
  if (threads <= 0) threads = NumCores();
  absl::StatusOr<Pages> memory = Pages::Allocate(weft_pool_bytes(threads));
  if (!memory.ok()) return memory.status();
  return std::make_shared<CpuDevice>(*std::move(memory), threads);
}

}  // namespace weft
