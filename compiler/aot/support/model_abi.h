/* A model as constant tables: what an ahead-of-time artifact holds beside kernels, weights and the
 * executor. The compiler writes them (compiler/aot/model_tables.h); model.h reads them, from the
 * same build of Weft always, so there is no version to check. C, laid out without padding.
 */
#ifndef WEFT_COMPILER_AOT_SUPPORT_MODEL_ABI_H_
#define WEFT_COMPILER_AOT_SUPPORT_MODEL_ABI_H_

#include <stdint.h>

#include "runtime/core/plan_abi.h"

/* A symbol whose value a plan was specialised for. 16 bytes. */
typedef struct WeftModelFixedSymbol {
  uint32_t symbol; /* of the signature */
  uint32_t zero;
  int64_t value;
} WeftModelFixedSymbol;

/* One way to run a signature. 40 bytes. */
typedef struct WeftModelPlan {
  const WeftPlan* plan;
  const uint32_t* symbols;   /* for each symbol of the plan, which of the signature's it is */
  const uint32_t* variables; /* for each variable of the plan, which of the model's it is */
  const WeftModelFixedSymbol* fixed; /* the plan is for these values alone */
  uint32_t num_fixed;
  uint32_t zero;
} WeftModelPlan;

/* 32 bytes. */
typedef struct WeftModelSignature {
  const char* name;
  const char* const* symbols; /* names of the open dimensions, in the order of entry points */
  const WeftModelPlan* plans; /* the last has no fixed symbols */
  uint32_t num_symbols;
  uint32_t num_plans;
} WeftModelSignature;

/* Code for one kind of processor. 32 bytes. */
typedef struct WeftModelTarget {
  const char* name;                     /* "cpu:x86-64-v4" */
  const WeftModelSignature* signatures; /* of the same names and order in all targets */
  const char* const* features;          /* what the processor must have, by LLVM's names */
  uint32_t num_features;
  uint32_t zero;
} WeftModelTarget;

/* 48 bytes. */
typedef struct WeftModelVariable {
  const char* name;
  const int64_t* shape;
  const void* value; /* the first value, aligned to 64; or null */
  int64_t bytes;
  int32_t dtype; /* weft.DType */
  uint32_t rank;
  uint32_t assigned; /* 1 where some signature assigns it */
  uint32_t zero;
} WeftModelVariable;

/* 48 bytes. */
typedef struct WeftModelTables {
  const char* name;
  const WeftModelTarget* targets; /* those with more features first */
  const WeftModelVariable* variables;
  const void* constants; /* aligned to 64 */
  uint32_t num_targets;
  uint32_t num_signatures;
  uint32_t num_variables;
  uint32_t zero;
} WeftModelTables;

#endif /* WEFT_COMPILER_AOT_SUPPORT_MODEL_ABI_H_ */
