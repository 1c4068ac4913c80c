#include "runtime/call.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/feed.h"
#include "runtime/blame.h"
#include "runtime/tuning.h"

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

// The tensors that kernels copy boxes of lie in their buffers, so that no device is asked for maps
// of others.
absl::Status CheckMaps(const PlanTables& tables, const WeftInstance* instance) {
  const WeftPlan& plan = tables.plan();
  for (uint32_t i = 0; i < plan.num_steps; ++i) {
    const WeftStep& step = plan.steps[i];
    if (step.kind != WEFT_STEP_LAUNCH) continue;
    const std::vector<KernelMap>& maps = tables.kernel_maps()[step.kernel];
    uint32_t first = step.first_size + step.num_sizes - NumMapSizes(maps);
    for (const KernelMap& map : maps) {
      int64_t numbers[2 * KernelMap::kMaxRank - 1];
      for (uint32_t j = 0; j < map.num_sizes(); ++j) {
        numbers[j] = weft_formula_value(instance, plan.sizes[first + j]);
      }
      first += map.num_sizes();
      const WeftBufferArg& arg = plan.args[step.first_arg + map.buffer];
      const int64_t offset = arg.offset == WEFT_NONE ? 0 : weft_formula_value(instance, arg.offset);
      const int64_t bytes = weft_formula_value(instance, plan.buffers[arg.buffer].size) - offset;
      const char* problem = CheckMappedTensor(map, numbers, bytes);
      if (problem == nullptr && offset % 16 != 0)
        problem = "a tensor from a multiple of 16 bytes on";
      if (problem == nullptr) continue;
      return absl::InvalidArgumentError(absl::StrCat("signature '", plan.signature,
                                                     "': ", PlaceOfStep(step),
                                                     ": expected a tensor map with ", problem));
    }
  }
  return absl::OkStatus();
}

// Evaluates the plan's formulas at these shapes, in memory of its own.
absl::Status CreateInstance(const PlanTables& tables, const Shapes& shapes, Pages* memory,
                            WeftInstance** instance) {
  const WeftPlan& plan = tables.plan();
  if (absl::Status status = CheckFixedSizes(plan, shapes); !status.ok()) return status;
  const std::vector<const int64_t*> pointers = Pointers(shapes);
  std::vector<int64_t> symbols(plan.num_symbols);
  weft_bind_symbols(&plan, pointers.data(), symbols.data());
  absl::StatusOr<Pages> pages = Pages::Allocate(weft_instance_bytes(&plan));
  if (!pages.ok()) return pages.status();
  *memory = *std::move(pages);
  WeftError error = {};
  const int result = weft_instance_create(&plan, symbols.data(), memory->data(), instance, &error);
  if (result != WEFT_OK) return SizesError(tables, result, error);
  if (weft_check_shapes(*instance, pointers.data(), &error) != WEFT_OK) {
    return ShapeError(plan, shapes, error);
  }
  return CheckMaps(tables, *instance);
}

std::vector<int64_t> ShapeOf(const WeftInstance* instance, const WeftValue& value) {
  std::vector<int64_t> shape(value.rank);
  for (uint32_t i = 0; i < value.rank; ++i) shape[i] = weft_value_dim(instance, &value, i);
  return shape;
}

}  // namespace

absl::Status CheckShapes(const PlanTables& tables, const Shapes& shapes) {
  Pages memory;
  WeftInstance* instance = nullptr;
  return CreateInstance(tables, shapes, &memory, &instance);
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
  if (absl::Status status = call->SetPeak(); !status.ok()) return status;
  return call;
}

PreparedCall::~PreparedCall() {
  // Before the memory in which its work may still be under way.
  for (Place& place : places_) place.own_queue = nullptr;
  if (counted_) state_->memory.GiveBack(peak_bytes_);
}

absl::Status PreparedCall::Instantiate(const Shapes& shapes) {
  const WeftPlan& plan = *tables_;
  absl::Status status = CreateInstance(*plan_->tables, shapes, &instance_memory_, &instance_);
  if (!status.ok()) return status;
  for (const std::shared_ptr<Device>& device : package_->devices()) {
    places_.push_back({device.get(), {}, nullptr, nullptr});
  }
  std::vector<size_t> of_input(plan.num_inputs, 0), of_output(plan.num_outputs, 0);
  for (uint32_t i = 0; i < plan.num_buffers; ++i) {
    const WeftBuffer& buffer = plan.buffers[i];
    if (buffer.space == WEFT_SPACE_INPUT) of_input[buffer.index] = buffer.device;
    if (buffer.space == WEFT_SPACE_OUTPUT) of_output[buffer.index] = buffer.device;
    if (buffer.space != WEFT_SPACE_CONSTANT) continue;
    const auto size = static_cast<uint64_t>(weft_formula_value(instance_, buffer.size));
    if (size > package_->constants_bytes(buffer.device) - buffer.constant_offset) {
      return absl::InvalidArgumentError(absl::StrCat("signature '", plan.signature,
                                                     "': ", PlaceOfBuffer(*plan_->tables, i),
                                                     " reaches past the package's constants"));
    }
  }
  for (uint32_t i = 0; i < plan.num_inputs; ++i) {
    const auto dtype = static_cast<DataType>(plan.inputs[i].dtype);
    inputs_.push_back({plan.inputs[i].name, dtype, shapes[i], {}, {}, false, of_input[i], {}});
  }
  for (uint32_t i = 0; i < plan.num_outputs; ++i) {
    const WeftValue& value = plan.outputs[i];
    outputs_.push_back({value.name,
                        static_cast<DataType>(value.dtype),
                        ShapeOf(instance_, value),
                        {},
                        false,
                        of_output[i],
                        {}});
  }
  return absl::OkStatus();
}

absl::Status PreparedCall::BindVariables() {
  const WeftPlan& plan = *tables_;
  std::vector<const Device*> of_variable(plan.num_variables, nullptr);
  for (uint32_t i = 0; i < plan.num_buffers; ++i) {
    const WeftBuffer& buffer = plan.buffers[i];
    if (buffer.space == WEFT_SPACE_VARIABLE) {
      of_variable[buffer.index] = places_[buffer.device].device;
    }
  }
  for (uint32_t i = 0; i < plan.num_variables; ++i) {
    const WeftValue& value = plan.variables[i];
    SessionVariable* variable = state_->variables.Find(value.name);
    if (variable == nullptr || variable->dtype != static_cast<DataType>(value.dtype) ||
        variable->shape != ShapeOf(instance_, value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("signature '", plan.signature, "': uses a variable '", value.name,
                       "' that the package does not declare with this type"));
    }
    if (of_variable[i] != nullptr && of_variable[i] != variable->device.get()) {
      return absl::InvalidArgumentError(absl::StrCat("signature '", plan.signature,
                                                     "': has the variable '", value.name,
                                                     "' on another device than where it lives"));
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

absl::Status PreparedCall::NoMemory(const absl::Status& status) const {
  std::vector<int> copies;
  for (const Place& place : places_) copies.push_back(place.device->scratch_copies());
  const std::string largest = LargestPart(*plan_->tables, instance_, copies);
  return absl::Status(status.code(),
                      absl::StrCat("signature '", tables_->signature, "' ", status.message(),
                                   largest.empty() ? "" : "; ", largest));
}

size_t PreparedCall::FirstOnDevice(size_t place) const {
  size_t first = 0;
  while (places_[first].device != places_[place].device) ++first;
  return first;
}

int64_t PreparedCall::ScratchOn(const Device* device) const {
  int64_t most = 0;
  for (uint32_t i = 0; i < places_.size(); ++i) {
    if (places_[i].device == device) most = std::max(most, weft_scratch_bytes(instance_, i));
  }
  return most;
}

absl::Status PreparedCall::SetPeak() {
  for (uint32_t i = 0; i < places_.size(); ++i) {
    const Device& device = *places_[i].device;
    const int64_t scratch = weft_scratch_bytes(instance_, i);
    if (scratch > device.max_scratch_bytes()) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "signature '", tables_->signature, "' needs ", scratch,
          " bytes of scratch for one launch with these shapes, and the most on this device (",
          std::string(device.name()), ") is ", device.max_scratch_bytes(), "; it is for ",
          LargestScratch(*plan_->tables, instance_, i)));
    }
    peak_bytes_ += weft_arena_bytes(instance_, i);
    if (FirstOnDevice(i) != i) continue;
    int64_t all_scratch = 0;
    if (__builtin_mul_overflow(ScratchOn(&device), int64_t{device.scratch_copies()},
                               &all_scratch) ||
        all_scratch > WEFT_MAX_BYTES) {
      return NoMemory(absl::OutOfRangeError("needs scratch memory that is out of bounds"));
    }
    peak_bytes_ += all_scratch;
  }
  peak_bytes_ += BytesBetween();
  const int64_t limit = state_->memory.limit();
  if (peak_bytes_ <= limit) return absl::OkStatus();
  return NoMemory(absl::ResourceExhaustedError(
      absl::StrCat("needs ", peak_bytes_,
                   " bytes with these shapes, and the limit (max_memory_bytes) is ", limit)));
}

absl::Status PreparedCall::Allocate(const RunLimits& limits) {
  if (!counted_) {
    const int64_t others = state_->memory.Take(peak_bytes_, limits, &counted_);
    if (!counted_) {
      if (absl::Status status = limits.Check("waiting for memory"); !status.ok()) return status;
      return NoMemory(absl::ResourceExhaustedError(absl::StrCat(
          "needs ", peak_bytes_, " bytes with these shapes, other calls of the session hold ",
          others, ", and the limit (max_memory_bytes) is ", state_->memory.limit())));
    }
  }
  absl::Status status = AllocateMemory(limits);
  if (status.ok()) return status;
  // Nothing is held until the next attempt.
  for (Place& place : places_) place = {place.device, {}, nullptr, nullptr};
  between_ = Pages();
  for (InputSlot& input : inputs_) input.on_device = DeviceMemory();
  for (OutputSlot& output : outputs_) output.on_device = DeviceMemory();
  state_->memory.GiveBack(peak_bytes_);
  counted_ = false;
  return status;
}

absl::Status PreparedCall::AllocateMemory(const RunLimits& limits) {
  const auto peak = [&](const absl::Status& status) {
    if (!absl::IsResourceExhausted(status)) return status;
    return NoMemory(absl::Status(
        status.code(), absl::StrCat("needs ", peak_bytes_, " bytes: ", status.message())));
  };
  for (uint32_t i = 0; i < places_.size(); ++i) {
    Place& place = places_[i];
    absl::StatusOr<DeviceMemory> arena =
        place.device->Allocate(static_cast<size_t>(weft_arena_bytes(instance_, i)), limits);
    if (!arena.ok()) return peak(arena.status());
    place.arena = *std::move(arena);
    if (const size_t first = FirstOnDevice(i); first != i) {
      place.queue = places_[first].queue;
      continue;
    }
    absl::StatusOr<std::unique_ptr<DeviceQueue>> queue =
        place.device->NewQueue(ScratchOn(place.device));
    if (!queue.ok()) return peak(queue.status());
    place.own_queue = *std::move(queue);
    place.queue = place.own_queue.get();
  }
  if (const int64_t bytes = BytesBetween(); bytes > 0) {
    absl::StatusOr<Pages> pages = Pages::Allocate(static_cast<size_t>(bytes));
    if (!pages.ok()) return peak(pages.status());
    between_ = *std::move(pages);
  }
  others_.reset(new WeftRunArgs[places_.size() - 1]);
  input_addresses_.resize(inputs_.size());
  output_addresses_.resize(outputs_.size());
  variable_addresses_.resize(variables_.size());
  const auto allocate = [&](auto& slot, const char* what) {
    Device& device = device_of(slot);
    if (device.is_host()) return absl::OkStatus();
    const HostTensor type = HostTensor::View(slot.dtype, slot.shape, nullptr);
    absl::StatusOr<DeviceMemory> memory = device.Allocate(type.size_bytes(), limits);
    if (!memory.ok()) {
      return absl::Status(
          memory.status().code(),
          absl::StrCat("signature '", tables_->signature, "' needs ", type.size_bytes(),
                       " bytes for ", what, " '", slot.name, "' on the ",
                       std::string(device.name()), ": ", memory.status().message()));
    }
    slot.on_device = *std::move(memory);
    return absl::OkStatus();
  };
  for (InputSlot& input : inputs_) {
    if (absl::Status status = allocate(input, "input"); !status.ok()) return status;
  }
  for (OutputSlot& output : outputs_) {
    if (absl::Status status = allocate(output, "output"); !status.ok()) return status;
  }
  for (uint32_t i = 0; i < places_.size(); ++i) {
    absl::Status status = places_[i].queue->Tune(
        {*plan_->tables, instance_, i, state_->memory, *plan_->ways, limits});
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

int64_t PreparedCall::BytesBetween() const {
  const WeftPlan& plan = *tables_;
  const auto place_of = [&](const WeftStep& step, uint32_t arg) {
    return plan.buffers[plan.args[step.first_arg + arg].buffer].device;
  };
  int64_t most = 0;
  for (uint32_t i = 0; i < plan.num_steps; ++i) {
    const WeftStep& step = plan.steps[i];
    if (step.kind != WEFT_STEP_COPY) continue;
    const uint32_t from = place_of(step, 0), to = place_of(step, 1);
    if (places_[from].device == places_[to].device) continue;
    if (places_[from].device->is_host() || places_[to].device->is_host()) continue;
    most = std::max(most, weft_formula_value(instance_, plan.sizes[step.first_size]));
  }
  return most;
}

absl::Status PreparedCall::AllocateOutputs() {
  for (size_t i = 0; i < outputs_.size(); ++i) {
    OutputSlot& output = outputs_[i];
    if (output.tensor.dtype() != DataType::kInvalid) continue;
    absl::StatusOr<HostTensor> tensor = HostTensor::Create(output.dtype, output.shape);
    if (!tensor.ok()) {
      return absl::Status(tensor.status().code(),
                          absl::StrCat("signature '", tables_->signature, "': ",
                                       PlaceOfOutput(*plan_->tables, static_cast<uint32_t>(i)),
                                       ": ", tensor.status().message()));
    }
    output.tensor = *std::move(tensor);
  }
  return absl::OkStatus();
}

int64_t PreparedCall::held_bytes() const {
  size_t copies = 0;
  for (const InputSlot& input : inputs_) {
    copies += input.staging.size_bytes() + input.on_device.size();
  }
  for (const OutputSlot& output : outputs_) {
    copies += output.tensor.size_bytes() + output.on_device.size();
  }
  int64_t bytes = peak_bytes_ + static_cast<int64_t>(copies);
  for (const Place& place : places_) {
    if (place.own_queue != nullptr) bytes += place.queue->held_bytes();
  }
  return bytes;
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
  return absl::OkStatus();
}

absl::Status PreparedCall::AllocateStaging() {
  for (InputSlot& input : inputs_) {
    if (!device_of(input).is_host()) continue;
    input.staged = !IsAligned(input.tensor.data());
    for (const OutputSlot& output : outputs_) {
      input.staged = input.staged || Overlap(input.tensor, output.tensor);
    }
    if (!input.staged || input.staging.dtype() != DataType::kInvalid) continue;
    absl::StatusOr<HostTensor> staging = HostTensor::Create(input.dtype, input.shape);
    if (!staging.ok()) {
      return absl::Status(staging.status().code(),
                          absl::StrCat("signature '", tables_->signature, "': a copy of input '",
                                       input.name, "': ", staging.status().message()));
    }
    input.staging = *std::move(staging);
  }
  return absl::OkStatus();
}

absl::Status PreparedCall::Run(const RunLimits& limits) {
  for (const InputSlot& input : inputs_) {
    if (input.tensor.dtype() == DataType::kInvalid) {
      return absl::FailedPreconditionError(
          absl::StrCat("input '", input.name, "' of '", tables_->signature, "' was not fed"));
    }
  }
  if (absl::Status status = AllocateOutputs(); !status.ok()) return status;
  if (absl::Status status = AllocateStaging(); !status.ok()) return status;
  const VariablesLocked locked(state_->variables.lock(), lock_mode_, limits);
  return locked.status().ok() ? RunLocked(limits) : locked.status();
}

absl::Status PreparedCall::RunLocked(const RunLimits& limits) {
  WeftRunArgs args = {};
  args.arena = places_[0].arena.data();
  args.constants = package_->constants(0);
  args.variables = variable_addresses_.data();
  args.inputs = input_addresses_.data();
  args.outputs = output_addresses_.data();
  args.deadline = limits.deadline();
  static_assert(sizeof(*limits.cancel()) == 1 && std::atomic<bool>::is_always_lock_free);
  args.cancel = reinterpret_cast<const uint8_t*>(limits.cancel());
  args.profile = state_->profiling.load(std::memory_order_relaxed) ? plan_->profile.get() : nullptr;
  args.others = others_.get();
  args.staging = between_.data();
  places_[0].queue->Bind(&args);
  for (uint32_t i = 1; i < places_.size(); ++i) {
    WeftRunArgs& other = others_[i - 1] = {};
    other.arena = places_[i].arena.data();
    other.constants = package_->constants(i);
    other.deadline = args.deadline;
    other.cancel = args.cancel;
    places_[i].queue->Bind(&other);
  }
  if (absl::Status status = BindAddresses(); !status.ok()) {
    Finish(/*outputs=*/false).IgnoreError();  // what was fed may be under way
    return status;
  }
  WeftError error = {};
  int result = weft_run(instance_, &args, &error);
  // Also after an error: until then the device may read what was fed.
  const absl::Status finished = Finish(result == WEFT_OK);
  if (absl::IsDeadlineExceeded(finished) || absl::IsCancelled(finished)) {
    if (result == WEFT_OK) {
      error.index = WEFT_NONE;
      result = absl::IsCancelled(finished) ? WEFT_ERROR_CANCELLED : WEFT_ERROR_DEADLINE;
    }
  } else if (!finished.ok()) {
    result = WEFT_ERROR_DEVICE;
  }
  if (result == WEFT_ERROR_DEVICE && !MayHaveWritten()) error.committed = 0;
  for (size_t i = 0; i < variables_.size(); ++i) {
    if ((tables_->variables[i].flags & WEFT_VARIABLE_ASSIGNED) == 0) continue;
    if (result == WEFT_OK) variables_[i]->defined = true;
    // Nobody knows what is there.
    if (result == WEFT_ERROR_DEVICE && error.committed != 0) variables_[i]->defined = false;
  }
  return result == WEFT_OK ? absl::OkStatus() : ErrorOf(result, error, finished);
}

bool PreparedCall::MayHaveWritten() const {
  for (size_t i = 0; i < variables_.size(); ++i) {
    if ((tables_->variables[i].flags & WEFT_VARIABLE_ASSIGNED) == 0) continue;
    for (const Place& place : places_) {
      if (place.device == variables_[i]->device.get() && place.queue->may_have_written()) {
        return true;
      }
    }
  }
  return false;
}

absl::Status PreparedCall::BindAddresses() {
  for (size_t i = 0; i < variables_.size(); ++i) {
    SessionVariable* variable = variables_[i];
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
    OutputSlot& output = outputs_[i];
    output_addresses_[i] =
        device_of(output).is_host() ? output.tensor.mutable_data() : output.on_device.data();
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    InputSlot& input = inputs_[i];
    const size_t bytes = input.tensor.size_bytes();
    if (!device_of(input).is_host()) {
      absl::Status status =
          places_[input.place].queue->CopyIn(input.on_device.data(), input.tensor.data(), bytes);
      if (!status.ok()) {
        return absl::Status(
            status.code(), absl::StrCat("signature '", tables_->signature, "', input '", input.name,
                                        "': ", status.message()));
      }
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
  // That one failed is more than that another one waited too long.
  const auto keep = [&](const absl::Status& next, size_t place) {
    const bool limits = absl::IsDeadlineExceeded(status) || absl::IsCancelled(status);
    if (next.ok() || (!status.ok() && !limits)) return;
    status = next;
    failed_ = place;
  };
  for (OutputSlot& output : outputs_) {
    if (!outputs || !status.ok()) break;
    if (device_of(output).is_host()) continue;
    keep(places_[output.place].queue->CopyOut(output.tensor.mutable_data(), output.on_device.data(),
                                              output.tensor.size_bytes()),
         output.place);
  }
  for (size_t i = 0; i < places_.size(); ++i) {
    if (places_[i].own_queue != nullptr) keep(places_[i].queue->Finish(), i);
  }
  return status;
}

absl::Status PreparedCall::ErrorOf(int result, const WeftError& error,
                                   const absl::Status& finished) const {
  const std::string where = absl::StrCat("signature '", tables_->signature, "': ");
  if (result == WEFT_ERROR_DEVICE) {
    return absl::InternalError(absl::StrCat(
        where, "the ", std::string(places_[failed_].device->name()),
        " failed: ", finished.message(), error.index == WEFT_NONE ? "" : "; noticed at ",
        error.index == WEFT_NONE ? "" : PlaceOfStep(tables_->steps[error.index]),
        error.committed != 0 ? "; variables that the run assigns have no value now" : ""));
  }
  const std::string end = error.index == WEFT_NONE ? "what was started on the device"
                                                   : PlaceOfStep(tables_->steps[error.index]);
  if (result == WEFT_ERROR_DEADLINE) {
    return absl::DeadlineExceededError(
        absl::StrCat(where, "the deadline passed before the end of ", end));
  }
  if (result == WEFT_ERROR_CANCELLED) {
    return absl::CancelledError(absl::StrCat(where, "cancelled before the end of ", end));
  }
  const WeftStep& step = tables_->steps[error.index];
  switch (result) {
    case WEFT_ERROR_LIMIT:
      return absl::OutOfRangeError(absl::StrCat(where, "the loop ", PlaceOfStep(step), " passed ",
                                                step.limit, " iterations (max_iterations)"));
    default:
      return absl::FailedPreconditionError(
          absl::StrCat(where, step.message, ": ", PlaceOfStep(step)));
  }
}

void PreparedCall::LendOutput(int index, HostTensor* tensor) {
  OutputSlot& output = outputs_[static_cast<size_t>(index)];
  if (tensor->dtype() != output.dtype || tensor->shape() != output.shape ||
      !IsAligned(tensor->data()) || !tensor->is_own()) {
    return;
  }
  for (const OutputSlot& other : outputs_) {
    if (Overlap(*tensor, other.tensor)) return;
  }
  std::swap(output.tensor, *tensor);
  output.lent = true;
}

void PreparedCall::ReturnOutput(int index, bool ran, HostTensor* tensor) {
  OutputSlot& output = outputs_[static_cast<size_t>(index)];
  if (ran || output.lent) std::swap(output.tensor, *tensor);
  output.lent = false;
}

void PreparedCall::DropTensors() {
  // Assigned to, so that memory for the shapes stays.
  static const HostTensor& none = *new HostTensor;
  for (InputSlot& input : inputs_) input.tensor = none;
  for (OutputSlot& output : outputs_) output.tensor = none;
}

}  // namespace weft
