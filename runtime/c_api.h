/* Weft's runtime in C: loads packages and runs them. Link //runtime:c_api.
 *
 * Version 2. Changes:
 *   2: WeftSessionOptions has devices.
 * Later versions only add: functions at the end, fields at the end of structs that carry their
 * size.
 *
 * Errors: functions that return int return 0 (WEFT_STATUS_OK) or one of WeftStatus, and functions
 * that return a pointer return NULL; weft_error_message() then says what was wrong. So does a NULL
 * argument, unless stated otherwise, and NULL for elements where there are some. No exception
 * leaves a function; where memory is short, the status is WEFT_STATUS_RESOURCE_EXHAUSTED (but while
 * a package is loaded, its parser may end the process).
 *
 * Threads: a session may be used by several threads at once, a call by one at a time.
 *
 * Ownership: every pointer that a function returns belongs to the object it was asked of, unless
 * stated otherwise, and stays valid as long as that object. */
#ifndef WEFT_RUNTIME_C_API_H_
#define WEFT_RUNTIME_C_API_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_C_API_VERSION 2

/* The version of the library that is linked. */
int weft_c_api_version(void);

/* Numbers are those of absl::StatusCode. */
enum WeftStatus {
  WEFT_STATUS_OK = 0,
  WEFT_STATUS_CANCELLED = 1,
  WEFT_STATUS_INVALID_ARGUMENT = 3,
  WEFT_STATUS_DEADLINE_EXCEEDED = 4,
  WEFT_STATUS_NOT_FOUND = 5,
  WEFT_STATUS_PERMISSION_DENIED = 7,
  WEFT_STATUS_RESOURCE_EXHAUSTED = 8,
  WEFT_STATUS_FAILED_PRECONDITION = 9,
  WEFT_STATUS_OUT_OF_RANGE = 11,
  WEFT_STATUS_INTERNAL = 13,
  WEFT_STATUS_DATA_LOSS = 15
};

/* Of the last function of this thread that failed; "" before that. Valid until this thread calls
 * another function of this API. */
const char* weft_error_message(void);

/* Element types; in memory as the C type beside them. */
enum WeftDType {
  WEFT_DTYPE_BOOL = 1, /* uint8_t, 0 or 1 */
  WEFT_DTYPE_I8 = 2,   /* int8_t */
  WEFT_DTYPE_U8 = 3,   /* uint8_t */
  WEFT_DTYPE_I32 = 4,  /* int32_t */
  WEFT_DTYPE_I64 = 5,  /* int64_t */
  WEFT_DTYPE_F16 = 6,  /* IEEE half precision */
  WEFT_DTYPE_BF16 = 7, /* the upper half of a float */
  WEFT_DTYPE_F32 = 8,  /* float */
  WEFT_DTYPE_F64 = 9   /* double */
};

/* A tensor in memory, row-major. */
typedef struct WeftTensor {
  int32_t dtype; /* WeftDType */
  int32_t rank;
  const int64_t* shape;
  void* data;
  size_t bytes;
} WeftTensor;

/* ---- Sessions ---- */

typedef struct WeftSession WeftSession;

/* What stands for a device that nodes of a package are placed on. Never gets more fields. */
typedef struct WeftNamedDevice {
  const char* name;   /* that the nodes have for it, such as "cuda:0" */
  const char* device; /* as in WeftSessionOptions: "cuda:1" */
} WeftNamedDevice;

typedef struct WeftSessionOptions {
  size_t struct_size;       /* sizeof(WeftSessionOptions) */
  int32_t threads;          /* 0: one per core; above 1024 counts as 1024 */
  int32_t max_cached_calls; /* 0: the default */
  int64_t max_memory_bytes; /* what calls of the session take together at most (the sum of
                               weft_call_peak_bytes); a call beyond it is refused; 0: no limit */
  int64_t max_cached_bytes; /* what is kept for later runs at most; 0: the default */
  /* Since version 2. */
  const char* device; /* where plans run and variables live: "cpu", or "cuda:0" and the like for a
                         GPU; NULL: "cpu" */
  /* For nodes and variables that are placed on devices by name, num_named_devices of them; each
   * name has to be one that some are placed on. For other names, the device of the very name. NULL
   * where there are none. */
  const WeftNamedDevice* named_devices;
  size_t num_named_devices;
} WeftSessionOptions;

/* A package file, or its bytes (copied). `options` may be NULL. Free with weft_session_free. The
 * file stays mapped as long as the session or a call prepared by it lives: put another in its place
 * by renaming, never by writing to it. What is written to it would change results, and where it
 * becomes shorter, the process ends (SIGBUS). */
WeftSession* weft_session_load(const char* path, const WeftSessionOptions* options);
WeftSession* weft_session_from_memory(const void* bytes, size_t size,
                                      const WeftSessionOptions* options);
/* Calls that were prepared stay usable. NULL is allowed. */
void weft_session_free(WeftSession* session);

/* ---- Signatures ---- */

/* An input or output of a signature. */
typedef struct WeftValueInfo {
  const char* name;
  int32_t dtype; /* WeftDType */
  int32_t rank;
  const char* const* dims; /* "784", or a name such as "batch" of an open dimension */
} WeftValueInfo;

/* Numbers are -1 after an error. */
int32_t weft_session_num_signatures(const WeftSession* session);
/* NULL, with a message, past the end. */
const char* weft_session_signature_name(const WeftSession* session, int32_t index);
int32_t weft_session_num_inputs(const WeftSession* session, const char* signature);
int32_t weft_session_num_outputs(const WeftSession* session, const char* signature);
/* NULL where there is no such signature or value. */
const WeftValueInfo* weft_session_input(const WeftSession* session, const char* signature,
                                        int32_t index);
const WeftValueInfo* weft_session_output(const WeftSession* session, const char* signature,
                                         int32_t index);

/* ---- Calls ---- */

typedef struct WeftCall WeftCall;

typedef struct WeftRunOptions {
  size_t struct_size;             /* sizeof(WeftRunOptions) */
  double timeout_seconds;         /* 0: none; below 0: over already */
  const volatile uint8_t* cancel; /* NULL, or set to 1 by another thread to stop the run */
} WeftRunOptions;

/* Makes a signature ready for inputs of these shapes: shapes[i] has as many sizes as input i has
 * dimensions. Free with weft_call_free. */
WeftCall* weft_session_prepare(WeftSession* session, const char* signature,
                               const int64_t* const* shapes);
void weft_call_free(WeftCall* call);
/* Elements of input `index`, of the dtype and shape that the call has. They are read by each run
 * until another feed; in place, if they start at a multiple of 64. */
int weft_call_feed(WeftCall* call, int32_t index, const void* data);
/* `options` may be NULL. On processors, allocates nothing from the second time on; on a GPU from
 * the third on, since the second makes its graph (what the driver allocates is not known). */
int weft_call_run(WeftCall* call, const WeftRunOptions* options);
/* Output `index`, which the next run overwrites. */
int weft_call_output(WeftCall* call, int32_t index, WeftTensor* output);
/* Exact bytes of arena and scratch of this call, and of the host for values that cross between
 * devices which both are elsewhere (the certificate); -1 after an error. */
int64_t weft_call_peak_bytes(const WeftCall* call);

/* ---- Variables ---- */

/* Copies a variable's elements to or from `data`, of `bytes` bytes. */
int weft_session_get_variable(WeftSession* session, const char* name, void* data, size_t bytes);
int weft_session_set_variable(WeftSession* session, const char* name, int32_t dtype, int32_t rank,
                              const int64_t* shape, const void* data);
/* All variables to a safetensors file, atomically, and back: all or none. Nobody may write to the
 * file while it is read back; another that takes its place by renaming, as saving does, is fine. */
int weft_session_save_checkpoint(WeftSession* session, const char* path);
int weft_session_restore_checkpoint(WeftSession* session, const char* path);

#ifdef __cplusplus
}
#endif

#endif /* WEFT_RUNTIME_C_API_H_ */
