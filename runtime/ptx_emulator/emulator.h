#ifndef WEFT_RUNTIME_PTX_EMULATOR_EMULATOR_H_
#define WEFT_RUNTIME_PTX_EMULATOR_EMULATOR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/ptx_emulator/finding.h"
#include "runtime/ptx_emulator/global_memory.h"
#include "runtime/ptx_emulator/global_traffic.h"
#include "runtime/ptx_emulator/launch_state.h"
#include "runtime/ptx_emulator/types.h"

// A CUDA device that executes PTX text on the CPU and checks what it does. The functions have the
// shape of the driver's.
namespace weft::ptx {

struct Kernel;
struct Module;

struct EmulatorOptions {
  int sm = 90;  // the compute capability: 90 for sm_90. Modules for newer targets are refused.
  // What its memory may take on the host: twice the bytes of the device, a little for each
  // allocation, and during launches the registers and local memory of the blocks that run. 0: half
  // of what the host has left when the device is made, 32 GiB at most.
  uint64_t memory_bytes = 0;
  // Host threads that run blocks. With more than one, atomics on floats depend on the order of
  // blocks.
  int threads = 1;
  // Instructions of warps in one block before it is said not to end.
  int64_t step_limit = int64_t{1} << 28;
};

// The most shared memory of a block by compute capability, as the CUDA programming guide lists it,
// and of a block that did not ask for more.
uint32_t MaxSharedBytes(int sm);
inline constexpr uint32_t kMaxSharedByDefault = 48 << 10;

// A kernel of a loaded module; valid until the module is unloaded.
struct FunctionHandle {
  const Kernel* kernel = nullptr;
};

struct LaunchOptions {
  Dim3 grid;
  Dim3 block;
  uint32_t dynamic_shared_bytes = 0;
  // One pointer for each parameter of the kernel, to a value of its declared size.
  std::span<const void* const> parameters;
  // What the launch may touch of global memory, for instance the buffers of an arena; empty: every
  // allocation.
  std::vector<Region> regions;
  // Where set, asked every few thousand instructions, and by several threads if the emulator has
  // them: what is not OK ends the launch, as its status.
  std::function<absl::Status()> interrupt;
};

struct ParameterInfo {
  std::string name;
  uint32_t bytes = 0;
};

// Thread-safe, but for findings(). Launches run at once, in the call, and side by side where
// several threads make them.
class Emulator {
 public:
  explicit Emulator(const EmulatorOptions& options = {});
  ~Emulator();
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  // Parses the text and makes all of its kernels ready. InvalidArgument names a line of the text;
  // `notes` say what its lines were made from. The handle is for Unload and GetFunction.
  absl::StatusOr<int> Load(std::string text, std::vector<SourceNote> notes = {});
  absl::Status Unload(int module);
  absl::StatusOr<FunctionHandle> GetFunction(int module, std::string_view name) const;
  std::vector<ParameterInfo> Parameters(FunctionHandle function) const;
  // Address and size of a .global variable.
  absl::StatusOr<std::pair<uint64_t, uint64_t>> GetGlobal(int module, std::string_view name) const;
  // What the kernel's code declares of a block's shared memory.
  static uint32_t SharedBytes(FunctionHandle function);
  // Allows launches with more than 48 KB of shared memory, as cuFuncSetAttribute does.
  // InvalidArgument above what the device has.
  absl::Status SetMaxDynamicShared(FunctionHandle function, uint32_t bytes);

  // Device memory; `name` is for messages.
  absl::StatusOr<uint64_t> Allocate(uint64_t bytes, std::string name = {}) {
    return memory_.Allocate(bytes, std::move(name));
  }
  absl::Status Free(uint64_t address) { return memory_.Free(address); }
  absl::Status CopyToDevice(uint64_t to, const void* from, uint64_t bytes) {
    return memory_.Write(to, from, bytes);
  }
  absl::Status CopyToHost(void* to, uint64_t from, uint64_t bytes) const {
    return memory_.Read(from, to, bytes);
  }
  absl::Status CopyOnDevice(uint64_t to, uint64_t from, uint64_t bytes) {
    return memory_.CopyWithin(to, from, bytes);
  }
  absl::Status Fill(uint64_t address, uint8_t value, uint64_t bytes) {
    return memory_.Fill(address, value, bytes);
  }
  GlobalMemory& memory() { return memory_; }

  // Runs a kernel. InvalidArgument or ResourceExhausted for a launch that no such device could make
  // (what is too large, and the limit). Internal if checks found something: the first finding's
  // text; all are in findings(). Otherwise what `interrupt` says.
  absl::Status Launch(FunctionHandle function, const LaunchOptions& options);
  // Nothing is ever under way; kept for the shape of a device.
  absl::Status Synchronize() { return absl::OkStatus(); }

  // Not while launches are under way on other threads.
  const std::vector<Finding>& findings() const { return findings_; }
  void ClearFindings();
  // Instructions of warps that launches executed so far.
  int64_t executed_instructions() const;
  // Passes over the banks of shared memory that loads, stores and asynchronous copies of launches
  // so far lost to conflicts.
  int64_t bank_conflicts() const;
  // Of loads and stores of launches so far.
  GlobalTraffic global_traffic() const;

  uint32_t max_shared_bytes() const { return MaxSharedBytes(options_.sm); }

 private:
  struct LoadedModule;
  absl::StatusOr<std::shared_ptr<LoadedModule>> FindModule(int module) const;
  absl::Status PlaceVariables(LoadedModule& loaded);
  // With the lock held.
  absl::Status CheckLaunch(const Kernel& kernel, const LaunchOptions& options) const;

  const EmulatorOptions options_;
  GlobalMemory memory_;
  mutable std::mutex mutex_;  // of all below; not held while blocks run
  std::map<int, std::shared_ptr<LoadedModule>> modules_;
  std::map<const Kernel*, std::shared_ptr<LoadedModule>> owners_;
  std::map<const Kernel*, uint32_t> max_dynamic_shared_;
  int next_module_ = 1;
  std::vector<Finding> findings_;
  int64_t executed_instructions_ = 0;
  int64_t bank_conflicts_ = 0;
  GlobalTraffic global_traffic_;
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_EMULATOR_H_
