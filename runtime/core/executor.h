/* Runs plans (plan_abi.h). Freestanding: no allocation, no exceptions, no C++ library; only libc
 * and pthreads. The caller gives all memory. The same object is linked into the session and into
 * ahead-of-time artifacts; its symbols are weak and hidden, so that several artifacts in one
 * program each work.
 *
 * How to run a plan for feeds of given shapes:
 *   weft_bind_symbols          shapes of the inputs -> values of the symbols
 *   weft_instance_create       evaluates formulas, lays out the arena
 *   weft_check_shapes          every dimension is as the plan expects
 *   weft_run                   any number of times
 */
#ifndef WEFT_RUNTIME_CORE_EXECUTOR_H_
#define WEFT_RUNTIME_CORE_EXECUTOR_H_

#include <stddef.h>
#include <stdint.h>

#include "runtime/core/plan_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Definitions are weak; a declaration is not, or the linker would not look for one in archives. */
#define WEFT_CORE_API __attribute__((visibility("hidden")))

enum WeftResult {
  WEFT_OK = 0,
  WEFT_ERROR_OVERFLOW = 1,  /* a formula (error.index) leaves 64 bits or divides by 0 */
  WEFT_ERROR_SIZE = 2,      /* the size of buffer error.index is negative or out of bounds */
  WEFT_ERROR_STEP_SIZE = 3, /* a size that step error.index uses is out of bounds */
  WEFT_ERROR_SHAPE = 4,     /* input error.index has another size in dimension error.dim */
  WEFT_ERROR_ASSERT = 5,    /* the assertion in step error.index does not hold */
  WEFT_ERROR_LIMIT = 6,     /* the loop in step error.index passed its limit */
  WEFT_ERROR_DEADLINE = 7,
  WEFT_ERROR_CANCELLED = 8,
  WEFT_ERROR_DEVICE = 9, /* the device failed in step error.index, or earlier; it knows why */
  /* A tile of the launch in step error.index has more work than its limit, and nothing could stop
   * it. */
  WEFT_ERROR_TILE_WORK = 10
};

typedef struct WeftError {
  uint32_t index;
  uint32_t dim;
  int64_t expected; /* SHAPE: the size; TILE_WORK: the most flops of a tile */
  int64_t got;      /* TILE_WORK */
  /* DEVICE: not 0 where a step from the commit step on was begun. */
  uint32_t committed;
} WeftError;

/* Sizes in bytes stay below this. */
#define WEFT_MAX_BYTES ((int64_t)1 << 48)

/* input_shapes[i] is the shape of input i, of the rank that the plan states. Writes num_symbols
 * values. */
WEFT_CORE_API void weft_bind_symbols(const WeftPlan* plan, const int64_t* const* input_shapes,
                                     int64_t* symbols);

/* A plan at given values of its symbols. One thread at a time may use it. */
typedef struct WeftInstance WeftInstance;

/* Bytes of memory, aligned to 64, that an instance takes. */
WEFT_CORE_API size_t weft_instance_bytes(const WeftPlan* plan);
/* Makes one in `memory`, which it keeps using, as it does the plan. Errors: OVERFLOW, SIZE,
 * STEP_SIZE, TILE_WORK. */
WEFT_CORE_API int weft_instance_create(const WeftPlan* plan, const int64_t* symbols, void* memory,
                                       WeftInstance** instance, WeftError* error);
/* Compares every dimension with its formula. Error: SHAPE. */
WEFT_CORE_API int weft_check_shapes(const WeftInstance* instance,
                                    const int64_t* const* input_shapes, WeftError* error);
WEFT_CORE_API int64_t weft_formula_value(const WeftInstance* instance, uint32_t formula);
/* The size of a value (input, output or variable of the plan) in one dimension. */
WEFT_CORE_API int64_t weft_value_dim(const WeftInstance* instance, const WeftValue* value,
                                     uint32_t dim);
/* Of one device of the plan: bytes of its arena; and of scratch for one thread, a multiple of 64.
 * For a plan of one processor alone, their sum, with scratch once for each thread of the pool, is
 * the exact peak; PreparedCall::SetPeak has that of several devices, where names of one share its
 * scratch, and the host holds what crosses between others. */
WEFT_CORE_API int64_t weft_arena_bytes(const WeftInstance* instance, uint32_t device);
WEFT_CORE_API int64_t weft_scratch_bytes(const WeftInstance* instance, uint32_t device);

/* Threads that share the tiles of launches. */
typedef struct WeftPool WeftPool;
/* The most threads of a pool; where more are asked for, it has so many. */
#define WEFT_MAX_THREADS 1024
/* Bytes of memory, aligned to 64, for a pool of `threads` threads, the calling one included. */
WEFT_CORE_API size_t weft_pool_bytes(int threads);
/* The threads start once a launch is worth them (fewer where the system refuses). */
WEFT_CORE_API WeftPool* weft_pool_start(void* memory, int threads);
/* Threads that work on a launch at most, the calling one included. */
WEFT_CORE_API int weft_pool_threads(const WeftPool* pool);
/* Ends the threads; no run may be under way. In a child that was forked, where they are not, runs
 * use the calling thread alone, and this does nothing. */
WEFT_CORE_API void weft_pool_stop(WeftPool* pool);

/* Sums over all runs; updated by atomic additions, so that runs at once may share it. */
typedef struct WeftStepProfile {
  uint64_t runs;
  uint64_t nanoseconds; /* control flow: what is in it included */
  uint64_t bytes;
  uint64_t flops;
} WeftStepProfile;

/* A launch as a device gets it; see WEFT_STEP_LAUNCH. */
typedef struct WeftLaunch {
  WeftKernel kernel; /* as it stands in the plan's table: what the device made of it, cast */
  void* const* buffers;
  const int64_t* sizes;
  uint32_t num_buffers;
  uint32_t num_sizes;
  int64_t tiles;         /* at least 1 */
  int64_t scratch_bytes; /* for each tile that is worked on; on a GPU, shared memory of a block */
  const WeftStep* step;  /* what it stands for, for checks and messages */
  const WeftInstance* instance;
} WeftLaunch;

/* Bytes of the buffer from the address that the launch gives, 0 where that is past its end. */
WEFT_CORE_API int64_t weft_launch_bytes(const WeftLaunch* launch, uint32_t buffer);

/* How steps run elsewhere than on this processor: the same loop over steps gives work to a queue
 * of the device, which does it in order, and may do so later. Addresses are the device's. What is
 * pointed to is the caller's again when the function returns. Each returns 0, or else the run ends:
 * with WEFT_ERROR_DEADLINE or WEFT_ERROR_CANCELLED, where the function returns that because these
 * of WeftRunArgs made it give up before `commit`, otherwise with WEFT_ERROR_DEVICE.
 * runtime/device.h makes these of C++. */
typedef struct WeftDeviceFunctions {
  int (*launch)(void* queue, const WeftLaunch* launch);
  /* Within the device. */
  int (*copy)(void* queue, void* destination, const void* source, int64_t bytes);
  /* Waits until all work given so far is done, then copies bytes (which may be 0) to the host. */
  int (*read)(void* queue, void* host, const void* source, int64_t bytes);
  /* Null, or called before the first step that may write a variable, if there is one, else, where a
   * plan has several devices and a run one of the two, after the last step: from here on neither
   * deadline nor cancellation ends the run. Where it has one of them, a `read` of no bytes
   * comes before, so that what was given so far can still be given up. */
  void (*commit)(void* queue);
  /* Copies bytes from the host after the work given so far; those of the host may be overwritten
   * when it returns, wherever the copy is by then. Used where a plan has several devices; may be
   * null where none has. */
  int (*write)(void* queue, void* destination, const void* host, int64_t bytes);
} WeftDeviceFunctions;

typedef struct WeftRunArgs {
  void* arena;            /* weft_arena_bytes, aligned to 64 */
  void* scratch;          /* weft_scratch_bytes for each thread of the pool, aligned to 64 */
  const void* constants;  /* aligned to 64 */
  void* const* variables; /* each aligned to 64, of the size that its type and shape have */
  const void* const* inputs;
  void* const* outputs;
  WeftPool* pool;           /* null: the calling thread alone */
  int64_t deadline;         /* of CLOCK_MONOTONIC, in ns; INT64_MAX: none */
  const uint8_t* cancel;    /* null, or read atomically: not 0 means stop */
  WeftStepProfile* profile; /* null, or num_steps entries; a device is waited for at each step */
  /* Null: this processor, with `scratch` and `pool`. Else all memory above is the device's, and
   * work may still be under way when the run returns. */
  const WeftDeviceFunctions* device;
  void* queue;
  /* The plan's devices after the first, num_others of them: of each, arena, scratch, constants,
   * pool, device and queue count. Variables, inputs and outputs are those above, each where its
   * buffers lie. Those that are one device have one queue. */
  const struct WeftRunArgs* others;
  /* Of the host: what crosses between two devices that are both not this processor, of as many
   * bytes as the largest such copy. */
  void* staging;
} WeftRunArgs;

/* For what waits itself: WEFT_OK, WEFT_ERROR_DEADLINE or WEFT_ERROR_CANCELLED, by these two of
 * WeftRunArgs. */
WEFT_CORE_API int weft_interrupted(int64_t deadline, const uint8_t* cancel);

/* Errors: ASSERT, LIMIT, DEADLINE, CANCELLED: no variable was written then. DEVICE: the values of
 * assigned variables are lost where the run had committed. Deadline and cancellation are looked at
 * between steps and, on this processor, between tiles, up to the commit step; devices may look
 * within a launch. Several instances may run at once on one pool: one at a time has the other
 * threads' help. */
WEFT_CORE_API int weft_run(WeftInstance* instance, const WeftRunArgs* args, WeftError* error);

#ifdef __cplusplus
}
#endif

#endif /* WEFT_RUNTIME_CORE_EXECUTOR_H_ */
