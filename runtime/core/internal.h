// What the files of the executor share. See executor.h for what it may use.
#ifndef WEFT_RUNTIME_CORE_INTERNAL_H_
#define WEFT_RUNTIME_CORE_INTERNAL_H_

#include <stddef.h>
#include <stdint.h>

#include "runtime/core/executor.h"

// Weak, so that a program may hold several ahead-of-time artifacts, each with its executor.
#define WEFT_CORE_WEAK __attribute__((weak, visibility("hidden")))
#define WEFT_CORE_DEFINITION extern "C" WEFT_CORE_WEAK

// In the caller's memory, followed by the arrays that it points to.
struct WeftInstance {
  const WeftPlan* plan;
  int64_t arena_bytes[WEFT_MAX_DEVICES];
  int64_t scratch_bytes[WEFT_MAX_DEVICES];  // one thread's
  int64_t* values;                          // num_formulas
  int64_t* arena_offsets;                   // num_buffers
  int64_t* sizes;                           // num_sizes: values of plan->sizes
  void** bases;                             // num_buffers: addresses in this run
  void** addresses;                         // num_args: bases with offsets added
};

namespace weft::core {

// Bytes of an element of weft.DType `dtype`; 0 where it is none.
inline int64_t ElementBytes(int32_t dtype) {
  constexpr int8_t kBytes[] = {0, 1, 1, 1, 4, 8, 2, 2, 4, 8};
  return dtype >= 0 && dtype < static_cast<int32_t>(sizeof(kBytes)) ? kBytes[dtype] : 0;
}

inline int64_t AlignUp(int64_t bytes) { return (bytes + 63) & ~int64_t{63}; }

// Nanoseconds of CLOCK_MONOTONIC.
int64_t Now();

// What may stop a run that has not committed.
struct Interrupt {
  int64_t deadline;       // of Now(); INT64_MAX: none
  const uint8_t* cancel;  // null, or read atomically: not 0 means stop
  bool possible() const { return deadline != INT64_MAX || cancel != nullptr; }
};
// WEFT_OK, WEFT_ERROR_CANCELLED or WEFT_ERROR_DEADLINE.
int Interrupted(const Interrupt& interrupt);

// One launch over all its tiles. Thread i of those that share it gets scratch + i * scratch_stride.
struct Job {
  WeftKernel kernel;
  void* const* buffers;
  const int64_t* sizes;
  int64_t tiles;
  char* scratch;
  int64_t scratch_stride;
  // The least time that it takes on one thread, roughly; 0 where nothing is known.
  int64_t nanoseconds;
  Interrupt interrupt;  // looked at between tiles
};
// Both return WEFT_OK, or why the job was interrupted; then some tiles were not computed. On the
// calling thread:
int RunAlone(const Job& job);
// With up to `helpers` threads of the pool beside it.
int RunOnPool(WeftPool* pool, const Job& job, int helpers);

// The device that a step is of: of copies between two, that of the source.
inline uint32_t DeviceOf(const WeftPlan& plan, const WeftStep& step) {
  return step.num_args == 0 ? 0 : plan.buffers[plan.args[step.first_arg].buffer].device;
}

// What one of a device's functions returned, as the end of a run.
int FromDevice(int result);
// Bytes at an address of the run's device, once what was given to it before is done.
int ReadBytes(const WeftRunArgs& args, void* host, const void* source, int64_t bytes);

// Writes a PRINT step's line(s) to stderr.
int Print(const WeftRunArgs& args, const WeftStep& step, const int64_t* shape, const void* data);

}  // namespace weft::core

#endif  // WEFT_RUNTIME_CORE_INTERNAL_H_
