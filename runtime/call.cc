#include "runtime/call.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "proto/feed.h"

namespace weft {
namespace {

bool IsAligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % WEFT_BUFFER_ALIGNMENT == 0;
}

bool Overlap(const HostTensor& a, const HostTensor& b) {
  const auto* a_data = static_cast<const char*>(a.data());
  const auto* b_data = static_cast<const char*>(b.data());
  return a_data < b_data + b.size_bytes() && b_data < a_data + a.size_bytes();
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

FeedType DeclaredType(const WeftPlan& plan, const WeftValue& input) {
  const char* const* names = plan.dim_names + input.first_dim;
  return {absl::StrCat("input '", input.name, "' of '", plan.signature, "'"),
          static_cast<DataType>(input.dtype),
          {names, names + input.rank}};
}

std::string Place(const WeftStep& step) {
  std::string text = step.label;
  if (step.nodes[0] != '\0') absl::StrAppend(&text, text.empty() ? "" : " ", "at ", step.nodes);
  if (step.location[0] != '\0') absl::StrAppend(&text, " (", step.location, ")");
  return text;
}

// `deadline` on the clock that the executor reads.
int64_t MonotonicDeadline(absl::Time deadline) {
  if (deadline == absl::InfiniteFuture()) return INT64_MAX;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const absl::Duration at = absl::DurationFromTimespec(now) + (deadline - absl::Now());
  return std::max<int64_t>(0, absl::ToInt64Nanoseconds(at));
}

std::vector<const int64_t*> Pointers(const Shapes& shapes) {
  std::vector<const int64_t*> pointers;
  pointers.reserve(shapes.size());
  for (const std::vector<int64_t>& shape : shapes) pointers.push_back(shape.data());
  return pointers;
}

absl::Status CheckFixedSizes(const WeftPlan& plan, const Shapes& shapes) {
  if (shapes.size() != plan.num_inputs) {
    return absl::InvalidArgumentError(absl::StrCat("signature '", plan.signature, "': expected ",
                                                   plan.num_inputs, " shapes, got ",
                                                   shapes.size()));
  }
  for (uint32_t i = 0; i < plan.num_inputs; ++i) {
    const WeftValue& input = plan.inputs[i];
    const auto dtype = static_cast<DataType>(input.dtype);
    absl::Status fits = CheckFeed(DeclaredType(plan, input), dtype, shapes[i]);
    if (!fits.ok()) return fits;
    // Also of an input that no step uses.
    const absl::StatusOr<int64_t> elements = CheckedNumElements(shapes[i]);
    if (!elements.ok() || *elements >= WEFT_MAX_BYTES / SizeOf(dtype)) {
      return absl::OutOfRangeError(absl::StrCat("input '", input.name, "' of '", plan.signature,
                                                "': ", ShapeText(shapes[i]),
                                                " is too large (bytes have to stay below 2^48)"));
    }
  }
  return absl::OkStatus();
}

absl::Status ShapeError(const WeftPlan& plan, const Shapes& shapes, const WeftError& error) {
  const WeftValue& input = plan.inputs[error.index];
  const int64_t got = shapes[error.index][error.dim];
  const WeftFormula& formula = plan.formulas[plan.dims[input.first_dim + error.dim]];
  if (formula.op == WEFT_FORMULA_SYMBOL) {
    const WeftSymbol& symbol = plan.symbols[formula.a];
    return OpenSizeMismatch(absl::StrCat("signature '", plan.signature, "'"), symbol.name,
                            {plan.inputs[symbol.input].name, symbol.dim, error.expected},
                            {input.name, error.dim, got});
  }
  return DimensionMismatch(DeclaredType(plan, input), static_cast<DataType>(input.dtype),
                           shapes[error.index], error.dim, error.expected);
}

// Evaluates the plan's formulas at these shapes, in memory of its own.
absl::Status CreateInstance(const WeftPlan& plan, const Shapes& shapes, Pages* memory,
                            WeftInstance** instance) {
  if (absl::Status status = CheckFixedSizes(plan, shapes); !status.ok()) return status;
  const std::vector<const int64_t*> pointers = Pointers(shapes);
  std::vector<int64_t> symbols(plan.num_symbols);
  weft_bind_symbols(&plan, pointers.data(), symbols.data());
  absl::StatusOr<Pages> pages = Pages::Allocate(weft_instance_bytes(&plan));
  if (!pages.ok()) return pages.status();
  *memory = *std::move(pages);
  WeftError error = {};
  switch (weft_instance_create(&plan, symbols.data(), memory->data(), instance, &error)) {
    case WEFT_OK:
      break;
    case WEFT_ERROR_STEP_SIZE:
      return absl::InvalidArgumentError(
          absl::StrCat("signature '", plan.signature, "': ", Place(plan.steps[error.index]),
                       " has a size out of bounds with these shapes"));
    default:
      return absl::OutOfRangeError(absl::StrCat(
          "signature '", plan.signature,
          "': a size is out of bounds with these shapes (bytes have to stay below 2^48)"));
  }
  if (weft_check_shapes(*instance, pointers.data(), &error) != WEFT_OK) {
    return ShapeError(plan, shapes, error);
  }
  return absl::OkStatus();
}

std::vector<int64_t> ShapeOf(const WeftInstance* instance, const WeftValue& value) {
  std::vector<int64_t> shape(value.rank);
  for (uint32_t i = 0; i < value.rank; ++i) shape[i] = weft_value_dim(instance, &value, i);
  return shape;
}

}  // namespace

absl::Status CheckShapes(const WeftPlan& plan, const Shapes& shapes) {
  Pages memory;
  WeftInstance* instance = nullptr;
  return CreateInstance(plan, shapes, &memory, &instance);
}

absl::StatusOr<std::unique_ptr<PreparedCall>> PreparedCall::Create(
    std::shared_ptr<SessionState> state, std::shared_ptr<const Package> package,
    const LoadedPlan& plan, const Shapes& shapes) {
  std::unique_ptr<PreparedCall> call(new PreparedCall);
  call->state_ = std::move(state);
  call->package_ = std::move(package);
  call->plan_ = &plan;
  call->tables_ = &plan.tables->plan();
  if (absl::Status status = call->Instantiate(shapes); !status.ok()) return status;
  if (absl::Status status = call->BindVariables(); !status.ok()) return status;
  if (absl::Status status = call->AllocateMemory(); !status.ok()) return status;
  return call;
}

absl::Status PreparedCall::Instantiate(const Shapes& shapes) {
  const WeftPlan& plan = *tables_;
  absl::Status status = CreateInstance(plan, shapes, &instance_memory_, &instance_);
  if (!status.ok()) return status;
  for (uint32_t i = 0; i < plan.num_buffers; ++i) {
    const WeftBuffer& buffer = plan.buffers[i];
    if (buffer.space != WEFT_SPACE_CONSTANT) continue;
    const auto size = static_cast<uint64_t>(weft_formula_value(instance_, buffer.size));
    if (size > package_->constants_bytes() - buffer.constant_offset) {
      return absl::InvalidArgumentError(absl::StrCat("signature '", plan.signature, "': buffer ", i,
                                                     " reaches past the package's constants"));
    }
  }
  for (uint32_t i = 0; i < plan.num_inputs; ++i) {
    const auto dtype = static_cast<DataType>(plan.inputs[i].dtype);
    inputs_.push_back({plan.inputs[i].name, dtype, shapes[i], {}, {}, false, {}});
  }
  for (uint32_t i = 0; i < plan.num_outputs; ++i) {
    const WeftValue& value = plan.outputs[i];
    outputs_.push_back(
        {value.name, static_cast<DataType>(value.dtype), ShapeOf(instance_, value), {}, {}});
  }
  return absl::OkStatus();
}

absl::Status PreparedCall::BindVariables() {
  const WeftPlan& plan = *tables_;
  for (uint32_t i = 0; i < plan.num_variables; ++i) {
    const WeftValue& value = plan.variables[i];
    Variable* variable = state_->variables.Find(value.name);
    if (variable == nullptr || variable->dtype != static_cast<DataType>(value.dtype) ||
        variable->shape != ShapeOf(instance_, value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("signature '", plan.signature, "': uses a variable '", value.name,
                       "' that the package does not declare with this type"));
    }
    variables_.push_back(variable);
    if ((value.flags & WEFT_VARIABLE_ASSIGNED) != 0) {
      lock_mode_ = VariablesLock::Mode::kWrite;
    } else if (lock_mode_ == VariablesLock::Mode::kNone) {
      lock_mode_ = VariablesLock::Mode::kRead;
    }
  }
  return absl::OkStatus();
}

absl::Status PreparedCall::AllocateMemory() {
  Device& device = *state_->device;
  const int64_t scratch = weft_scratch_bytes(instance_);
  int64_t all_scratch = 0;
  if (__builtin_mul_overflow(scratch, int64_t{device.scratch_copies()}, &all_scratch) ||
      all_scratch > WEFT_MAX_BYTES) {
    return absl::OutOfRangeError("scratch memory is out of bounds with these shapes");
  }
  peak_bytes_ = weft_arena_bytes(instance_) + all_scratch;
  const int64_t limit = state_->options.max_memory_bytes;
  if (limit > 0 && peak_bytes_ > limit) {
    return absl::ResourceExhaustedError(
        absl::StrCat("signature '", tables_->signature, "' needs ", peak_bytes_,
                     " bytes with these shapes, and the limit (max_memory_bytes) is ", limit));
  }
  absl::StatusOr<DeviceMemory> arena =
      device.Allocate(static_cast<size_t>(weft_arena_bytes(instance_)));
  if (!arena.ok()) return arena.status();
  arena_ = *std::move(arena);
  absl::StatusOr<std::unique_ptr<DeviceQueue>> queue = device.NewQueue(scratch);
  if (!queue.ok()) return queue.status();
  queue_ = *std::move(queue);
  for (OutputSlot& output : outputs_) {
    absl::StatusOr<HostTensor> tensor = HostTensor::Create(output.dtype, output.shape);
    if (!tensor.ok()) return tensor.status();
    output.tensor = *std::move(tensor);
  }
  input_addresses_.resize(inputs_.size());
  output_addresses_.resize(outputs_.size());
  variable_addresses_.resize(variables_.size());
  if (device.is_host()) return absl::OkStatus();
  const auto allocate = [&](auto& slot) {
    const HostTensor type = HostTensor::View(slot.dtype, slot.shape, nullptr);
    absl::StatusOr<DeviceMemory> memory = device.Allocate(type.size_bytes());
    if (memory.ok()) slot.on_device = *std::move(memory);
    return memory.status();
  };
  for (InputSlot& input : inputs_) {
    if (absl::Status status = allocate(input); !status.ok()) return status;
  }
  for (OutputSlot& output : outputs_) {
    if (absl::Status status = allocate(output); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status PreparedCall::Feed(int index, const HostTensor& tensor) {
  InputSlot& input = inputs_[static_cast<size_t>(index)];
  if (tensor.dtype() != input.dtype || tensor.shape() != input.shape) {
    return absl::InvalidArgumentError(
        absl::StrCat("input '", input.name, "' of '", tables_->signature, "': expected ",
                     HostTensor::View(input.dtype, input.shape, nullptr).TypeString(), ", got ",
                     tensor.TypeString()));
  }
  input.tensor = tensor;
  if (!state_->device->is_host()) return absl::OkStatus();
  input.staged = !IsAligned(tensor.data());
  for (const OutputSlot& output : outputs_) {
    input.staged = input.staged || Overlap(tensor, output.tensor);
  }
  if (input.staged && input.staging.dtype() == DataType::kInvalid) {
    absl::StatusOr<HostTensor> staging = HostTensor::Create(input.dtype, input.shape);
    if (!staging.ok()) return staging.status();
    input.staging = *std::move(staging);
  }
  return absl::OkStatus();
}

absl::Status PreparedCall::Run(const RunOptions& options) {
  for (const InputSlot& input : inputs_) {
    if (input.tensor.dtype() == DataType::kInvalid) {
      return absl::FailedPreconditionError(
          absl::StrCat("input '", input.name, "' of '", tables_->signature, "' was not fed"));
    }
  }
  for (OutputSlot& output : outputs_) {
    if (output.tensor.dtype() != DataType::kInvalid) continue;
    absl::StatusOr<HostTensor> tensor = HostTensor::Create(output.dtype, output.shape);
    if (!tensor.ok()) return tensor.status();
    output.tensor = *std::move(tensor);
  }
  VariablesLock& lock = state_->variables.lock();
  absl::Status status = lock.Acquire(lock_mode_, options.deadline, options.cancel);
  if (!status.ok()) return status;
  status = RunLocked(options);
  lock.Release(lock_mode_);
  return status;
}

absl::Status PreparedCall::RunLocked(const RunOptions& options) {
  if (absl::Status status = BindAddresses(); !status.ok()) {
    queue_->Finish().IgnoreError();  // what was fed may be under way
    return status;
  }
  WeftRunArgs args = {};
  args.arena = arena_.data();
  args.constants = package_->constants();
  args.variables = variable_addresses_.data();
  args.inputs = input_addresses_.data();
  args.outputs = output_addresses_.data();
  args.deadline = MonotonicDeadline(options.deadline);
  static_assert(sizeof(*options.cancel) == 1 && std::atomic<bool>::is_always_lock_free);
  args.cancel = reinterpret_cast<const uint8_t*>(options.cancel);
  args.profile = state_->profiling.load(std::memory_order_relaxed) ? plan_->profile.get() : nullptr;
  queue_->Bind(&args);
  WeftError error = {};
  int result = weft_run(instance_, &args, &error);
  // Also after an error: until then the device may read what was fed.
  const absl::Status finished = Finish(result == WEFT_OK);
  if (!finished.ok()) result = WEFT_ERROR_DEVICE;
  for (size_t i = 0; i < variables_.size(); ++i) {
    if ((tables_->variables[i].flags & WEFT_VARIABLE_ASSIGNED) == 0) continue;
    if (result == WEFT_OK) variables_[i]->defined = true;
    // Nobody knows what is there.
    if (result == WEFT_ERROR_DEVICE) variables_[i]->defined = false;
  }
  return result == WEFT_OK ? absl::OkStatus() : ErrorOf(result, error, finished);
}

absl::Status PreparedCall::BindAddresses() {
  const bool host = state_->device->is_host();
  for (size_t i = 0; i < variables_.size(); ++i) {
    Variable* variable = variables_[i];
    const uint32_t flags = tables_->variables[i].flags;
    if ((flags & WEFT_VARIABLE_READ) != 0 && !variable->defined) {
      return UndefinedVariable(variable->name);
    }
    if ((flags & WEFT_VARIABLE_ASSIGNED) != 0) {
      absl::Status status = state_->variables.MakeWritable(variable);
      if (!status.ok()) return status;
    }
    variable_addresses_[i] = variable->value.mutable_data();
  }
  for (size_t i = 0; i < outputs_.size(); ++i) {
    output_addresses_[i] = host ? outputs_[i].tensor.mutable_data() : outputs_[i].on_device.data();
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    InputSlot& input = inputs_[i];
    const size_t bytes = input.tensor.size_bytes();
    if (!host) {
      absl::Status status = queue_->CopyIn(input.on_device.data(), input.tensor.data(), bytes);
      if (!status.ok()) return status;
      input_addresses_[i] = input.on_device.data();
      continue;
    }
    if (input.staged) memcpy(input.staging.mutable_data(), input.tensor.data(), bytes);
    input_addresses_[i] = input.staged ? input.staging.data() : input.tensor.data();
  }
  return absl::OkStatus();
}

absl::Status PreparedCall::Finish(bool outputs) {
  absl::Status status;
  for (OutputSlot& output : outputs_) {
    if (!outputs || state_->device->is_host() || !status.ok()) break;
    status = queue_->CopyOut(output.tensor.mutable_data(), output.on_device.data(),
                             output.tensor.size_bytes());
  }
  const absl::Status finished = queue_->Finish();
  return status.ok() ? finished : status;
}

absl::Status PreparedCall::ErrorOf(int result, const WeftError& error,
                                   const absl::Status& finished) const {
  const std::string where = absl::StrCat("signature '", tables_->signature, "': ");
  if (result == WEFT_ERROR_DEVICE) {
    return absl::InternalError(absl::StrCat(
        where, "the ", std::string(state_->device->name()), " failed: ", finished.message(),
        error.index == WEFT_NONE ? "" : "; noticed at ",
        error.index == WEFT_NONE ? "" : Place(tables_->steps[error.index]),
        "; variables that the run assigns have no value now"));
  }
  const WeftStep& step = tables_->steps[error.index];
  switch (result) {
    case WEFT_ERROR_DEADLINE:
      return absl::DeadlineExceededError(
          absl::StrCat(where, "the deadline passed before the end of ", Place(step)));
    case WEFT_ERROR_CANCELLED:
      return absl::CancelledError(absl::StrCat(where, "cancelled before the end of ", Place(step)));
    case WEFT_ERROR_LIMIT:
      return absl::OutOfRangeError(absl::StrCat(where, "the loop ", Place(step), " passed ",
                                                step.limit, " iterations (max_iterations)"));
    default:
      return absl::FailedPreconditionError(absl::StrCat(where, step.message, ": ", Place(step)));
  }
}

HostTensor PreparedCall::TakeOutput(int index) {
  return std::exchange(outputs_[static_cast<size_t>(index)].tensor, HostTensor());
}

void PreparedCall::DropFeeds() {
  for (InputSlot& input : inputs_) input.tensor = HostTensor();
}

}  // namespace weft
