/* An instance of a model inside an ahead-of-time artifact: its variables, threads and memory. The
 * typed functions that an artifact exports (see compiler/aot/README.md) call these. Needs libc and
 * pthreads only; allocates in weft_model_create, and where memory for larger sizes is needed.
 *
 * One thread at a time may use an instance; different instances are independent.
 */
#ifndef WEFT_COMPILER_AOT_SUPPORT_MODEL_H_
#define WEFT_COMPILER_AOT_SUPPORT_MODEL_H_

#include <stdint.h>

#include "compiler/aot/support/model_abi.h"
#include "runtime/core/executor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What functions return; the header of an artifact has the same numbers. */
enum WeftModelStatus {
  WEFT_MODEL_OK = 0,
  WEFT_MODEL_INVALID_ARGUMENT = 1,
  WEFT_MODEL_UNDEFINED_VARIABLE = 2,
  WEFT_MODEL_OUT_OF_MEMORY = 3,
  WEFT_MODEL_RUN_FAILED = 4, /* an assertion does not hold, or a loop passes its limit */
  WEFT_MODEL_FILE_ERROR = 5,
  WEFT_MODEL_DEADLINE_EXCEEDED = 6,
  WEFT_MODEL_CANCELLED = 7
};

typedef struct WeftModel WeftModel;

/* Why this processor cannot run the model; null where it can. */
const char* weft_model_unsupported(const WeftModelTables* tables);

/* Picks the code for this processor and starts `threads` threads, the calling one included; 0 means
 * one for each core. Variables have their first values, where the model holds some. Null where
 * memory is short or no code is for this processor. */
WeftModel* weft_model_create(const WeftModelTables* tables, int threads);
void weft_model_destroy(WeftModel* model);
/* What the last function that failed on this instance has to say; "" before. */
const char* weft_model_error(const WeftModel* model);
/* The name of the target whose code runs. */
const char* weft_model_target(const WeftModel* model);
const WeftModelTables* weft_model_tables_of(const WeftModel* model);

/* Runs a signature at values of its symbols. Tensors that start at multiples of 64 are used in
 * place, others are copied; an output may be null where it is not wanted. Tensors must not overlap.
 */
int weft_model_run(WeftModel* model, uint32_t signature, const int64_t* symbols,
                   const void* const* inputs, void* const* outputs);
/* Exact bytes of memory that such a run takes when every tensor is given and starts at a multiple
 * of 64; -1 on an error. */
int64_t weft_model_peak_bytes(WeftModel* model, uint32_t signature, const int64_t* symbols);
/* Bytes of one output; -1 on an error. */
int64_t weft_model_output_bytes(WeftModel* model, uint32_t signature, uint32_t output,
                                const int64_t* symbols);
/* Memory for all runs from here on, which the caller keeps until the instance is destroyed or
 * given other memory; null: allocate what is needed. */
int weft_model_use_memory(WeftModel* model, void* memory, int64_t bytes);

/* Ends the runs from here on early: with DEADLINE_EXCEEDED where they are not done
 * `timeout_seconds` after they began (0: no limit), with CANCELLED where *cancel is not 0 (null:
 * never). Both are looked at before each step, and between the pieces that a step is computed in,
 * until the run begins to write variables. */
int weft_model_set_limits(WeftModel* model, double timeout_seconds, const volatile uint8_t* cancel);

/* The plan that runs a signature at any values of its symbols; for descriptions. */
const WeftPlan* weft_model_general_plan(const WeftModel* model, uint32_t signature);
/* Values of the signature's symbols from the shapes of its inputs, which must be of the ranks that
 * the general plan states. INVALID_ARGUMENT where a size is not what the signature expects. */
int weft_model_bind(WeftModel* model, uint32_t signature, const int64_t* const* input_shapes,
                    int64_t* symbols);
/* Writes the shape of output `output`, of the rank that the general plan states. */
int weft_model_output_shape(WeftModel* model, uint32_t signature, uint32_t output,
                            const int64_t* symbols, int64_t* shape);

typedef struct WeftModelVariableInfo {
  const char* name;
  const char* dtype; /* "f32" */
  const int64_t* shape;
  int32_t rank;
  int32_t zero;
  int64_t bytes;
} WeftModelVariableInfo;

/* Describes variable `index`, from 0. INVALID_ARGUMENT past the last. */
int weft_model_describe_variable(const WeftModelTables* tables, int index,
                                 WeftModelVariableInfo* info);
/* Copy all elements of a variable. `bytes` must be its size. */
int weft_model_get_variable(WeftModel* model, const char* name, void* values, int64_t bytes);
int weft_model_set_variable(WeftModel* model, const char* name, const void* values, int64_t bytes);
/* Makes sure that setting any variable cannot fail for lack of memory. */
int weft_model_reserve_variables(WeftModel* model);
/* The elements of variable `index`; null while it has no value. */
const void* weft_model_variable_value(const WeftModel* model, uint32_t index);

/* All variables to and from a safetensors file, written atomically. Reading changes either all or
 * none; tensors that are no variables of the model are passed over. */
int weft_model_save_variables(WeftModel* model, const char* path);
int weft_model_load_variables(WeftModel* model, const char* path);

/* Keeps the message of an error, and returns its status. */
int weft_model_fail(WeftModel* model, int status, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

/* Of weft.DType: bytes of one element, and "f32". */
int64_t weft_dtype_bytes(int32_t dtype);
const char* weft_dtype_name(int32_t dtype);

#ifdef __cplusplus
}
#endif

#endif /* WEFT_COMPILER_AOT_SUPPORT_MODEL_H_ */
