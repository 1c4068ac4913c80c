#ifndef WEFT_RUNTIME_PTX_EMULATOR_LAUNCH_STATE_H_
#define WEFT_RUNTIME_PTX_EMULATOR_LAUNCH_STATE_H_

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "runtime/ptx_emulator/finding.h"
#include "runtime/ptx_emulator/global_memory.h"
#include "runtime/ptx_emulator/program.h"

namespace weft::ptx {

// A part of device memory that a launch may touch, for instance a buffer of an arena.
struct Region {
  uint64_t address = 0;
  uint64_t bytes = 0;
  std::string name;
  bool writable = true;
};

// What a line of PTX was made from, from `first_line` to the next note.
struct SourceNote {
  int first_line = 0;
  std::string op;
  std::string file;
  int line = 0;
};

// What all blocks of one launch share.
struct LaunchState {
  LaunchState(const Kernel& kernel, const Module& module, GlobalMemory& memory)
      : kernel(kernel), module(module), memory(memory) {}

  const Kernel& kernel;
  const Module& module;
  GlobalMemory& memory;
  Dim3 grid;
  Dim3 block;
  uint32_t dynamic_shared_bytes = 0;
  std::vector<std::byte> parameters;
  std::vector<Region> regions;  // by address; empty: all of the memory
  std::span<const SourceNote> notes;
  int64_t step_limit = 0;  // instructions of warps, for each block
  std::function<absl::Status()> interrupt;

  std::atomic<int64_t> steps = 0;
  std::atomic<int64_t> bank_conflicts = 0;
  std::atomic<int64_t> sectors = 0, fewest_sectors = 0;

  // The blocks from this one on (by number, in the order in which one host thread would run them)
  // are not to run: one before them ended the launch.
  std::atomic<uint64_t> end = std::numeric_limits<uint64_t>::max();
  void EndAt(uint64_t block);
  // Ends all blocks: the launch has failed.
  void Fail(absl::Status status);
  // Asks `interrupt`, which may end the launch.
  void AskInterrupt();

  // Host threads take blocks in order, from BeginWorkers(number of threads) on. None at the end:
  // then the thread is done.
  void BeginWorkers(int workers) { current_.assign(workers, kNoBlock); }
  std::optional<uint64_t> NextBlock(int worker);
  // A worker that ends in another way.
  void Leave(int worker);
  // Adds what was found in the block that the worker has done. Waits for the blocks before it, so
  // that what is kept does not depend on the schedule: the first finding of each kind and line, and
  // how often it was found.
  void AddFindings(int worker, std::vector<Finding> findings);

  // When all workers are done.
  absl::Status failure;
  std::vector<Finding> findings;

 private:
  static constexpr uint64_t kNoBlock = std::numeric_limits<uint64_t>::max();
  void Set(int worker, uint64_t block);  // with the lock held

  std::mutex mutex_;
  std::condition_variable moved_on_;
  std::vector<uint64_t> current_;  // by worker
  uint64_t next_ = 0;
};

// Enough to see what is wrong; a kernel that goes on from there is broken throughout.
inline constexpr size_t kMaxFindings = 64;

// Adds a finding, or counts it with one of its kind and line. Nothing is added to kMaxFindings.
void AddFinding(std::vector<Finding>& findings, Finding finding);

// Whether what was found makes it useless to go on.
bool EndsLaunch(FindingKind kind);

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_LAUNCH_STATE_H_
