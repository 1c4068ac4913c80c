// Runs of an instance, and the sizes that they have.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compiler/aot/support/instance.h"
#include "compiler/aot/support/model.h"

namespace {

using weft::aot::Aligned;
using weft::aot::kAlignment;
using weft::aot::PlanState;
using weft::aot::RoundUp;
using weft::aot::VariableState;

// Whether a plan serves these values of the signature's symbols.
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
    case WEFT_ERROR_TILE_WORK:
      return weft_model_fail(
          model, WEFT_MODEL_INVALID_ARGUMENT,
          "%s: expected at most %lld operations in a piece of work that nothing can stop, got %lld "
          "with these sizes, at %s (%s); give smaller ones, or reduce in two steps, the first of "
          "which gives many results",
          plan.signature, static_cast<long long>(error.expected), static_cast<long long>(error.got),
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
  state.arena_bytes = weft_arena_bytes(instance, 0);
  state.scratch_bytes = weft_scratch_bytes(instance, 0) * model->threads;
  state.instance = instance;
  return WEFT_MODEL_OK;
}

int64_t ValueBytes(const PlanState& state, const WeftValue& value) {
  // The instance has checked the size; unsigned, as parts of it may overflow where it is 0.
  auto bytes = static_cast<uint64_t>(weft_dtype_bytes(value.dtype));
  for (uint32_t i = 0; i < value.rank; ++i) {
    bytes *= static_cast<uint64_t>(weft_value_dim(state.instance, &value, i));
  }
  return static_cast<int64_t>(bytes);
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
    case WEFT_ERROR_DEADLINE:
      return weft_model_fail(model, WEFT_MODEL_DEADLINE_EXCEEDED,
                             "%s: the run was not done after %g seconds, before %s (%s)",
                             plan.signature, static_cast<double>(model->timeout_ns) * 1e-9,
                             step.nodes, step.location);
    case WEFT_ERROR_CANCELLED:
      return weft_model_fail(model, WEFT_MODEL_CANCELLED, "%s: cancelled before %s (%s)",
                             plan.signature, step.nodes, step.location);
    default:
      return weft_model_fail(model, WEFT_MODEL_RUN_FAILED, "%s: the run failed", plan.signature);
  }
}

// On the clock that the executor reads.
int64_t Deadline(const WeftModel* model) {
  if (model->timeout_ns == 0) return INT64_MAX;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t deadline = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  if (__builtin_add_overflow(deadline, model->timeout_ns, &deadline)) return INT64_MAX;
  return deadline;
}

}  // namespace

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
  args.deadline = Deadline(model);
  args.cancel = const_cast<const uint8_t*>(model->cancel);  // which the executor reads atomically
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

int weft_model_set_limits(WeftModel* model, double timeout_seconds,
                          const volatile uint8_t* cancel) {
  if (!(timeout_seconds >= 0)) {
    return weft_model_fail(model, WEFT_MODEL_INVALID_ARGUMENT,
                           "expected a timeout of 0 seconds or more, got %g", timeout_seconds);
  }
  // Centuries are as good as for ever; what is not 0 stays a limit.
  constexpr double kLongest = 9e9;
  const double seconds = timeout_seconds < kLongest ? timeout_seconds : kLongest;
  const int64_t nanoseconds = static_cast<int64_t>(seconds * 1e9);
  model->timeout_ns = nanoseconds == 0 && timeout_seconds > 0 ? 1 : nanoseconds;
  model->cancel = cancel;
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
