#ifndef WEFT_RUNTIME_PTX_EMULATOR_LAUNCH_STATE_H_
#define WEFT_RUNTIME_PTX_EMULATOR_LAUNCH_STATE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

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

  std::atomic<bool> stop = false;
  std::atomic<int64_t> steps = 0;

  // Keeps the first finding of each kind and line. Some kinds end the launch.
  void Report(Finding finding);

  std::mutex mutex;
  std::vector<Finding> findings;
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_LAUNCH_STATE_H_
