// Packages: the file as it is, and a manifest in a file that is otherwise whole. Code in a package
// is trusted, so that of the input is put aside and every kernel returns at once; everything else
// is run: plans are laid out and executed for small and absurd shapes in memory of exactly the size
// that they ask for, and sessions are made of them. Code for GPUs is run as it is, on the emulator,
// whose bounds are small.
#include "runtime/package.h"

#include <time.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/container.h"
#include "runtime/core/executor.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/ptx_emulator/emulator_device.h"
#include "runtime/session.h"
#include "tests/fuzz/mutate.h"

namespace weft {
namespace {

constexpr int64_t kMaxBytes = 1 << 20;
constexpr int64_t kMaxSteps = 2000;                           // of a block of threads
constexpr absl::Duration kTimeLimit = absl::Milliseconds(2);  // for loops without end

void Kernel(void* const*, const int64_t*, int64_t, int64_t, void*) {}

// Memory of exactly this size, aligned to 64, for the sanitizer to guard.
class Memory {
 public:
  Memory(int64_t size, char value) {
    if (posix_memalign(&data_, 64, static_cast<size_t>(size)) != 0) abort();
    if (size > 0) memset(data_, value, static_cast<size_t>(size));
  }
  Memory(Memory&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  ~Memory() { free(data_); }
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

int64_t BytesOf(const WeftInstance* instance, const WeftValue& value) {
  int64_t bytes = SizeOf(static_cast<DataType>(value.dtype));
  for (uint32_t i = 0; i < value.rank; ++i) {
    const int64_t dim = weft_value_dim(instance, &value, i);
    if (dim < 0 || __builtin_mul_overflow(bytes, dim, &bytes)) return INT64_MAX;
  }
  return bytes;
}

// Executes the plan, unless it wants much memory. `value` fills all memory, so that conditions hold
// or do not.
void Execute(const Package& package, const WeftPlan& plan, WeftInstance* instance, char value) {
  std::vector<Memory> memory;
  const auto make = [&](const WeftValue* values, uint32_t count, std::vector<void*>* addresses) {
    for (uint32_t i = 0; i < count; ++i) {
      const int64_t bytes = BytesOf(instance, values[i]);
      if (bytes > kMaxBytes) return false;
      memory.emplace_back(bytes, value);
      addresses->push_back(memory.back().data());
    }
    return true;
  };
  std::vector<void*> inputs, outputs, variables;
  if (!make(plan.inputs, plan.num_inputs, &inputs) ||
      !make(plan.outputs, plan.num_outputs, &outputs) ||
      !make(plan.variables, plan.num_variables, &variables)) {
    return;
  }
  // As a session does before it runs a plan (runtime/call.cc).
  for (uint32_t i = 0; i < plan.num_buffers; ++i) {
    const WeftBuffer& buffer = plan.buffers[i];
    if (buffer.space != WEFT_SPACE_CONSTANT) continue;
    const auto size = static_cast<uint64_t>(weft_formula_value(instance, buffer.size));
    if (size > package.constants_bytes(0) - buffer.constant_offset) return;
  }
  // Devices share what they have: it is of the largest.
  int64_t arena = 0, scratch = 0;
  for (uint32_t i = 0; i <= plan.num_others; ++i) {
    arena = std::max(arena, weft_arena_bytes(instance, i));
    scratch = std::max(scratch, weft_scratch_bytes(instance, i));
  }
  if (arena > kMaxBytes || scratch > kMaxBytes) return;
  const Memory arena_memory(arena, value), scratch_memory(scratch, value);
  const Memory constants(static_cast<int64_t>(package.constants_bytes(0)), value);
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  WeftRunArgs args = {};
  args.arena = arena_memory.data();
  args.scratch = scratch_memory.data();
  args.constants = constants.data();
  args.variables = variables.data();
  args.inputs = inputs.data();
  args.outputs = outputs.data();
  args.deadline = absl::ToInt64Nanoseconds(absl::DurationFromTimespec(now) + kTimeLimit);
  const std::vector<WeftRunArgs> others(plan.num_others, args);
  args.others = others.data();
  WeftError error = {};
  weft_run(instance, &args, &error);
  // Plans that write to constants are refused when they are read.
  const auto* bytes = static_cast<const char*>(constants.data());
  for (size_t i = 0; i < package.constants_bytes(0); ++i) {
    if (bytes[i] != value) abort();
  }
}

void LayOut(const Package& package, const LoadedPlan& loaded, int64_t size) {
  const WeftPlan& plan = loaded.tables->plan();
  std::vector<std::vector<int64_t>> shapes(plan.num_inputs);
  std::vector<const int64_t*> pointers;
  for (uint32_t i = 0; i < plan.num_inputs; ++i) {
    shapes[i].assign(plan.inputs[i].rank, size);
    pointers.push_back(shapes[i].data());
  }
  std::vector<int64_t> symbols(plan.num_symbols);
  weft_bind_symbols(&plan, pointers.data(), symbols.data());
  const Memory memory(static_cast<int64_t>(weft_instance_bytes(&plan)), 0);
  WeftInstance* instance = nullptr;
  WeftError error = {};
  const int result = weft_instance_create(&plan, symbols.data(), memory.data(), &instance, &error);
  if (result != WEFT_OK) return;
  weft_check_shapes(instance, pointers.data(), &error);
  for (uint32_t i = 0; i <= plan.num_others; ++i) {
    const int64_t arena = weft_arena_bytes(instance, i);
    if (arena < 0 || arena > WEFT_MAX_BYTES) __builtin_trap();
  }
  for (const char value : {0, 1}) Execute(package, plan, instance, value);
}

// Runs every signature with inputs of which each open dimension is 3.
void RunSession(const std::string& file, std::shared_ptr<Device> device) {
  SessionOptions options;
  options.threads = 1;
  options.max_memory_bytes = kMaxBytes;
  options.device = std::move(device);
  absl::StatusOr<std::unique_ptr<Session>> session = Session::FromPackage(file, options);
  if (!session.ok()) return;
  for (const Session::SignatureInfo& signature : (*session)->Signatures()) {
    NamedTensors feeds;
    for (const Session::ValueInfo& input : signature.inputs) {
      std::vector<int64_t> shape;
      for (const std::string& dim : input.dims) {
        shape.push_back(!dim.empty() && dim[0] >= '0' && dim[0] <= '9' ? atoi(dim.c_str()) : 3);
      }
      const absl::StatusOr<int64_t> elements = CheckedNumElements(shape);
      if (!elements.ok() || *elements > kMaxBytes / 8) return;
      feeds[input.name] = *HostTensor::Create(input.dtype, shape);
    }
    RunOptions run;
    run.deadline = absl::Now() + kTimeLimit;
    (void)(*session)->Run(signature.name, feeds, run);
  }
  (void)(*session)->GetVariables();
}

void Open(std::string_view file) {
  static auto& device = *new std::shared_ptr<Device>(MakeCpuDevice(1).value());
  absl::StatusOr<Container> container = Container::Open(Bytes::Of(file));
  if (!container.ok()) return;
  // The same with harmless code.
  std::vector<std::string> code;
  std::vector<SectionToWrite> sections;
  const std::vector<std::string> names = container->Names();
  code.reserve(names.size());
  for (const std::string& name : names) {
    const absl::StatusOr<std::string_view> bytes = container->Section(name);
    if (!bytes.ok()) return;
    if (name.starts_with("code.")) {
      constexpr char kReturn = '\xc3';
      code.emplace_back(bytes->size(), kReturn);
      sections.push_back({name, code.back(), 12});
    } else {
      sections.push_back({name, *bytes, 6});
    }
  }
  const std::string harmless = WriteContainer(sections);
  absl::StatusOr<std::shared_ptr<const Package>> package =
      Package::Open(Bytes::Of(harmless), std::make_shared<SessionDevices>(device));
  for (size_t i = 0; package.ok() && i < (*package)->plans().size(); ++i) {
    const LoadedPlan& plan = (*package)->plans()[i];
    const std::vector<WeftKernel> kernels(plan.tables->plan().num_kernels, &Kernel);
    plan.tables->SetKernels(kernels);
    for (const int64_t size : {int64_t{0}, int64_t{1}, int64_t{4}, int64_t{7}, INT64_MAX}) {
      LayOut(**package, plan, size);
    }
  }
  if (package.ok()) RunSession(harmless, device);
  for (const std::string& name : names) {
    // What a session leaves on its device is no other input's.
    if (name.starts_with("code.sm")) {
      RunSession(std::string(file),
                 MakeEmulatorDevice({.sm = 90, .memory_bytes = kMaxBytes, .step_limit = kMaxSteps})
                     .value());
    }
  }
}

}  // namespace
}  // namespace weft

const std::string_view weft::fuzz::kMessageSection = "manifest";

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  weft::Open(weft::fuzz::AsPackage({reinterpret_cast<const char*>(data), size}));
  return 0;
}
