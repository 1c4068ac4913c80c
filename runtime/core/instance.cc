// A plan at given sizes: formulas, arena layout, and the checks that make them safe to run.
#include <string.h>

#include "runtime/core/internal.h"

using weft::core::AlignUp;
using weft::core::ElementBytes;

// The tables are emitted as constants by the compiler, byte by byte.
static_assert(sizeof(WeftFormula) == 24 && sizeof(WeftBuffer) == 32 && sizeof(WeftBufferArg) == 8 &&
              sizeof(WeftStep) == 96 && sizeof(WeftBlock) == 8 && sizeof(WeftValue) == 24 &&
              sizeof(WeftSymbol) == 16 && sizeof(WeftPlan) == 184);

namespace {

bool Evaluate(const WeftFormula& formula, const int64_t* symbols, const int64_t* values,
              int64_t* result) {
  if (formula.op == WEFT_FORMULA_CONSTANT) {
    *result = formula.value;
    return true;
  }
  if (formula.op == WEFT_FORMULA_SYMBOL) {
    *result = symbols[formula.a];
    return true;
  }
  const int64_t a = values[formula.a], b = values[formula.b];
  switch (formula.op) {
    case WEFT_FORMULA_ADD:
      return !__builtin_add_overflow(a, b, result);
    case WEFT_FORMULA_SUB:
      return !__builtin_sub_overflow(a, b, result);
    case WEFT_FORMULA_MUL:
      return !__builtin_mul_overflow(a, b, result);
    case WEFT_FORMULA_MAX:
      *result = a > b ? a : b;
      return true;
    case WEFT_FORMULA_MIN:
      *result = a < b ? a : b;
      return true;
    default:
      break;
  }
  if (b <= 0) return false;
  const int64_t quotient = a / b, remainder = a % b;  // towards zero
  switch (formula.op) {
    case WEFT_FORMULA_FLOOR_DIV:
      *result = quotient - (remainder < 0);
      return true;
    case WEFT_FORMULA_CEIL_DIV:
      *result = quotient + (remainder > 0);
      return true;
    case WEFT_FORMULA_MOD:
      *result = remainder + (remainder < 0 ? b : 0);
      return true;
    default:
      return false;
  }
}

bool InBytes(int64_t size) { return size >= 0 && size < WEFT_MAX_BYTES; }

// Bytes of a tensor of that type and shape; negative where they pass the limit or a dimension is
// negative.
int64_t TensorBytes(int32_t dtype, const int64_t* values, const uint32_t* dims, uint32_t rank) {
  int64_t bytes = ElementBytes(dtype);
  for (uint32_t i = 0; i < rank; ++i) {
    const int64_t dim = values[dims[i]];
    if (dim < 0) return -1;
    if (dim == 0) bytes = 0;
  }
  for (uint32_t i = 0; bytes > 0 && i < rank; ++i) {
    if (__builtin_mul_overflow(bytes, values[dims[i]], &bytes) || !InBytes(bytes)) return -1;
  }
  return bytes;
}

int64_t ValueBytes(const WeftInstance& instance, const WeftValue& value) {
  return TensorBytes(value.dtype, instance.values, instance.plan->dims + value.first_dim,
                     value.rank);
}

// Bytes that the value behind a buffer has; negative where that is invalid.
int64_t Room(const WeftInstance& instance, const WeftBuffer& buffer) {
  const WeftPlan& plan = *instance.plan;
  switch (buffer.space) {
    case WEFT_SPACE_VARIABLE:
      return ValueBytes(instance, plan.variables[buffer.index]);
    case WEFT_SPACE_INPUT:
      return ValueBytes(instance, plan.inputs[buffer.index]);
    case WEFT_SPACE_OUTPUT:
      return ValueBytes(instance, plan.outputs[buffer.index]);
    default:
      return WEFT_MAX_BYTES;
  }
}

bool LayOut(WeftInstance* instance, WeftError* error) {
  const WeftPlan& plan = *instance->plan;
  for (uint32_t i = 0; i < plan.num_buffers; ++i) {
    const WeftBuffer& buffer = plan.buffers[i];
    error->index = i;
    const int64_t size = instance->values[buffer.size];
    if (!InBytes(size) || size > Room(*instance, buffer)) return false;
    instance->arena_offsets[i] = 0;
    if (buffer.space != WEFT_SPACE_ARENA) continue;
    int64_t offset = 0;
    for (uint32_t j = 0; j < buffer.num_below; ++j) {
      const uint32_t below = plan.below[buffer.first_below + j];
      const int64_t end =
          instance->arena_offsets[below] + instance->values[plan.buffers[below].size];
      if (end > offset) offset = end;
    }
    offset = AlignUp(offset);
    const int64_t end = offset + size;
    if (!InBytes(end)) return false;
    instance->arena_offsets[i] = offset;
    int64_t& arena_bytes = instance->arena_bytes[buffer.device];
    if (end > arena_bytes) arena_bytes = end;
  }
  return true;
}

// Bytes from the argument's address to the end of its buffer; negative where it starts outside.
int64_t Left(const WeftInstance& instance, const WeftBufferArg& arg) {
  const int64_t size = instance.values[instance.plan->buffers[arg.buffer].size];
  if (arg.offset == WEFT_NONE) return size;
  const int64_t offset = instance.values[arg.offset];
  return offset < 0 || offset > size ? -1 : size - offset;
}

int CheckTileWork(const WeftInstance& instance, const WeftStep& step, WeftError* error) {
  const int64_t tiles = instance.values[step.tiles];
  const int64_t work = instance.values[step.flops] / (tiles > 1 ? tiles : 1);
  if (step.limit == 0 || work <= step.limit) return WEFT_OK;
  error->expected = step.limit;
  error->got = work;
  return WEFT_ERROR_TILE_WORK;
}

bool CheckStep(WeftInstance* instance, const WeftStep& step) {
  const WeftPlan& plan = *instance->plan;
  const WeftBufferArg* args = plan.args + step.first_arg;
  const uint32_t* sizes = plan.sizes + step.first_size;
  for (uint32_t i = 0; i < step.num_args; ++i) {
    if (Left(*instance, args[i]) < 0) return false;
  }
  switch (step.kind) {
    case WEFT_STEP_LAUNCH: {
      const int64_t scratch = instance->values[step.scratch];
      const int64_t tiles = instance->values[step.tiles];
      // Tiles are bounded so that counting them cannot overflow.
      if (!InBytes(tiles) || !InBytes(scratch)) return false;
      int64_t& most = instance->scratch_bytes[weft::core::DeviceOf(plan, step)];
      if (AlignUp(scratch) > most) most = AlignUp(scratch);
      return true;
    }
    case WEFT_STEP_COPY: {
      const int64_t size = instance->values[sizes[0]];
      return size >= 0 && size <= Left(*instance, args[0]) && size <= Left(*instance, args[1]);
    }
    case WEFT_STEP_PRINT: {
      const int64_t bytes = TensorBytes(step.dtype, instance->values, sizes, step.num_sizes);
      return bytes >= 0 && bytes <= Left(*instance, args[0]);
    }
    default:
      return Left(*instance, args[0]) >= 1;
  }
}

// Where the arrays of an instance lie in its memory.
struct Memory {
  explicit Memory(const WeftPlan& plan) {
    values = Take(plan.num_formulas);
    arena_offsets = Take(plan.num_buffers);
    sizes = Take(plan.num_sizes);
    bases = Take(plan.num_buffers);
    addresses = Take(plan.num_args);
  }
  size_t Take(uint32_t count) {
    const size_t offset = bytes;
    bytes += size_t{8} * count;
    return offset;
  }
  size_t bytes = static_cast<size_t>(AlignUp(sizeof(WeftInstance)));
  size_t values, arena_offsets, sizes, bases, addresses;
};

}  // namespace

WEFT_CORE_DEFINITION void weft_bind_symbols(const WeftPlan* plan,
                                            const int64_t* const* input_shapes, int64_t* symbols) {
  for (uint32_t i = 0; i < plan->num_symbols; ++i) {
    symbols[i] = input_shapes[plan->symbols[i].input][plan->symbols[i].dim];
  }
}

WEFT_CORE_DEFINITION size_t weft_instance_bytes(const WeftPlan* plan) {
  return static_cast<size_t>(AlignUp(static_cast<int64_t>(Memory(*plan).bytes)));
}

WEFT_CORE_DEFINITION int weft_instance_create(const WeftPlan* plan, const int64_t* symbols,
                                              void* memory, WeftInstance** result,
                                              WeftError* error) {
  char* bytes = static_cast<char*>(memory);
  const Memory places(*plan);
  WeftInstance* instance = static_cast<WeftInstance*>(memory);
  memset(instance, 0, sizeof(*instance));
  instance->plan = plan;
  instance->values = reinterpret_cast<int64_t*>(bytes + places.values);
  instance->arena_offsets = reinterpret_cast<int64_t*>(bytes + places.arena_offsets);
  instance->sizes = reinterpret_cast<int64_t*>(bytes + places.sizes);
  instance->bases = reinterpret_cast<void**>(bytes + places.bases);
  instance->addresses = reinterpret_cast<void**>(bytes + places.addresses);

  for (uint32_t i = 0; i < plan->num_formulas; ++i) {
    error->index = i;
    if (!Evaluate(plan->formulas[i], symbols, instance->values, &instance->values[i])) {
      return WEFT_ERROR_OVERFLOW;
    }
  }
  for (uint32_t i = 0; i < plan->num_sizes; ++i) {
    instance->sizes[i] = instance->values[plan->sizes[i]];
  }
  if (!LayOut(instance, error)) return WEFT_ERROR_SIZE;
  for (uint32_t i = 0; i < plan->num_steps; ++i) {
    error->index = i;
    const WeftStep& step = plan->steps[i];
    if (!CheckStep(instance, step)) return WEFT_ERROR_STEP_SIZE;
    if (step.kind != WEFT_STEP_LAUNCH) continue;
    if (const int work = CheckTileWork(*instance, step, error); work != WEFT_OK) return work;
  }
  *result = instance;
  return WEFT_OK;
}

WEFT_CORE_DEFINITION int weft_check_shapes(const WeftInstance* instance,
                                           const int64_t* const* input_shapes, WeftError* error) {
  const WeftPlan& plan = *instance->plan;
  for (uint32_t i = 0; i < plan.num_inputs; ++i) {
    for (uint32_t dim = 0; dim < plan.inputs[i].rank; ++dim) {
      const int64_t expected = weft_value_dim(instance, &plan.inputs[i], dim);
      if (input_shapes[i][dim] == expected) continue;
      error->index = i;
      error->dim = dim;
      error->expected = expected;
      return WEFT_ERROR_SHAPE;
    }
  }
  return WEFT_OK;
}

WEFT_CORE_DEFINITION int64_t weft_formula_value(const WeftInstance* instance, uint32_t formula) {
  return instance->values[formula];
}

WEFT_CORE_DEFINITION int64_t weft_value_dim(const WeftInstance* instance, const WeftValue* value,
                                            uint32_t dim) {
  return instance->values[instance->plan->dims[value->first_dim + dim]];
}

WEFT_CORE_DEFINITION int64_t weft_arena_bytes(const WeftInstance* instance, uint32_t device) {
  return instance->arena_bytes[device];
}

WEFT_CORE_DEFINITION int64_t weft_scratch_bytes(const WeftInstance* instance, uint32_t device) {
  return instance->scratch_bytes[device];
}

WEFT_CORE_DEFINITION int64_t weft_launch_bytes(const WeftLaunch* launch, uint32_t buffer) {
  const WeftInstance& instance = *launch->instance;
  const int64_t left = Left(instance, instance.plan->args[launch->step->first_arg + buffer]);
  return left > 0 ? left : 0;
}
