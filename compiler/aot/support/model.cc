#include "compiler/aot/support/model.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/core/cpu.h"

namespace {

constexpr int64_t kAlignment = WEFT_BUFFER_ALIGNMENT;

int64_t RoundUp(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool Aligned(const void* address) { return reinterpret_cast<uintptr_t>(address) % kAlignment == 0; }

// Zeros, so that padding is the same in each run. Null where memory is short.
void* Allocate(int64_t bytes) {
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

int Cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  const int count = CPU_COUNT(&set);
  return count > 0 ? count : 1;
}

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

const WeftModelTarget* PickTarget(const WeftModelTables* tables) {
  WeftCpu cpu;
  weft_cpu_read(&cpu);
  for (uint32_t i = 0; i < tables->num_targets; ++i) {
    const WeftModelTarget& target = tables->targets[i];
    bool runs = true;
    for (uint32_t f = 0; f < target.num_features; ++f) {
      runs &= weft_cpu_has(&cpu, target.features[f]) != 0;
    }
    if (runs) return &target;
  }
  return nullptr;
}

}  // namespace

struct WeftModel {
  const WeftModelTables* tables;
  const WeftModelTarget* target;
  int threads;
  WeftPool* pool;  // null for one thread
  void* pool_memory;
  VariableState* variables;
  SignatureState* signatures;
  // Of the plan that runs: its variables, inputs, and outputs.
  void** plan_variables;
  const void** inputs;
  void** outputs;
  // Memory for arena, scratch and copies of tensors.
  void* memory;
  int64_t memory_bytes;
  bool memory_is_callers;
  char error[512];
};

namespace {

// Where `count` symbols that a plan runs at come from.
bool Matches(const WeftModelPlan& plan, const int64_t* symbols) {
  for (uint32_t i = 0; i < plan.num_fixed; ++i) {
    if (symbols[plan.fixed[i].symbol] != plan.fixed[i].value) return false;
  }
  return true;
}

int FailInstance(WeftModel* model, const WeftPlan& plan, int result, const WeftError& error) {
  switch (result) {
    case WEFT_ERROR_SIZE:
      return weft_model_fail(model, WEFT_MODEL_INVALID_ARGUMENT,
                             "%s: a tensor would be negative in size or too large", plan.signature);
    case WEFT_ERROR_STEP_SIZE:
      return weft_model_fail(model, WEFT_MODEL_INVALID_ARGUMENT,
                             "%s: sizes out of bounds at %s (%s)", plan.signature,
                             plan.steps[error.index].nodes, plan.steps[error.index].location);
    default:
      return weft_model_fail(model, WEFT_MODEL_INVALID_ARGUMENT,
                             "%s: the given sizes are too large", plan.signature);
  }
}

// Finds the plan for these symbols and makes its instance ready.
int Prepare(WeftModel* model, uint32_t signature, const int64_t* symbols, PlanState** prepared) {
  const WeftModelSignature& info = model->target->signatures[signature];
  for (uint32_t i = 0; i < info.num_symbols; ++i) {
    if (symbols[i] < 0) {
      return weft_model_fail(model, WEFT_MODEL_INVALID_ARGUMENT, "%s: expected %s >= 0, got %lld",
                             info.name, info.symbols[i], static_cast<long long>(symbols[i]));
    }
  }
  uint32_t index = 0;
  while (!Matches(info.plans[index], symbols)) ++index;  // the last matches
  PlanState& state = model->signatures[signature].plans[index];
  const WeftPlan& plan = *state.plan->plan;
  bool ready = state.instance != nullptr;
  for (uint32_t i = 0; i < plan.num_symbols; ++i) {
    const int64_t value = symbols[state.plan->symbols[i]];
    ready &= state.symbols[i] == value;
    state.symbols[i] = value;
  }
  *prepared = &state;
  if (ready) return WEFT_MODEL_OK;
  state.instance = nullptr;
  WeftInstance* instance = nullptr;
  WeftError error = {};
  const int result = weft_instance_create(&plan, state.symbols, state.memory, &instance, &error);
  if (result != WEFT_OK) return FailInstance(model, plan, result, error);
  state.arena_bytes = weft_arena_bytes(instance);
  state.scratch_bytes = weft_scratch_bytes(instance) * model->threads;
  state.instance = instance;
  return WEFT_MODEL_OK;
}

int64_t ValueBytes(const PlanState& state, const WeftValue& value) {
  int64_t bytes = weft_dtype_bytes(value.dtype);
  for (uint32_t i = 0; i < value.rank; ++i) bytes *= weft_value_dim(state.instance, &value, i);
  return bytes;
}

// Of arena and scratch, the one behind the other.
int64_t PeakBytes(const PlanState& state) {
  return state.scratch_bytes > 0 ? RoundUp(state.arena_bytes) + state.scratch_bytes
                                 : state.arena_bytes;
}

int EnsureMemory(WeftModel* model, const char* signature, int64_t bytes) {
  if (bytes <= model->memory_bytes) return WEFT_MODEL_OK;
  if (model->memory_is_callers) {
    return weft_model_fail(
        model, WEFT_MODEL_OUT_OF_MEMORY,
        "%s needs %lld bytes of memory, was given %lld; give more, or tensors that start at "
        "multiples of 64 bytes, which need not be copied",
        signature, static_cast<long long>(bytes), static_cast<long long>(model->memory_bytes));
  }
  void* memory = aligned_alloc(kAlignment, static_cast<size_t>(RoundUp(bytes)));
  if (memory == nullptr) {
    return weft_model_fail(model, WEFT_MODEL_OUT_OF_MEMORY, "%s: no memory for %lld bytes",
                           signature, static_cast<long long>(bytes));
  }
  free(model->memory);
  model->memory = memory;
  model->memory_bytes = bytes;
  return WEFT_MODEL_OK;
}

// Sets the variables that the plan uses; fails where it reads one without value.
int TakeVariables(WeftModel* model, const WeftModelPlan& plan) {
  for (uint32_t i = 0; i < plan.plan->num_variables; ++i) {
    VariableState& variable = model->variables[plan.variables[i]];
    if ((plan.plan->variables[i].flags & WEFT_VARIABLE_READ) && !variable.defined) {
      return weft_model_fail(
          model, WEFT_MODEL_UNDEFINED_VARIABLE,
          "%s: variable '%s' has no value; run init, load variables from a file, or set it",
          plan.plan->signature, plan.plan->variables[i].name);
    }
    model->plan_variables[i] = variable.data;
  }
  return WEFT_MODEL_OK;
}

int FailRun(WeftModel* model, const WeftPlan& plan, int result, const WeftError& error) {
  const WeftStep& step = plan.steps[error.index];
  switch (result) {
    case WEFT_ERROR_ASSERT:
      return weft_model_fail(model, WEFT_MODEL_RUN_FAILED, "%s: assertion failed at %s (%s): %s",
                             plan.signature, step.nodes, step.location, step.message);
    case WEFT_ERROR_LIMIT:
      return weft_model_fail(model, WEFT_MODEL_RUN_FAILED,
                             "%s: the loop at %s (%s) passed its limit of %lld iterations",
                             plan.signature, step.nodes, step.location,
                             static_cast<long long>(step.limit));
    default:
      return weft_model_fail(model, WEFT_MODEL_RUN_FAILED, "%s: the run failed", plan.signature);
  }
}

bool AllocatePlans(WeftModel* model) {
  uint32_t variables = 0, inputs = 0, outputs = 0;
  const WeftModelTables& tables = *model->tables;
  model->signatures = AllocateArray<SignatureState>(tables.num_signatures);
  if (model->signatures == nullptr) return false;
  for (uint32_t s = 0; s < tables.num_signatures; ++s) {
    const WeftModelSignature& signature = model->target->signatures[s];
    PlanState* plans = AllocateArray<PlanState>(signature.num_plans);
    if (plans == nullptr) return false;
    model->signatures[s].plans = plans;
    for (uint32_t i = 0; i < signature.num_plans; ++i) {
      const WeftPlan& plan = *signature.plans[i].plan;
      plans[i].plan = &signature.plans[i];
      plans[i].memory = Allocate(static_cast<int64_t>(weft_instance_bytes(&plan)));
      plans[i].symbols = AllocateArray<int64_t>(plan.num_symbols);
      if (plans[i].memory == nullptr || plans[i].symbols == nullptr) return false;
      if (plan.num_variables > variables) variables = plan.num_variables;
      if (plan.num_inputs > inputs) inputs = plan.num_inputs;
      if (plan.num_outputs > outputs) outputs = plan.num_outputs;
    }
  }
  model->plan_variables = AllocateArray<void*>(variables);
  model->inputs = AllocateArray<const void*>(inputs);
  model->outputs = AllocateArray<void*>(outputs);
  return model->plan_variables != nullptr && model->inputs != nullptr && model->outputs != nullptr;
}

bool AllocateVariables(WeftModel* model) {
  const WeftModelTables& tables = *model->tables;
  model->variables = AllocateArray<VariableState>(tables.num_variables);
  if (model->variables == nullptr) return false;
  for (uint32_t i = 0; i < tables.num_variables; ++i) {
    const WeftModelVariable& info = tables.variables[i];
    VariableState& variable = model->variables[i];
    variable.defined = info.value != nullptr;
    if (variable.defined && !info.assigned) {
      variable.data = const_cast<void*>(info.value);  // only read, or replaced as a whole
      continue;
    }
    variable.data = Allocate(info.bytes);
    if (variable.data == nullptr) return false;
    variable.owned = true;
    if (variable.defined) memcpy(variable.data, info.value, static_cast<size_t>(info.bytes));
  }
  return true;
}

int FindVariable(WeftModel* model, const char* name, int64_t bytes, uint32_t* index) {
  const WeftModelTables& tables = *model->tables;
  for (uint32_t i = 0; i < tables.num_variables; ++i) {
    if (strcmp(tables.variables[i].name, name) != 0) continue;
    if (tables.variables[i].bytes != bytes) {
      return weft_model_fail(
          model, WEFT_MODEL_INVALID_ARGUMENT, "variable '%s' has %lld bytes, got %lld", name,
          static_cast<long long>(tables.variables[i].bytes), static_cast<long long>(bytes));
    }
    *index = i;
    return WEFT_MODEL_OK;
  }
  return weft_model_fail(model, WEFT_MODEL_INVALID_ARGUMENT, "the model has no variable '%s'",
                         name);
}

// Gives a variable that is a constant of the tables memory of its own, with the same value.
int ReserveVariable(WeftModel* model, uint32_t index) {
  VariableState& variable = model->variables[index];
  if (variable.owned) return WEFT_MODEL_OK;
  const WeftModelVariable& info = model->tables->variables[index];
  void* data = Allocate(info.bytes);
  if (data == nullptr) {
    return weft_model_fail(model, WEFT_MODEL_OUT_OF_MEMORY,
                           "no memory for variable '%s' of %lld bytes", info.name,
                           static_cast<long long>(info.bytes));
  }
  memcpy(data, variable.data, static_cast<size_t>(info.bytes));
  variable.data = data;
  variable.owned = true;
  return WEFT_MODEL_OK;
}

}  // namespace

int weft_model_fail(WeftModel* model, int status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(model->error, sizeof(model->error), format, arguments);
  va_end(arguments);
  return status;
}

int64_t weft_dtype_bytes(int32_t dtype) {
  constexpr int8_t kBytes[] = {0, 1, 1, 1, 4, 8, 2, 2, 4, 8};
  return dtype >= 0 && dtype < 10 ? kBytes[dtype] : 0;
}

const char* weft_dtype_name(int32_t dtype) {
  constexpr const char* kNames[] = {"invalid", "bool", "i8",   "u8",  "i32",
                                    "i64",     "f16",  "bf16", "f32", "f64"};
  return kNames[dtype >= 0 && dtype < 10 ? dtype : 0];
}

const char* weft_model_unsupported(const WeftModelTables* tables) {
  if (PickTarget(tables) != nullptr) return nullptr;
  return "this processor lacks instructions that every target of the model needs; compile it with "
         "--target cpu:x86-64-v3";
}

WeftModel* weft_model_create(const WeftModelTables* tables, int threads) {
  const WeftModelTarget* target = PickTarget(tables);
  if (target == nullptr) return nullptr;
  WeftModel* model = AllocateArray<WeftModel>(1);
  if (model == nullptr) return nullptr;
  model->tables = tables;
  model->target = target;
  model->threads = threads > 0 ? threads : Cores();
  if (!AllocateVariables(model) || !AllocatePlans(model)) {
    weft_model_destroy(model);
    return nullptr;
  }
  if (model->threads > 1) {
    model->pool_memory = Allocate(static_cast<int64_t>(weft_pool_bytes(model->threads)));
    if (model->pool_memory == nullptr) {
      weft_model_destroy(model);
      return nullptr;
    }
    model->pool = weft_pool_start(model->pool_memory, model->threads);
    model->threads = weft_pool_threads(model->pool);
  }
  return model;
}

void weft_model_destroy(WeftModel* model) {
  if (model == nullptr) return;
  if (model->pool != nullptr) weft_pool_stop(model->pool);
  free(model->pool_memory);
  for (uint32_t i = 0; model->variables != nullptr && i < model->tables->num_variables; ++i) {
    if (model->variables[i].owned) free(model->variables[i].data);
  }
  for (uint32_t s = 0; model->signatures != nullptr && s < model->tables->num_signatures; ++s) {
    PlanState* plans = model->signatures[s].plans;
    for (uint32_t i = 0; plans != nullptr && i < model->target->signatures[s].num_plans; ++i) {
      free(plans[i].memory);
      free(plans[i].symbols);
    }
    free(plans);
  }
  free(model->variables);
  free(model->signatures);
  free(model->plan_variables);
  free(model->inputs);
  free(model->outputs);
  if (!model->memory_is_callers) free(model->memory);
  free(model);
}

const char* weft_model_error(const WeftModel* model) { return model->error; }
const char* weft_model_target(const WeftModel* model) { return model->target->name; }
const WeftModelTables* weft_model_tables_of(const WeftModel* model) { return model->tables; }

int weft_model_run(WeftModel* model, uint32_t signature, const int64_t* symbols,
                   const void* const* inputs, void* const* outputs) {
  PlanState* state;
  if (int status = Prepare(model, signature, symbols, &state)) return status;
  const WeftPlan& plan = *state->plan->plan;
  if (int status = TakeVariables(model, *state->plan)) return status;

  // Tensors that kernels cannot use in place get a copy behind arena and scratch.
  const int64_t peak = PeakBytes(*state);
  int64_t copies_bytes = 0;
  for (uint32_t i = 0; i < plan.num_inputs; ++i) {
    const int64_t bytes = ValueBytes(*state, plan.inputs[i]);
    if (inputs[i] == nullptr && bytes > 0) {
      return weft_model_fail(model, WEFT_MODEL_INVALID_ARGUMENT, "%s: input '%s' is null",
                             plan.signature, plan.inputs[i].name);
    }
    if (!Aligned(inputs[i])) copies_bytes += RoundUp(bytes);
  }
  for (uint32_t i = 0; i < plan.num_outputs; ++i) {
    if (outputs[i] == nullptr || !Aligned(outputs[i])) {
      copies_bytes += RoundUp(ValueBytes(*state, plan.outputs[i]));
    }
  }
  const int64_t bytes = copies_bytes > 0 ? RoundUp(peak) + copies_bytes : peak;
  if (int status = EnsureMemory(model, plan.signature, bytes)) return status;
  char* memory = static_cast<char*>(model->memory);
  char* copies = memory + RoundUp(peak);
  for (uint32_t i = 0; i < plan.num_inputs; ++i) {
    model->inputs[i] = inputs[i];
    if (Aligned(inputs[i])) continue;
    const int64_t bytes = ValueBytes(*state, plan.inputs[i]);
    memcpy(copies, inputs[i], static_cast<size_t>(bytes));
    model->inputs[i] = copies;
    copies += RoundUp(bytes);
  }
  for (uint32_t i = 0; i < plan.num_outputs; ++i) {
    model->outputs[i] = outputs[i];
    if (outputs[i] != nullptr && Aligned(outputs[i])) continue;
    model->outputs[i] = copies;
    copies += RoundUp(ValueBytes(*state, plan.outputs[i]));
  }

  WeftRunArgs args = {};
  args.arena = memory;
  args.scratch = memory + RoundUp(state->arena_bytes);
  args.constants = model->tables->constants;
  args.variables = model->plan_variables;
  args.inputs = model->inputs;
  args.outputs = model->outputs;
  args.pool = model->pool;
  args.deadline = INT64_MAX;
  WeftError error = {};
  const int result = weft_run(state->instance, &args, &error);
  if (result != WEFT_OK) return FailRun(model, plan, result, error);

  for (uint32_t i = 0; i < plan.num_outputs; ++i) {
    if (outputs[i] == nullptr || outputs[i] == model->outputs[i]) continue;
    memcpy(outputs[i], model->outputs[i], static_cast<size_t>(ValueBytes(*state, plan.outputs[i])));
  }
  for (uint32_t i = 0; i < plan.num_variables; ++i) {
    if (plan.variables[i].flags & WEFT_VARIABLE_ASSIGNED) {
      model->variables[state->plan->variables[i]].defined = true;
    }
  }
  return WEFT_MODEL_OK;
}

int64_t weft_model_peak_bytes(WeftModel* model, uint32_t signature, const int64_t* symbols) {
  PlanState* state;
  if (Prepare(model, signature, symbols, &state) != WEFT_MODEL_OK) return -1;
  return PeakBytes(*state);
}

int64_t weft_model_output_bytes(WeftModel* model, uint32_t signature, uint32_t output,
                                const int64_t* symbols) {
  PlanState* state;
  if (Prepare(model, signature, symbols, &state) != WEFT_MODEL_OK) return -1;
  return ValueBytes(*state, state->plan->plan->outputs[output]);
}

int weft_model_use_memory(WeftModel* model, void* memory, int64_t bytes) {
  if (memory != nullptr && (!Aligned(memory) || bytes < 0)) {
    return weft_model_fail(model, WEFT_MODEL_INVALID_ARGUMENT,
                           "memory must start at a multiple of 64 bytes and have a size");
  }
  if (!model->memory_is_callers) free(model->memory);
  model->memory = memory;
  model->memory_bytes = memory == nullptr ? 0 : bytes;
  model->memory_is_callers = memory != nullptr;
  return WEFT_MODEL_OK;
}

const WeftPlan* weft_model_general_plan(const WeftModel* model, uint32_t signature) {
  const WeftModelSignature& info = model->target->signatures[signature];
  return info.plans[info.num_plans - 1].plan;
}

int weft_model_bind(WeftModel* model, uint32_t signature, const int64_t* const* input_shapes,
                    int64_t* symbols) {
  const WeftModelSignature& info = model->target->signatures[signature];
  const uint32_t general = info.num_plans - 1;
  PlanState& state = model->signatures[signature].plans[general];
  const WeftPlan& plan = *state.plan->plan;
  // Asked of the general plan alone: its formulas know every size, whichever plan runs.
  state.instance = nullptr;
  weft_bind_symbols(&plan, input_shapes, state.symbols);
  WeftInstance* instance = nullptr;
  WeftError error = {};
  int result = weft_instance_create(&plan, state.symbols, state.memory, &instance, &error);
  if (result != WEFT_OK) return FailInstance(model, plan, result, error);
  result = weft_check_shapes(instance, input_shapes, &error);
  if (result != WEFT_OK) {
    const WeftValue& input = plan.inputs[error.index];
    return weft_model_fail(model, WEFT_MODEL_INVALID_ARGUMENT,
                           "%s: input '%s': expected %lld (%s) in dimension %u, got %lld",
                           plan.signature, input.name, static_cast<long long>(error.expected),
                           plan.dim_names[input.first_dim + error.dim], error.dim,
                           static_cast<long long>(input_shapes[error.index][error.dim]));
  }
  for (uint32_t i = 0; i < plan.num_symbols; ++i) {
    symbols[state.plan->symbols[i]] = state.symbols[i];
  }
  return WEFT_MODEL_OK;
}

int weft_model_output_shape(WeftModel* model, uint32_t signature, uint32_t output,
                            const int64_t* symbols, int64_t* shape) {
  PlanState* state;
  if (int status = Prepare(model, signature, symbols, &state)) return status;
  const WeftValue& value = state->plan->plan->outputs[output];
  for (uint32_t i = 0; i < value.rank; ++i) shape[i] = weft_value_dim(state->instance, &value, i);
  return WEFT_MODEL_OK;
}

int weft_model_describe_variable(const WeftModelTables* tables, int index,
                                 WeftModelVariableInfo* info) {
  if (index < 0 || static_cast<uint32_t>(index) >= tables->num_variables) {
    return WEFT_MODEL_INVALID_ARGUMENT;
  }
  const WeftModelVariable& variable = tables->variables[index];
  info->name = variable.name;
  info->dtype = weft_dtype_name(variable.dtype);
  info->shape = variable.shape;
  info->rank = static_cast<int32_t>(variable.rank);
  info->zero = 0;
  info->bytes = variable.bytes;
  return WEFT_MODEL_OK;
}

int weft_model_get_variable(WeftModel* model, const char* name, void* values, int64_t bytes) {
  uint32_t index;
  if (int status = FindVariable(model, name, bytes, &index)) return status;
  if (!model->variables[index].defined) {
    return weft_model_fail(model, WEFT_MODEL_UNDEFINED_VARIABLE, "variable '%s' has no value yet",
                           name);
  }
  memcpy(values, model->variables[index].data, static_cast<size_t>(bytes));
  return WEFT_MODEL_OK;
}

int weft_model_set_variable(WeftModel* model, const char* name, const void* values, int64_t bytes) {
  uint32_t index;
  if (int status = FindVariable(model, name, bytes, &index)) return status;
  if (int status = ReserveVariable(model, index)) return status;
  memcpy(model->variables[index].data, values, static_cast<size_t>(bytes));
  model->variables[index].defined = true;
  return WEFT_MODEL_OK;
}

int weft_model_reserve_variables(WeftModel* model) {
  for (uint32_t i = 0; i < model->tables->num_variables; ++i) {
    if (int status = ReserveVariable(model, i)) return status;
  }
  return WEFT_MODEL_OK;
}

const void* weft_model_variable_value(const WeftModel* model, uint32_t index) {
  return model->variables[index].defined ? model->variables[index].data : nullptr;
}
