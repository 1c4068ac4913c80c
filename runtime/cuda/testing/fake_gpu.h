// The state behind the fake driver: streams that work late, on the PTX emulator.
#ifndef WEFT_RUNTIME_CUDA_TESTING_FAKE_GPU_H_
#define WEFT_RUNTIME_CUDA_TESTING_FAKE_GPU_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/testing/fake_driver.h"
#include "runtime/ptx_emulator/emulator.h"

namespace weft::cuda {

struct FakeContext {
  int retained = 0;
};

struct FakeModule {
  int module;
  CUcontext context;
};

struct FakeFunction {
  const FakeModule* module;
  ptx::FunctionHandle function;
  std::vector<ptx::ParameterInfo> parameters;
  // As cuFuncSetAttribute said.
  std::optional<uint32_t> allowed_shared;

  // Dynamic shared memory that a launch may have.
  uint32_t MaxDynamicShared() const {
    const uint32_t declared = ptx::Emulator::SharedBytes(function);
    return allowed_shared.value_or(ptx::kMaxSharedByDefault -
                                   std::min(ptx::kMaxSharedByDefault, declared));
  }
};

struct FakeStream;

struct FakeEvent {
  CUcontext context = nullptr;
  FakeStream* stream = nullptr;
  int64_t recorded = 0, done = 0;  // how many times
  bool timed = false;
  double microseconds = 0;  // by the GPU's clock, when it was done last
};

struct FakeWork {
  enum Kind { kLaunch, kFill, kCopyIn, kCopyOut, kCopyWithin, kRecord, kWait, kLibrary };
  Kind kind = kLaunch;
  CUdeviceptr to = 0, from = 0;
  void* host = nullptr;
  uint64_t bytes = 0;
  uint8_t value = 0;
  const FakeFunction* function = nullptr;
  ptx::Dim3 grid, block;
  uint32_t shared_bytes = 0;
  std::vector<std::vector<uint8_t>> parameters;
  // Of a library; `parameters` has the addresses that it uses.
  std::function<absl::Status(ptx::Emulator&)> compute;
  double microseconds = 0;  // that it takes
  std::shared_ptr<FakeEvent> event;
  int64_t record = 0;  // which one of the event
  bool of_graph = false;
};

struct FakeGraph {
  std::vector<FakeWork> work;
};

struct FakeStream {
  CUcontext context = nullptr;
  std::deque<FakeWork> work;
  std::unique_ptr<FakeGraph> capture;  // while it captures
  std::thread::id capturing_thread;
  bool invalidated = false;
};

// One for the process; hold its mutex.
class FakeGpu {
 public:
  static FakeGpu& Get();

  // Work for a stream, or for the graph that it captures. Complains where host memory is not
  // pinned.
  CUresult Add(FakeStream* stream, FakeWork work);
  // Counts and waits: a launch finds no place in the stream.
  void MakeRoom(FakeStream& stream);
  // With the last context: complains of what is left, and drops it.
  void EndOfContexts();
  // Does the stream's first piece of work.
  void Step(FakeStream& stream);
  void Drain(FakeStream& stream);
  // The work that is not done and uses the bytes, in any stream.
  bool IsUsed(uint64_t address, uint64_t bytes) const;
  // Of the memory that the options give it.
  uint64_t FreeBytes() const;
  bool IsPinned(const void* address, uint64_t bytes) const;
  // Whether this call is the one that fails; counts down.
  static bool Fails(int64_t* countdown);
  void Complain(const std::string& what) { complaints += what + "\n"; }

  std::mutex mutex;
  FakeDriverOptions options;
  FakeDriverCounts counts = {};
  std::string complaints;
  double microseconds = 0;       // its clock
  CUresult lost = CUDA_SUCCESS;  // the error that every call gives from then on
  bool was_lost = false;         // so what was not given back is nobody's fault
  std::optional<ptx::Emulator> emulator;
  std::map<int, FakeContext> contexts;  // by device
  std::set<FakeModule*> modules;
  std::map<std::pair<const FakeModule*, std::string>, std::unique_ptr<FakeFunction>> functions;
  std::map<CUdeviceptr, uint64_t> allocations;
  std::map<char*, uint64_t> pinned;
  std::set<FakeStream*> streams;
  std::map<FakeEvent*, std::shared_ptr<FakeEvent>> events;
  std::set<FakeGraph*> graphs, executable_graphs;

 private:
  void Launch(const FakeWork& work);
};

// For libraries, on whose calls the same holds as on the driver's: a context is current.
CUresult LibraryIsReady();
CUresult AddLibraryWork(CUstream stream, FakeWork work);

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_TESTING_FAKE_GPU_H_
