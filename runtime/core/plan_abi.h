/* A plan as plain tables: what the executor (executor.h) runs. The session fills them from a
 * package (runtime/plan_tables.h); ahead-of-time artifacts contain them as constants, linked with
 * the same executor. C, and standing alone.
 *
 * Every struct is laid out without padding and has the same size and offsets wherever pointers have
 * 64 bits. Fields named `zero` are 0. Strings end with a NUL and are never null. A table without
 * entries may be null. Formulas are named by their index in `formulas`. Tables are trusted: who
 * builds them has verified every index (runtime/plan_tables.h does, for packages).
 *
 * Version 1. Changes: launches have a `limit`, launches and copies `num_results` (both were 0);
 * buffers have a `device`, plans `num_others` (both were 0).
 */
#ifndef WEFT_RUNTIME_CORE_PLAN_ABI_H_
#define WEFT_RUNTIME_CORE_PLAN_ABI_H_

#include <stdint.h>

#include "runtime/core/kernel_abi.h"

#define WEFT_PLAN_ABI_VERSION 1

/* Of one plan. */
#define WEFT_MAX_DEVICES 16

/* Where a formula is optional. */
#define WEFT_NONE 0xffffffffu

enum WeftFormulaOp {
  WEFT_FORMULA_CONSTANT = 0,  /* value */
  WEFT_FORMULA_SYMBOL = 1,    /* the symbol of index a */
  WEFT_FORMULA_ADD = 2,       /* a + b */
  WEFT_FORMULA_SUB = 3,       /* a - b */
  WEFT_FORMULA_MUL = 4,       /* a * b */
  WEFT_FORMULA_FLOOR_DIV = 5, /* floor(a / b), b > 0 */
  WEFT_FORMULA_CEIL_DIV = 6,  /* ceil(a / b), b > 0 */
  WEFT_FORMULA_MOD = 7,       /* a - b * floor(a / b), b > 0 */
  WEFT_FORMULA_MAX = 8,
  WEFT_FORMULA_MIN = 9
};

/* a and b are earlier formulas. 24 bytes. */
typedef struct WeftFormula {
  uint32_t op; /* WeftFormulaOp */
  uint32_t a;
  uint32_t b;
  uint32_t zero;
  int64_t value;
} WeftFormula;

enum WeftSpace {
  WEFT_SPACE_ARENA = 0,
  WEFT_SPACE_CONSTANT = 1,
  WEFT_SPACE_VARIABLE = 2,
  WEFT_SPACE_INPUT = 3,
  WEFT_SPACE_OUTPUT = 4
};

/* 32 bytes. */
typedef struct WeftBuffer {
  uint32_t space; /* WeftSpace */
  uint32_t size;  /* formula: bytes */
  /* ARENA: below[first_below ... + num_below] are the earlier arena buffers of its device that lie
   * lower; the offset is the largest of their ends, rounded up to 64. */
  uint32_t first_below;
  uint32_t num_below;
  /* VARIABLE, INPUT, OUTPUT: which one. */
  uint32_t index;
  /* Whose memory it lies in: 0 is the plan's first device, up to num_others. */
  uint32_t device;
  /* CONSTANT: offset from the first constant, a multiple of 64. */
  uint64_t constant_offset;
} WeftBuffer;

/* 8 bytes. */
typedef struct WeftBufferArg {
  uint32_t buffer;
  uint32_t offset; /* formula: bytes added to the address; or WEFT_NONE */
} WeftBufferArg;

enum WeftStepKind {
  /* Runs kernel over `tiles`, with args and sizes as its `buffers` and `sizes`, on the device that
   * all of these lie on. A tile, which runs to its end, may have up to `limit` flops; 0 means any
   * number. */
  WEFT_STEP_LAUNCH = 0,
  /* args: source, destination; sizes: bytes. They do not overlap, or are the same; they may lie on
   * two devices. */
  WEFT_STEP_COPY = 1,
  /* Runs `block`, then, while the bool in args[0] holds, `other_block` and `block` again. More than
   * `limit` iterations are an error; 0 means no limit. */
  WEFT_STEP_WHILE = 2,
  /* Runs `block` if the bool in args[0] holds, else `other_block`. */
  WEFT_STEP_COND = 3,
  /* An error with `message` where the bool in args[0] does not hold. */
  WEFT_STEP_ASSERT = 4,
  /* Writes `message` and up to `limit` elements of args[0], of element type `dtype` and the shape
   * in sizes, to stderr. */
  WEFT_STEP_PRINT = 5
};

/* 96 bytes. What a kind does not use is 0. */
typedef struct WeftStep {
  uint32_t kind;      /* WeftStepKind */
  uint32_t kernel;    /* LAUNCH: index in kernels */
  uint32_t first_arg; /* in args */
  uint32_t num_args;
  uint32_t first_size; /* in sizes */
  uint32_t num_sizes;
  uint32_t tiles;   /* LAUNCH: formula */
  uint32_t scratch; /* LAUNCH: formula: bytes for each thread */
  uint32_t bytes;   /* LAUNCH: formula: read and written */
  uint32_t flops;   /* LAUNCH: formula */
  uint32_t block;
  uint32_t other_block;
  int32_t dtype;        /* PRINT: weft.DType */
  uint32_t num_results; /* LAUNCH, COPY: so many of the last args are written to */
  int64_t limit;
  const char* label;    /* "fusion(add, relu)" */
  const char* location; /* "model.cc:12", of the first graph node in it */
  const char* message;
  const char* nodes; /* the graph nodes in it, separated by ", " */
} WeftStep;

/* 8 bytes. blocks[0] is the entry; control flow goes from block to block without cycles. */
typedef struct WeftBlock {
  uint32_t first_step;
  uint32_t num_steps;
} WeftBlock;

/* An input, output or variable. 24 bytes. */
typedef struct WeftValue {
  const char* name;
  int32_t dtype; /* weft.DType */
  uint32_t rank;
  uint32_t first_dim; /* dims[first_dim ... + rank] and dim_names likewise */
  uint32_t flags;     /* variables: WEFT_VARIABLE_READ, WEFT_VARIABLE_ASSIGNED */
} WeftValue;

#define WEFT_VARIABLE_READ 1u
#define WEFT_VARIABLE_ASSIGNED 2u

/* An open dimension: the size of dimension `dim` of input `input`. 16 bytes. */
typedef struct WeftSymbol {
  const char* name;
  uint32_t input;
  uint32_t dim;
} WeftSymbol;

/* 184 bytes. */
typedef struct WeftPlan {
  uint32_t abi_version; /* WEFT_PLAN_ABI_VERSION */
  uint32_t commit_step; /* first step of the entry block that may write a variable */
  const char* signature;
  uint32_t num_symbols;
  uint32_t num_formulas;
  uint32_t num_buffers;
  uint32_t num_below;
  uint32_t num_args;
  uint32_t num_sizes;
  uint32_t num_steps;
  uint32_t num_blocks;
  uint32_t num_kernels;
  uint32_t num_inputs;
  uint32_t num_outputs;
  uint32_t num_variables;
  uint32_t num_dims;
  uint32_t num_others; /* devices beside the first; below WEFT_MAX_DEVICES */
  const WeftSymbol* symbols;
  const WeftFormula* formulas;
  const WeftBuffer* buffers;
  const uint32_t* below; /* buffers */
  const WeftBufferArg* args;
  const uint32_t* sizes; /* formulas */
  const WeftStep* steps; /* of all blocks */
  const WeftBlock* blocks;
  const WeftKernel* kernels;
  const WeftValue* inputs;
  const WeftValue* outputs;
  const WeftValue* variables;
  const uint32_t* dims;         /* formulas */
  const char* const* dim_names; /* "batch", "784" */
} WeftPlan;

#endif /* WEFT_RUNTIME_CORE_PLAN_ABI_H_ */
