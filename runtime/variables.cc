#include "runtime/variables.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/core/json.h"
#include "proto/file.h"
#include "proto/plan.pb.h"
#include "proto/safetensors.h"
#include "proto/suggest.h"
#include "runtime/package.h"

namespace weft {
namespace {

std::string TypeText(DataType dtype, const std::vector<int64_t>& shape) {
  return HostTensor::View(dtype, shape, nullptr).TypeString();
}

// An error of memory, or of copying to the device, with the variable that it is about.
absl::Status Naming(const std::string& variable, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("variable '", variable, "': ", status.message()));
}

}  // namespace

absl::Status UndefinedVariable(std::string_view name) {
  return absl::FailedPreconditionError(
      absl::StrCat("variable '", std::string(name),
                   "' has no value yet; run the signature 'init' or restore a checkpoint first"));
}

void VariablesLock::Enqueue(Waiter* waiter) {
  Waiter** end = &first_;
  while (*end != nullptr) end = &(*end)->next;
  *end = waiter;
}

void VariablesLock::Remove(Waiter* waiter) {
  Waiter** place = &first_;
  while (*place != waiter) place = &(*place)->next;
  *place = waiter->next;
}

bool VariablesLock::MayEnter(const Waiter* waiter) const {
  if (writing_) return false;
  if (waiter->write) return readers_ == 0 && first_ == waiter;
  for (const Waiter* earlier = first_; earlier != waiter; earlier = earlier->next) {
    if (earlier->write) return false;
  }
  return true;
}

absl::Status VariablesLock::Acquire(Mode mode, const RunLimits& limits) {
  if (mode == Mode::kNone) return absl::OkStatus();
  std::unique_lock<std::mutex> lock(mutex_);
  Waiter waiter = {mode == Mode::kWrite, nullptr};
  Enqueue(&waiter);
  absl::Status status;
  while (!MayEnter(&waiter)) {
    status = limits.Check("waiting for other runs");
    if (!status.ok()) break;
    limits.Wait(changed_, lock);
  }
  Remove(&waiter);
  if (!status.ok()) {
    changed_.notify_all();  // others may have waited for this one
  } else if (waiter.write) {
    writing_ = true;
  } else {
    ++readers_;
  }
  return status;
}

void VariablesLock::Release(Mode mode) {
  if (mode == Mode::kNone) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (mode == Mode::kWrite) {
      writing_ = false;
    } else {
      --readers_;
    }
  }
  changed_.notify_all();
}

absl::Status Variables::Declare(const Package& package) {
  std::vector<std::unique_ptr<SessionVariable>> added;
  for (const PackageVariable& declared : package.manifest().variables()) {
    if (Find(declared.name()) != nullptr) continue;
    auto variable = std::make_unique<SessionVariable>();
    variable->name = declared.name();
    variable->dtype = static_cast<DataType>(declared.dtype());
    variable->shape.assign(declared.shape().begin(), declared.shape().end());
    absl::StatusOr<std::shared_ptr<Device>> device = devices_->Get(package.DeviceOf(declared));
    if (!device.ok()) {
      return Naming(variable->name, absl::Status(device.status().code(),
                                                 absl::StrCat("placed on '", declared.device(),
                                                              "': ", device.status().message())));
    }
    variable->device = *std::move(device);
    if (declared.has_value()) {
      const HostTensor& value = package.weights().at(declared.name());
      variable->owned =
          !variable->device->is_host() || reinterpret_cast<uintptr_t>(value.data()) % 64 != 0;
      absl::StatusOr<HostTensor> placed = variable->owned ? ToDevice(*variable, value) : value;
      if (!placed.ok()) return Naming(variable->name, placed.status());
      variable->value = *std::move(placed);
      variable->defined = true;
    }
    added.push_back(std::move(variable));
  }
  // No run knows the new ones yet. Another thread may have declared some of them meanwhile.
  std::lock_guard<std::mutex> lock(mutex_);
  for (const PackageVariable& declared : package.manifest().variables()) {
    const auto found = variables_.find(declared.name());
    if (found == variables_.end()) continue;
    const SessionVariable& variable = *found->second;
    const auto dtype = static_cast<DataType>(declared.dtype());
    const std::vector<int64_t> shape(declared.shape().begin(), declared.shape().end());
    const absl::StatusOr<std::shared_ptr<Device>> device =
        devices_->Get(package.DeviceOf(declared));
    if (!device.ok() || *device != variable.device) {
      return absl::InvalidArgumentError(absl::StrCat(
          "variable '", declared.name(), "': expected it to stay on one device, got another one, '",
          declared.device(), "'"));
    }
    if (variable.dtype == dtype && variable.shape == shape) continue;
    return absl::InvalidArgumentError(absl::StrCat("variable '", declared.name(), "': expected ",
                                                   TypeText(variable.dtype, variable.shape),
                                                   ", got ", TypeText(dtype, shape)));
  }
  for (std::unique_ptr<SessionVariable>& variable : added) {
    std::string name = variable->name;
    variables_.emplace(std::move(name), std::move(variable));
  }
  return absl::OkStatus();
}

SessionVariable* Variables::Find(std::string_view name) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = variables_.find(name);
  return found == variables_.end() ? nullptr : found->second.get();
}

std::vector<SessionVariable*> Variables::All() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<SessionVariable*> all;
  for (const auto& [name, variable] : variables_) all.push_back(variable.get());
  return all;
}

std::vector<std::string> Variables::Names() const {
  std::vector<std::string> names;
  for (const SessionVariable* variable : All()) names.push_back(variable->name);
  return names;
}

absl::StatusOr<HostTensor> Variables::Allocate(const SessionVariable& variable) {
  const DataType dtype = variable.dtype;
  const std::vector<int64_t>& shape = variable.shape;
  if (variable.device->is_host()) return HostTensor::Create(dtype, shape);
  const HostTensor type = HostTensor::View(dtype, shape, nullptr);
  absl::StatusOr<DeviceMemory> memory = variable.device->Allocate(type.size_bytes());
  if (!memory.ok()) return memory.status();
  // The device stays as long as its memory.
  struct Owner {
    std::shared_ptr<Device> device;
    DeviceMemory memory;
  };
  auto owner = std::make_shared<Owner>(Owner{variable.device, *std::move(memory)});
  const void* data = owner->memory.data();
  return HostTensor::View(dtype, shape, data, std::move(owner));
}

absl::StatusOr<HostTensor> Variables::ToDevice(const SessionVariable& variable,
                                               const HostTensor& host) {
  absl::StatusOr<HostTensor> value = Allocate(variable);
  if (!value.ok()) return value;
  absl::Status status =
      variable.device->CopyIn(value->mutable_data(), host.data(), host.size_bytes());
  if (!status.ok()) return status;
  return value;
}

absl::StatusOr<HostTensor> Variables::ToHost(const SessionVariable& variable) {
  const HostTensor& value = variable.value;
  absl::StatusOr<HostTensor> host = HostTensor::Create(value.dtype(), value.shape());
  if (!host.ok()) return host;
  absl::Status status =
      variable.device->CopyOut(host->mutable_data(), value.data(), value.size_bytes());
  if (!status.ok()) return status;
  return host;
}

absl::Status Variables::MakeWritable(SessionVariable* variable) {
  if (variable->owned) return absl::OkStatus();
  // What is there but not owned is in a package, and so on the host.
  absl::StatusOr<HostTensor> memory =
      variable->defined ? ToDevice(*variable, variable->value) : Allocate(*variable);
  if (!memory.ok()) return Naming(variable->name, memory.status());
  variable->value = *std::move(memory);
  variable->owned = true;
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, HostTensor>> Variables::Collect(bool copy) const {
  std::map<std::string, HostTensor> values;
  for (const SessionVariable* variable : All()) {
    if (!variable->defined) return UndefinedVariable(variable->name);
    if (!copy && variable->device->is_host()) {
      values[variable->name] = variable->value;
      continue;
    }
    absl::StatusOr<HostTensor> value = ToHost(*variable);
    if (!value.ok()) return value.status();
    values[variable->name] = *std::move(value);
  }
  return values;
}

absl::StatusOr<SessionVariable*> Variables::FindOrSuggest(const std::string& name) const {
  if (SessionVariable* variable = Find(name); variable != nullptr) return variable;
  return absl::NotFoundError(
      absl::StrCat("there is no variable '", name, "'", Suggestion(name, Names())));
}

absl::StatusOr<HostTensor> Variables::GetOne(const std::string& name) {
  absl::StatusOr<SessionVariable*> variable = FindOrSuggest(name);
  if (!variable.ok()) return variable.status();
  const VariablesLocked locked(lock_, VariablesLock::Mode::kRead);
  if (!(*variable)->defined) return UndefinedVariable(name);
  return ToHost(**variable);
}

absl::StatusOr<std::map<std::string, HostTensor>> Variables::Get() {
  const VariablesLocked locked(lock_, VariablesLock::Mode::kRead);
  return Collect(/*copy=*/true);
}

absl::Status Variables::Set(const std::map<std::string, HostTensor>& values) {
  // All or nothing: copies first, then the swap.
  std::vector<std::pair<SessionVariable*, HostTensor>> changes;
  for (const auto& [name, value] : values) {
    absl::StatusOr<SessionVariable*> found = FindOrSuggest(name);
    if (!found.ok()) return found.status();
    SessionVariable* variable = *found;
    if (value.dtype() != variable->dtype || value.shape() != variable->shape) {
      return absl::InvalidArgumentError(absl::StrCat("variable '", name, "': expected ",
                                                     TypeText(variable->dtype, variable->shape),
                                                     ", got ", value.TypeString()));
    }
    absl::StatusOr<HostTensor> copy = ToDevice(*variable, value);
    if (!copy.ok()) return Naming(name, copy.status());
    changes.emplace_back(variable, *std::move(copy));
  }
  const VariablesLocked locked(lock_, VariablesLock::Mode::kWrite);
  for (auto& [variable, value] : changes) {
    variable->value = std::move(value);
    variable->defined = true;
    variable->owned = true;
  }
  return absl::OkStatus();
}

absl::Status Variables::Save(const std::string& path,
                             const std::map<std::string, std::string>& metadata) {
  for (const auto& [key, value] : metadata) {
    if (IsUtf8(key) && IsUtf8(value)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected metadata in UTF-8, got '", key, "': '", value, "'"));
  }
  std::string file;
  {
    const VariablesLocked locked(lock_, VariablesLock::Mode::kRead);
    absl::StatusOr<std::map<std::string, HostTensor>> values = Collect(/*copy=*/false);
    if (!values.ok()) return values.status();
    file = WriteSafetensors(*values, metadata);
  }
  // Runs go on while the disk works.
  return WriteFileAtomically(path, file);
}

absl::StatusOr<std::map<std::string, std::string>> Variables::Restore(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Load(path);
  if (!bytes.ok()) return bytes.status();
  const auto in_file = [&](const absl::Status& status) {
    return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  };
  absl::StatusOr<Safetensors> file = ReadSafetensors((*bytes)->view(), *bytes);
  if (!file.ok()) return in_file(file.status());
  std::vector<std::string> names;
  for (const auto& [name, tensor] : file->tensors) names.push_back(name);
  std::map<std::string, HostTensor> values;
  for (const std::string& name : Names()) {
    const auto found = file->tensors.find(name);
    if (found == file->tensors.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": has no value for variable '", name, "'", Suggestion(name, names)));
    }
    values[name] = found->second;
  }
  if (absl::Status status = Set(values); !status.ok()) return in_file(status);
  return std::move(file->metadata);
}

}  // namespace weft
