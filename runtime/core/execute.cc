// The executor's loop over steps.
#include <string.h>
#include <time.h>

#include "runtime/core/internal.h"

namespace weft::core {

WEFT_CORE_WEAK int64_t Now() {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

WEFT_CORE_WEAK int Interrupted(const Interrupt& interrupt) {
  if (interrupt.cancel != nullptr && __atomic_load_n(interrupt.cancel, __ATOMIC_ACQUIRE) != 0) {
    return WEFT_ERROR_CANCELLED;
  }
  if (interrupt.deadline != INT64_MAX && Now() >= interrupt.deadline) return WEFT_ERROR_DEADLINE;
  return WEFT_OK;
}

WEFT_CORE_WEAK int FromDevice(int result) {
  const bool stopped = result == WEFT_ERROR_DEADLINE || result == WEFT_ERROR_CANCELLED;
  return result == 0 || stopped ? result : WEFT_ERROR_DEVICE;
}

WEFT_CORE_WEAK int ReadBytes(const WeftRunArgs& args, void* host, const void* source,
                             int64_t bytes) {
  if (args.device != nullptr) {
    return FromDevice(args.device->read(args.queue, host, source, bytes));
  }
  if (bytes > 0) memcpy(host, source, static_cast<size_t>(bytes));
  return WEFT_OK;
}

}  // namespace weft::core

namespace {

using weft::core::FromDevice;
using weft::core::Interrupted;
using weft::core::Job;
using weft::core::Now;

constexpr weft::core::Interrupt kNoInterrupt = {INT64_MAX, nullptr};

// What one core does in a nanosecond, roughly; for deciding how many threads a launch is worth.
constexpr int64_t kBytesPerNanosecond = 8;
constexpr int64_t kFlopsPerNanosecond = 32;
// Waking a thread that sleeps takes several microseconds: a helper should have more to do than
// that.
constexpr int64_t kNanosecondsPerHelper = 10'000;

struct Run {
  WeftInstance* instance;
  const WeftPlan* plan;
  const WeftRunArgs* args;
  WeftError* error;
  weft::core::Interrupt interrupt;  // none once committed
};

// The memory and the queue of one of the plan's devices.
const WeftRunArgs& At(const Run& run, uint32_t device) {
  return device == 0 ? *run.args : run.args->others[device - 1];
}

const WeftRunArgs& At(const Run& run, const WeftStep& step) {
  return At(run, weft::core::DeviceOf(*run.plan, step));
}

// Until what was given to any device so far is done.
int WaitForAll(const Run& run) {
  int result = WEFT_OK;
  for (uint32_t i = 0; i <= run.plan->num_others && result == WEFT_OK; ++i) {
    result = weft::core::ReadBytes(At(run, i), nullptr, nullptr, 0);
  }
  return result;
}

void SetAddresses(const Run& run) {
  const WeftPlan& plan = *run.plan;
  WeftInstance& instance = *run.instance;
  for (uint32_t i = 0; i < plan.num_buffers; ++i) {
    const WeftBuffer& buffer = plan.buffers[i];
    const WeftRunArgs& at = At(run, buffer.device);
    switch (buffer.space) {
      case WEFT_SPACE_ARENA:
        instance.bases[i] = static_cast<char*>(at.arena) + instance.arena_offsets[i];
        break;
      case WEFT_SPACE_CONSTANT:
        // Kernels do not write to constants and inputs.
        instance.bases[i] =
            const_cast<char*>(static_cast<const char*>(at.constants)) + buffer.constant_offset;
        break;
      case WEFT_SPACE_VARIABLE:
        instance.bases[i] = run.args->variables[buffer.index];
        break;
      case WEFT_SPACE_INPUT:
        instance.bases[i] = const_cast<void*>(run.args->inputs[buffer.index]);
        break;
      default:
        instance.bases[i] = run.args->outputs[buffer.index];
        break;
    }
  }
  for (uint32_t i = 0; i < plan.num_args; ++i) {
    const WeftBufferArg& arg = plan.args[i];
    const int64_t offset = arg.offset == WEFT_NONE ? 0 : instance.values[arg.offset];
    instance.addresses[i] = static_cast<char*>(instance.bases[arg.buffer]) + offset;
  }
}

int64_t AtLeastZero(int64_t value) { return value > 0 ? value : 0; }

int Launch(const Run& run, const WeftStep& step) {
  const WeftInstance& instance = *run.instance;
  const int64_t tiles = instance.values[step.tiles];
  if (tiles == 0) return WEFT_OK;
  const uint32_t device = weft::core::DeviceOf(*run.plan, step);
  const WeftRunArgs& at = At(run, device);
  if (at.device != nullptr) {
    const WeftLaunch launch = {run.plan->kernels[step.kernel],
                               instance.addresses + step.first_arg,
                               instance.sizes + step.first_size,
                               step.num_args,
                               step.num_sizes,
                               tiles,
                               instance.values[step.scratch],
                               &step,
                               &instance};
    return FromDevice(at.device->launch(at.queue, &launch));
  }
  const int64_t by_bytes = AtLeastZero(instance.values[step.bytes]) / kBytesPerNanosecond;
  const int64_t by_flops = AtLeastZero(instance.values[step.flops]) / kFlopsPerNanosecond;
  const int64_t nanoseconds = by_bytes > by_flops ? by_bytes : by_flops;
  int64_t threads = nanoseconds / kNanosecondsPerHelper;
  if (threads > tiles) threads = tiles;
  const int64_t most = at.pool != nullptr ? weft_pool_threads(at.pool) : 1;
  if (threads > most) threads = most;
  const Job job = {run.plan->kernels[step.kernel],
                   instance.addresses + step.first_arg,
                   instance.sizes + step.first_size,
                   tiles,
                   static_cast<char*>(at.scratch),
                   instance.scratch_bytes[device],
                   nanoseconds,
                   run.interrupt};
  if (threads <= 1) return weft::core::RunAlone(job);
  return weft::core::RunOnPool(at.pool, job, static_cast<int>(threads) - 1);
}

// Either queue is done with the bytes in the host's memory when this returns, so that whoever comes
// next may overwrite them.
int CopyBetween(const WeftRunArgs& from, const WeftRunArgs& to, void* staging,
                void* const* addresses, int64_t bytes) {
  const void* host = from.device == nullptr ? addresses[0] : staging;
  if (from.device != nullptr) {
    void* place = to.device == nullptr ? addresses[1] : staging;
    const int result = weft::core::ReadBytes(from, place, addresses[0], bytes);
    if (result != WEFT_OK || to.device == nullptr) return result;
  }
  return FromDevice(to.device->write(to.queue, addresses[1], host, bytes));
}

int Copy(const Run& run, const WeftStep& step) {
  const int64_t bytes = run.instance->sizes[step.first_size];
  void* const* addresses = run.instance->addresses + step.first_arg;
  const WeftRunArgs& from = At(run, step);
  const WeftRunArgs& to =
      At(run, run.plan->buffers[run.plan->args[step.first_arg + 1].buffer].device);
  if (bytes <= 0) return WEFT_OK;
  // Two processors share their memory, and what has one queue is one device.
  if (from.device != to.device || from.queue != to.queue) {
    return CopyBetween(from, to, run.args->staging, addresses, bytes);
  }
  if (addresses[0] == addresses[1]) return WEFT_OK;
  if (from.device != nullptr) {
    return FromDevice(from.device->copy(from.queue, addresses[1], addresses[0], bytes));
  }
  // Buffers of the arena overlap where a plan from a file says so.
  memmove(addresses[1], addresses[0], static_cast<size_t>(bytes));
  return WEFT_OK;
}

// Reads the bool that the step looks at.
int Read(const Run& run, const WeftStep& step, bool* holds) {
  uint8_t byte = 0;
  const int result =
      weft::core::ReadBytes(At(run, step), &byte, run.instance->addresses[step.first_arg], 1);
  *holds = byte != 0;
  return result;
}

int RunBlock(Run& run, uint32_t block);

int RunWhile(Run& run, const WeftStep& step) {
  for (int64_t iteration = 0;; ++iteration) {
    if (int result = RunBlock(run, step.block); result != WEFT_OK) return result;
    bool holds = false;
    if (int result = Read(run, step, &holds); result != WEFT_OK) return result;
    if (!holds) return WEFT_OK;
    if (step.limit != 0 && iteration == step.limit) return WEFT_ERROR_LIMIT;
    if (int result = RunBlock(run, step.other_block); result != WEFT_OK) return result;
    // Both blocks may be empty of steps that look.
    if (int result = Interrupted(run.interrupt); result != WEFT_OK) return result;
  }
}

int RunStep(Run& run, const WeftStep& step) {
  bool holds = false;
  int result = WEFT_OK;
  switch (step.kind) {
    case WEFT_STEP_LAUNCH:
      return Launch(run, step);
    case WEFT_STEP_COPY:
      return Copy(run, step);
    case WEFT_STEP_WHILE:
      return RunWhile(run, step);
    case WEFT_STEP_COND:
      result = Read(run, step, &holds);
      return result != WEFT_OK ? result : RunBlock(run, holds ? step.block : step.other_block);
    case WEFT_STEP_ASSERT:
      result = Read(run, step, &holds);
      return result != WEFT_OK || holds ? result : WEFT_ERROR_ASSERT;
    case WEFT_STEP_PRINT:
      return weft::core::Print(At(run, step), step, run.instance->sizes + step.first_size,
                               run.instance->addresses[step.first_arg]);
    default:
      return WEFT_OK;
  }
}

void Record(const Run& run, uint32_t index, int64_t nanoseconds) {
  WeftStepProfile& profile = run.args->profile[index];
  const WeftStep& step = run.plan->steps[index];
  const auto add = [](uint64_t* sum, int64_t value) {
    __atomic_fetch_add(sum, static_cast<uint64_t>(value), __ATOMIC_RELAXED);
  };
  add(&profile.runs, 1);
  add(&profile.nanoseconds, nanoseconds);
  if (step.kind == WEFT_STEP_LAUNCH) {
    add(&profile.bytes, AtLeastZero(run.instance->values[step.bytes]));
    add(&profile.flops, AtLeastZero(run.instance->values[step.flops]));
  } else if (step.kind == WEFT_STEP_COPY) {
    add(&profile.bytes, 2 * run.instance->sizes[step.first_size]);
  }
}

// From here on nothing stops the run. A device may have done nothing yet of what it was given:
// while the run can be stopped, that is waited for.
int EndInterruption(Run& run) {
  if (run.interrupt.possible()) {
    int result = WaitForAll(run);
    if (result == WEFT_OK) result = Interrupted(run.interrupt);
    if (result != WEFT_OK) return result;
  }
  run.interrupt = kNoInterrupt;
  for (uint32_t i = 0; i <= run.plan->num_others; ++i) {
    const WeftRunArgs& at = At(run, i);
    if (at.device != nullptr && at.device->commit != nullptr) at.device->commit(at.queue);
  }
  return WEFT_OK;
}

int RunBlock(Run& run, uint32_t block) {
  const WeftBlock& steps = run.plan->blocks[block];
  for (uint32_t i = 0; i < steps.num_steps; ++i) {
    const uint32_t index = steps.first_step + i;
    const WeftStep& step = run.plan->steps[index];
    int result = Interrupted(run.interrupt);
    if (result == WEFT_OK && block == 0 && i == run.plan->commit_step) {
      // What it waits for is before this step, and may be any.
      if (const int waited = EndInterruption(run); waited != WEFT_OK) return waited;
      run.error->committed = 1;
    }
    if (result == WEFT_OK) {
      if (run.args->profile == nullptr) {
        result = RunStep(run, step);
      } else {
        const int64_t start = Now();
        result = RunStep(run, step);
        if (result == WEFT_OK) result = WaitForAll(run);
        Record(run, index, Now() - start);
      }
      if (result == WEFT_OK) continue;
    }
    // The innermost step is the one to name.
    if (run.error->index == WEFT_NONE) run.error->index = index;
    return result;
  }
  return WEFT_OK;
}

}  // namespace

WEFT_CORE_DEFINITION int weft_interrupted(int64_t deadline, const uint8_t* cancel) {
  return Interrupted({deadline, cancel});
}

WEFT_CORE_DEFINITION int weft_run(WeftInstance* instance, const WeftRunArgs* args,
                                  WeftError* error) {
  Run run = {instance, instance->plan, args, error, {args->deadline, args->cancel}};
  error->index = WEFT_NONE;
  error->committed = 0;
  SetAddresses(run);
  const int result = RunBlock(run, 0);
  // One queue gives its outputs all or none by itself; of several, one would give its own before
  // another one is stopped. Of this processor there is no queue: its outputs change as it goes.
  if (result != WEFT_OK || run.plan->num_others == 0 || !run.interrupt.possible()) return result;
  return EndInterruption(run);
}
