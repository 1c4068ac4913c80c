#include "runtime/ptx_emulator/emulator.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <functional>
#include <new>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

#include "proto/pages.h"
#include "runtime/ptx_emulator/block.h"
#include "runtime/ptx_emulator/decode.h"
#include "runtime/ptx_emulator/parser.h"
#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {
namespace {

constexpr uint64_t kMaxMemoryByDefault = uint64_t{32} << 30;

absl::Status OutOfMemory(const LaunchState& state) {
  return absl::ResourceExhaustedError(
      Cat("launch of ", state.kernel.name, ": the host has no memory to run its blocks"));
}

// Runs blocks until there are none left.
void Work(LaunchState& state, int worker) {
  std::optional<Block> block;
  try {
    block.emplace(state);
    while (const std::optional<uint64_t> number = state.NextBlock(worker)) {
      const auto x = static_cast<uint32_t>(*number % state.grid.x);
      const auto y = static_cast<uint32_t>(*number / state.grid.x % state.grid.y);
      const auto z = static_cast<uint32_t>(*number / state.grid.x / state.grid.y);
      block->Run({x, y, z}, *number);
      state.AddFindings(worker, block->TakeFindings());
    }
    state.steps += block->steps();
    state.bank_conflicts += block->bank_conflicts();
    state.sectors += block->global_traffic().sectors;
    state.fewest_sectors += block->global_traffic().fewest;
  } catch (const std::bad_alloc&) {
    // A worker that has no room for a block leaves them to the others.
    if (block.has_value()) state.Fail(OutOfMemory(state));
    state.Leave(worker);
  } catch (const std::exception& error) {
    // Of a container that would be too large, or of who was asked whether to go on.
    state.Fail(absl::InternalError(Cat("launch of ", state.kernel.name, ": ", error.what())));
    state.Leave(worker);
  }
}

// With up to `count` host threads, this one among them; fewer where the system has no more.
void RunBlocks(LaunchState& state, int count) {
  state.BeginWorkers(count);
  std::vector<std::thread> threads;
  try {
    for (int worker = 1; worker < count; ++worker)
      threads.emplace_back(Work, std::ref(state), worker);
  } catch (const std::exception&) {
    // std::system_error or std::bad_alloc.
  }
  Work(state, 0);
  for (std::thread& thread : threads) thread.join();
  if (state.NextBlock(0)) state.Fail(OutOfMemory(state));
}

}  // namespace

struct Emulator::LoadedModule {
  std::unique_ptr<Module> module;
  std::vector<SourceNote> notes;
  std::vector<uint64_t> addresses;  // of Module::variables; 0 for those in shared memory
  std::vector<std::unique_ptr<Kernel>> kernels;
  std::unordered_map<std::string_view, const Kernel*> by_name;
};

namespace {

// GlobalMemory has a mutex: it is made in place.
GlobalMemory MakeMemory(uint64_t limit) {
  if (limit != 0) return GlobalMemory(limit);
  const uint64_t available = AvailableMemory();
  limit = std::min(kMaxMemoryByDefault, available / 2);
  return GlobalMemory(limit, Cat(" (at most half of the ", available,
                                 " that the host had left when the device was made)"));
}

}  // namespace

Emulator::Emulator(const EmulatorOptions& options)
    : options_(options), memory_(MakeMemory(options.memory_bytes)) {}

Emulator::~Emulator() = default;

uint32_t MaxSharedBytes(int sm) {
  if (sm >= 120 || sm == 86 || sm == 89) return 99 << 10;
  if (sm >= 90) return 227 << 10;
  if (sm >= 80) return 163 << 10;
  return sm == 75 ? 64 << 10 : 96 << 10;
}

absl::Status Emulator::PlaceVariables(LoadedModule& loaded) {
  const Module& module = *loaded.module;
  std::map<std::string_view, uint64_t> by_name;
  // Whether there is room for all of them is known before any is made.
  uint64_t bytes = 0;
  for (const Variable& variable : module.variables) {
    if (variable.space == Space::kGlobal || variable.space == Space::kConst)
      bytes += 2 * variable.bytes;
  }
  if (absl::Status status = memory_.Reserve(bytes, "a module's variables"); !status.ok())
    return status;
  memory_.Release(bytes);
  for (const Variable& variable : module.variables) {
    const bool placed = variable.space == Space::kGlobal || variable.space == Space::kConst;
    if (!placed) {
      loaded.addresses.push_back(0);
      continue;
    }
    if (variable.external) {
      return absl::InvalidArgumentError(Cat("PTX line ", variable.line, ": ", variable.name,
                                            " is external; modules are not linked"));
    }
    // The room is there before the bytes of the text are looked at, and only as much as the device
    // has.
    absl::StatusOr<uint64_t> address =
        memory_.Allocate(variable.bytes, std::string(variable.name),
                         variable.space == Space::kConst ? &module : nullptr);
    if (!address.ok()) return address.status();
    loaded.addresses.push_back(*address);
    by_name[variable.name] = *address;
  }
  for (size_t i = 0; i < module.variables.size(); ++i) {
    const Variable& variable = module.variables[i];
    if (loaded.addresses[i] == 0 || variable.bytes == 0) continue;
    // Without an initialiser a variable is zero, as with the driver.
    if (absl::Status status = memory_.Fill(loaded.addresses[i], 0, variable.bytes); !status.ok())
      return status;
    std::vector<uint8_t> bytes = variable.initializer.bytes;
    for (const Initializer::Address& pointer : variable.initializer.addresses) {
      const auto found = by_name.find(pointer.symbol);
      if (found == by_name.end() || pointer.size != 8) {
        return absl::InvalidArgumentError(Cat("PTX line ", variable.line,
                                              ": expected the 64-bit address of a variable, got ",
                                              pointer.symbol));
      }
      const uint64_t value = found->second + static_cast<uint64_t>(pointer.addend);
      std::memcpy(bytes.data() + pointer.offset, &value, sizeof value);
    }
    if (absl::Status status = memory_.Write(loaded.addresses[i], bytes.data(), bytes.size());
        !status.ok())
      return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Emulator::Load(std::string text, std::vector<SourceNote> notes) {
  absl::StatusOr<std::unique_ptr<Module>> module = Parse(std::move(text));
  if (!module.ok()) return module.status();
  if ((*module)->sm > options_.sm || ((*module)->sm_accelerated && (*module)->sm != options_.sm)) {
    return absl::FailedPreconditionError(Cat(
        "expected PTX for sm_", options_.sm, " or less, got sm_", (*module)->sm,
        (*module)->sm_accelerated ? "a" : "", "; compile for this device or load it on another"));
  }
  auto loaded = std::make_shared<LoadedModule>();
  loaded->module = *std::move(module);
  loaded->notes = std::move(notes);
  std::sort(loaded->notes.begin(), loaded->notes.end(),
            [](const SourceNote& a, const SourceNote& b) { return a.first_line < b.first_line; });
  absl::Status status = PlaceVariables(*loaded);
  DecodeBudget budget;
  for (const Function& function : loaded->module->functions) {
    if (!status.ok()) break;
    if (!function.is_entry || !function.has_body) continue;
    absl::StatusOr<std::unique_ptr<Kernel>> kernel =
        Decode(*loaded->module, function, loaded->addresses, budget);
    status = kernel.status();
    if (!kernel.ok()) break;
    loaded->by_name.emplace((*kernel)->name, kernel->get());
    loaded->kernels.push_back(*std::move(kernel));
  }
  if (!status.ok()) {
    for (uint64_t address : loaded->addresses) {
      if (address != 0) memory_.Free(address).IgnoreError();
    }
    return status;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& kernel : loaded->kernels) owners_[kernel.get()] = loaded;
  const int handle = next_module_++;
  modules_[handle] = std::move(loaded);
  return handle;
}

absl::StatusOr<std::shared_ptr<Emulator::LoadedModule>> Emulator::FindModule(int module) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = modules_.find(module);
  if (found == modules_.end()) return absl::NotFoundError(Cat("no module ", module, " is loaded"));
  return found->second;
}

absl::Status Emulator::Unload(int module) {
  const absl::StatusOr<std::shared_ptr<LoadedModule>> loaded = FindModule(module);
  if (!loaded.ok()) return loaded.status();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& kernel : (*loaded)->kernels) {
      owners_.erase(kernel.get());
      max_dynamic_shared_.erase(kernel.get());
    }
    modules_.erase(module);
  }
  absl::Status status;
  for (uint64_t address : (*loaded)->addresses) {
    if (address != 0) status.Update(memory_.Free(address));
  }
  return status;
}

absl::StatusOr<FunctionHandle> Emulator::GetFunction(int module, std::string_view name) const {
  const absl::StatusOr<std::shared_ptr<LoadedModule>> loaded = FindModule(module);
  if (!loaded.ok()) return loaded.status();
  const auto found = (*loaded)->by_name.find(name);
  if (found != (*loaded)->by_name.end()) return FunctionHandle{found->second};
  return absl::NotFoundError(Cat("no kernel ", name, " in module ", module));
}

std::vector<ParameterInfo> Emulator::Parameters(FunctionHandle function) const {
  std::vector<ParameterInfo> infos;
  for (const Parameter& parameter : function.kernel->parameters)
    infos.push_back({std::string(parameter.name), parameter.bytes});
  return infos;
}

absl::StatusOr<std::pair<uint64_t, uint64_t>> Emulator::GetGlobal(int module,
                                                                  std::string_view name) const {
  const absl::StatusOr<std::shared_ptr<LoadedModule>> loaded = FindModule(module);
  if (!loaded.ok()) return loaded.status();
  for (size_t i = 0; i < (*loaded)->addresses.size(); ++i) {
    const Variable& variable = (*loaded)->module->variables[i];
    if (variable.name == name && (*loaded)->addresses[i] != 0)
      return std::pair((*loaded)->addresses[i], variable.bytes);
  }
  return absl::NotFoundError(Cat("no variable ", name, " in module ", module));
}

uint32_t Emulator::SharedBytes(FunctionHandle function) {
  return static_cast<uint32_t>(function.kernel->shared_bytes);
}

absl::Status Emulator::SetMaxDynamicShared(FunctionHandle function, uint32_t bytes) {
  if (uint64_t{function.kernel->shared_bytes} + bytes > max_shared_bytes()) {
    return absl::InvalidArgumentError(Cat(function.kernel->name, ": expected at most ",
                                          max_shared_bytes(), " bytes of shared memory on sm_",
                                          options_.sm, ", got ", function.kernel->shared_bytes,
                                          " declared and ", bytes, " dynamic"));
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  max_dynamic_shared_[function.kernel] = bytes;
  return absl::OkStatus();
}

absl::Status Emulator::CheckLaunch(const Kernel& kernel, const LaunchOptions& options) const {
  const auto show = [](const Dim3& d) { return Cat("(", d.x, ", ", d.y, ", ", d.z, ")"); };
  const auto error = [&](const std::string& expected, const std::string& got) {
    return absl::InvalidArgumentError(
        Cat("launch of ", kernel.name, ": expected ", expected, ", got ", got));
  };
  const Dim3& grid = options.grid;
  const Dim3& block = options.block;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffff || grid.y > 65535 ||
      grid.z > 65535) {
    return error("a grid of at least 1 and at most (2147483647, 65535, 65535) blocks", show(grid));
  }
  if (block.x == 0 || block.y == 0 || block.z == 0 || block.x > 1024 || block.y > 1024 ||
      block.z > 64 || block.Count() > 1024) {
    return error("a block of 1 to 1024 threads, at most (1024, 1024, 64)", show(block));
  }
  if (kernel.max_threads != 0 && block.Count() > kernel.max_threads) {
    return error(Cat("at most the ", kernel.max_threads, " threads of .maxntid"),
                 Cat(block.Count()));
  }
  const Dim3& given = kernel.threads_given;
  if (kernel.exact_threads && (block.x != given.x || block.y != given.y || block.z != given.z)) {
    return error(Cat("the block of .reqntid, ", show(given)), show(block));
  }
  const auto allowed = max_dynamic_shared_.find(&kernel);
  const uint64_t limit =
      allowed == max_dynamic_shared_.end()
          ? kMaxSharedByDefault
          : std::max<uint64_t>(kMaxSharedByDefault, kernel.shared_bytes + allowed->second);
  if (uint64_t{kernel.shared_bytes} + options.dynamic_shared_bytes > limit) {
    return error(Cat("at most ", limit, " bytes of shared memory"),
                 Cat(kernel.shared_bytes, " declared and ", options.dynamic_shared_bytes,
                     " dynamic; SetMaxDynamicShared allows up to ", max_shared_bytes()));
  }
  if (options.parameters.size() != kernel.parameters.size()) {
    return error(Cat(kernel.parameters.size(), " parameters"), Cat(options.parameters.size()));
  }
  return absl::OkStatus();
}

absl::Status Emulator::Launch(FunctionHandle function, const LaunchOptions& options) {
  std::shared_ptr<const LoadedModule> owner;  // stays for as long as the launch
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = owners_.find(function.kernel);
    if (found == owners_.end())
      return absl::NotFoundError("launch: expected a kernel of a module that is loaded");
    if (absl::Status status = CheckLaunch(*function.kernel, options); !status.ok()) return status;
    owner = found->second;
  }
  const Kernel& kernel = *function.kernel;
  LaunchState state(kernel, *owner->module, memory_);
  state.grid = options.grid;
  state.block = options.block;
  state.dynamic_shared_bytes = options.dynamic_shared_bytes;
  state.parameters.resize(kernel.parameter_bytes);
  for (size_t i = 0; i < kernel.parameters.size(); ++i) {
    std::memcpy(state.parameters.data() + kernel.parameters[i].offset, options.parameters[i],
                kernel.parameters[i].bytes);
  }
  state.regions = options.regions;
  std::sort(state.regions.begin(), state.regions.end(),
            [](const Region& a, const Region& b) { return a.address < b.address; });
  state.notes = owner->notes;
  state.step_limit = options_.step_limit;
  state.interrupt = options.interrupt;

  auto count =
      static_cast<int>(std::min<uint64_t>(std::max(options_.threads, 1), options.grid.Count()));
  // As many blocks at a time as there is room for.
  const uint64_t block_bytes = Block::HostBytes(kernel, options.block);
  const std::string what = Cat("registers and local memory of a block of ", options.block.Count(),
                               " threads of ", kernel.name);
  absl::Status room = memory_.Reserve(count * block_bytes, what);
  while (!room.ok() && count > 1) room = memory_.Reserve(--count * block_bytes, what);
  if (!room.ok()) return room;
  RunBlocks(state, count);
  memory_.Release(count * block_bytes);

  const std::lock_guard<std::mutex> lock(mutex_);
  executed_instructions_ += state.steps;
  bank_conflicts_ += state.bank_conflicts;
  global_traffic_.sectors += state.sectors;
  global_traffic_.fewest += state.fewest_sectors;
  if (state.findings.empty()) return state.failure;
  const size_t more = state.findings.size() - 1;
  absl::Status status = absl::InternalError(
      Cat(state.findings[0].ToString(),
          more == 0 ? "" : Cat(" (and ", more, " more finding", more == 1 ? ")" : "s)")));
  for (Finding& finding : state.findings) findings_.push_back(std::move(finding));
  return status;
}

void Emulator::ClearFindings() {
  const std::lock_guard<std::mutex> lock(mutex_);
  findings_.clear();
}

int64_t Emulator::bank_conflicts() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return bank_conflicts_;
}

GlobalTraffic Emulator::global_traffic() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return global_traffic_;
}

int64_t Emulator::executed_instructions() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return executed_instructions_;
}

}  // namespace weft::ptx
