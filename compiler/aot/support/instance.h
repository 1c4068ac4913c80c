// What the files of model.h share: an instance and its memory.
#ifndef WEFT_COMPILER_AOT_SUPPORT_INSTANCE_H_
#define WEFT_COMPILER_AOT_SUPPORT_INSTANCE_H_

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/aot/support/model.h"

namespace weft::aot {

constexpr int64_t kAlignment = WEFT_BUFFER_ALIGNMENT;

inline int64_t RoundUp(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

inline bool Aligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % kAlignment == 0;
}

// Zeros, so that padding is the same in each run. Null where memory is short.
inline void* Allocate(int64_t bytes) {
  const size_t size = static_cast<size_t>(RoundUp(bytes > 0 ? bytes : 1));
  void* memory = aligned_alloc(kAlignment, size);
  if (memory != nullptr) memset(memory, 0, size);
  return memory;
}

// An array of zeros. Null where memory is short.
template <typename T>
T* AllocateArray(uint32_t count) {
  return static_cast<T*>(calloc(count > 0 ? count : 1, sizeof(T)));
}

// "f32[3, 4]", as far as there is room for it.
constexpr size_t kMaxTypeText = 160;
void WriteType(int32_t dtype, const int64_t* shape, size_t rank, char (&text)[kMaxTypeText]);

struct VariableState {
  void* data;
  bool owned;    // `data` was allocated, and is not the constant in the tables
  bool defined;  // it has a value
};

// A plan and what was prepared of it.
struct PlanState {
  const WeftModelPlan* plan;
  void* memory;
  WeftInstance* instance;  // null until it was made for `symbols`
  int64_t* symbols;        // of the plan
  int64_t arena_bytes;
  int64_t scratch_bytes;  // of all threads
};

struct SignatureState {
  PlanState* plans;
};

}  // namespace weft::aot

struct WeftModel {
  const WeftModelTables* tables;
  const WeftModelTarget* target;
  int threads;
  WeftPool* pool;  // null for one thread
  void* pool_memory;
  weft::aot::VariableState* variables;
  weft::aot::SignatureState* signatures;
  // Of the plan that runs: its variables, inputs, and outputs.
  void** plan_variables;
  const void** inputs;
  void** outputs;
  // Memory for arena, scratch and copies of tensors.
  void* memory;
  int64_t memory_bytes;
  bool memory_is_callers;
  int64_t timeout_ns;              // of a run; 0: none
  const volatile uint8_t* cancel;  // null: never
  char error[512];
};

#endif  // WEFT_COMPILER_AOT_SUPPORT_INSTANCE_H_
