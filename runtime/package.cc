#include "runtime/package.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/dtype.h"
#include "proto/parse_message.h"
#include "proto/plan.pb.h"
#include "proto/safetensors.h"
#include "runtime/blame.h"

// Runs once for each package: small rather than quick, since the size of weft-run is bounded.
#pragma clang attribute push(__attribute__((minsize)), apply_to = function)

namespace weft {
namespace {

constexpr int kMaxRank = 64;
// Far above what any use gives; they bound the time that opening takes.
constexpr int kMaxTargets = 256;
constexpr int kMaxPlans = 1 << 16;  // of all targets

absl::Status Malformed(const Container& container, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(container.bytes()->path(), ": ", what));
}

absl::Status InFile(const Container& container, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat(container.bytes()->path(), ": ", status.message()));
}

int SuitsDevice(const TargetPlans& target, const Device& device, std::string* why) {
  return device.Suits(target.target(), {target.features().begin(), target.features().end()}, why);
}

}  // namespace

Package::Package() = default;
Package::~Package() = default;

absl::StatusOr<std::shared_ptr<const Package>> Package::Open(
    std::shared_ptr<const Bytes> bytes, std::shared_ptr<SessionDevices> devices) {
  absl::StatusOr<Container> container = Container::Open(std::move(bytes));
  if (!container.ok()) return container.status();
  std::shared_ptr<Package> package(new Package);
  package->container_ = *std::move(container);
  package->manifest_ = std::make_unique<PackageManifest>();
  absl::Status read = ReadManifest(package->container_, package->manifest_.get());
  if (!read.ok()) return read;
  for (absl::Status (Package::*load)() : {&Package::LoadConstants, &Package::LoadWeights}) {
    if (absl::Status status = (package.get()->*load)(); !status.ok()) return status;
  }
  if (absl::Status status = package->CheckManifest(); !status.ok()) return status;
  package->devices_ = {devices->main()};
  if (absl::Status status = package->LoadPlans(*devices); !status.ok()) return status;
  if (absl::Status status = package->CopyConstants(); !status.ok()) return status;
  return package;
}

absl::Status Package::CheckManifest() const {
  const PackageManifest& manifest = *manifest_;
  if (manifest.min_consumer() > kPackageVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        container_.bytes()->path(), ": written by ", manifest.producer_name(),
        ", needs a runtime of package version ", manifest.min_consumer(), ", this one has ",
        kPackageVersion, "; update the runtime or compile the graph again"));
  }
  if (manifest.version() < 1) return Malformed(container_, "the manifest has no version");

  std::set<std::string> names;
  for (const PackageSignature& signature : manifest.signatures()) {
    if (!names.insert(signature.name()).second) {
      return Malformed(container_,
                       absl::StrCat("signature '", signature.name(), "' is there twice"));
    }
    for (const auto* values : {&signature.inputs(), &signature.outputs()}) {
      for (const PackageValue& value : *values) {
        if (!IsDataType(value.dtype()) || value.shape_size() > kMaxRank) {
          return Malformed(container_, absl::StrCat("signature '", signature.name(), "', value '",
                                                    value.name(), "' has no valid type"));
        }
      }
    }
  }
  names.clear();
  for (const PackageVariable& variable : manifest.variables()) {
    const auto bad = [&](std::string_view what) {
      return Malformed(container_,
                       absl::StrCat("variable '", variable.name(), "' ", std::string(what)));
    };
    if (!names.insert(variable.name()).second) return bad("is there twice");
    const std::vector<int64_t> shape(variable.shape().begin(), variable.shape().end());
    const absl::StatusOr<int64_t> elements = CheckedNumElements(shape);
    if (!IsDataType(variable.dtype()) || shape.size() > kMaxRank || !elements.ok() ||
        *elements > WEFT_MAX_BYTES / 8) {
      return bad("has no valid type");
    }
    if (!variable.has_value()) continue;
    const auto found = weights_.find(variable.name());
    if (found == weights_.end()) return bad("has no value in the weights");
    if (found->second.dtype() != static_cast<DataType>(variable.dtype()) ||
        found->second.shape() != shape) {
      return bad("has a value of another type");
    }
  }
  return absl::OkStatus();
}

absl::Status Package::LoadConstants() {
  if (!container_.Has("constants")) return absl::OkStatus();
  absl::StatusOr<std::string_view> bytes = container_.Section("constants");
  if (!bytes.ok()) return bytes.status();
  constants_ = *bytes;
  return absl::OkStatus();
}

absl::Status Package::CopyConstants() {
  placed_.resize(devices_.size());
  for (uint32_t i = 0; i < devices_.size(); ++i) {
    if (absl::Status status = CopyConstantsTo(i); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// To where the device can use them: those of its own plans, one after the other. A package may hold
// those of many targets.
absl::Status Package::CopyConstantsTo(uint32_t place_of_device) {
  Device& device = *devices_[place_of_device];
  Placed& placed = placed_[place_of_device];
  const bool aligned = reinterpret_cast<uintptr_t>(constants_.data()) % WEFT_BUFFER_ALIGNMENT == 0;
  if (constants_.empty() || (device.is_host() && aligned)) {
    placed.constants = constants_.data();
    placed.constants_bytes = constants_.size();
    return absl::OkStatus();
  }
  std::map<uint64_t, uint64_t> ends;  // of ranges of the section, by where they begin
  for (const LoadedPlan& loaded : plans_) {
    const WeftPlan& plan = loaded.tables->plan();
    for (uint32_t i = 0; i < plan.num_buffers; ++i) {
      const WeftBuffer& buffer = plan.buffers[i];
      if (buffer.space != WEFT_SPACE_CONSTANT || buffer.device != place_of_device) continue;
      const WeftFormula& size = plan.formulas[buffer.size];
      const uint64_t left = constants_.size() - buffer.constant_offset;
      uint64_t bytes = left;  // where it is known with the shapes alone
      if (size.op == WEFT_FORMULA_CONSTANT) {
        bytes = size.value < 0 ? UINT64_MAX : static_cast<uint64_t>(size.value);
      }
      if (bytes > left) {
        return Malformed(container_, absl::StrCat("signature '", loaded.signature,
                                                  "': ", PlaceOfBuffer(*loaded.tables, i),
                                                  " reaches past the package's constants"));
      }
      uint64_t& end = ends[buffer.constant_offset];
      end = std::max(end, buffer.constant_offset + bytes);
    }
  }
  struct Range {
    uint64_t begin, end, place;
  };
  std::vector<Range> ranges;  // in order, apart
  for (const auto& [begin, end] : ends) {
    if (!ranges.empty() && begin <= ranges.back().end) {
      ranges.back().end = std::max(ranges.back().end, end);
    } else {
      ranges.push_back({begin, end, 0});
    }
  }
  uint64_t bytes = 0;
  for (Range& range : ranges) {
    range.place =
        (bytes + WEFT_BUFFER_ALIGNMENT - 1) / WEFT_BUFFER_ALIGNMENT * WEFT_BUFFER_ALIGNMENT;
    bytes = range.place + range.end - range.begin;
  }
  absl::StatusOr<DeviceMemory> copy = bytes > 0 ? device.Allocate(bytes) : DeviceMemory();
  if (!copy.ok()) {
    return InFile(container_, absl::Status(copy.status().code(),
                                           absl::StrCat(bytes, " bytes of constants on the ",
                                                        std::string(device.name()), ": ",
                                                        copy.status().message())));
  }
  placed.constants_copy = *std::move(copy);
  auto* place = static_cast<char*>(placed.constants_copy.data());
  const char* section = constants_.data();
  for (const Range& range : ranges) {
    if (range.begin == range.end) continue;
    absl::Status status =
        device.CopyIn(place + range.place, section + range.begin, range.end - range.begin);
    if (!status.ok()) return status;
  }
  for (const LoadedPlan& loaded : plans_) {
    loaded.tables->PlaceConstants(place_of_device, [&](uint64_t offset) {
      const auto after =
          std::upper_bound(ranges.begin(), ranges.end(), offset,
                           [](uint64_t at, const Range& range) { return at < range.begin; });
      const Range& range = *std::prev(after);
      return range.place + (offset - range.begin);
    });
  }
  placed.constants = place;
  placed.constants_bytes = bytes;
  return absl::OkStatus();
}

absl::Status Package::LoadWeights() {
  if (!container_.Has("weights")) return absl::OkStatus();
  absl::StatusOr<std::string_view> bytes = container_.Section("weights");
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<Safetensors> weights = ReadSafetensors(*bytes, container_.bytes());
  if (!weights.ok()) return InFile(container_, weights.status());
  weights_ = std::move(weights->tensors);
  return absl::OkStatus();
}

absl::StatusOr<int> Package::Suits(const TargetPlans& target, SessionDevices& devices,
                                   std::vector<std::shared_ptr<Device>>* found,
                                   std::string* why) const {
  const int used = SuitsDevice(target, *devices.main(), why);
  if (used < 0) return used;
  found->push_back(devices.main());
  for (const TargetPlans& placed : target.devices()) {
    absl::StatusOr<std::shared_ptr<Device>> device = devices.Get(placed.device());
    absl::Status status = device.status();
    std::string refused;
    if (status.ok() && SuitsDevice(placed, **device, &refused) < 0) {
      status = absl::FailedPreconditionError(
          absl::StrCat("no code for the ", std::string((*device)->name()), " there (", refused,
                       "); compile it with --target ", placed.device(), "=", (*device)->target()));
    }
    if (!status.ok()) {
      return InFile(
          container_,
          absl::Status(
              status.code(),
              absl::StrCat("node '", placed.node(), "'", placed.location().empty() ? "" : " (",
                           placed.location(), placed.location().empty() ? "" : ")",
                           " is placed on '", placed.device(), "': ", status.message())));
    }
    found->push_back(*std::move(device));
  }
  return used;
}

absl::Status Package::LoadPlans(SessionDevices& devices) {
  if (manifest_->targets_size() == 0) return absl::OkStatus();
  if (manifest_->targets_size() > kMaxTargets) {
    return Malformed(container_, absl::StrCat("expected at most ", kMaxTargets, " targets, got ",
                                              manifest_->targets_size()));
  }
  int64_t num_plans = 0;
  for (const TargetPlans& target : manifest_->targets()) num_plans += target.plans_size();
  if (num_plans > kMaxPlans) {
    return Malformed(container_,
                     absl::StrCat("expected at most ", kMaxPlans, " plans, got ", num_plans));
  }
  const TargetPlans* best = nullptr;
  int most = -1;
  std::string why;
  absl::Status placement;  // why a target is not taken that suits the session's own device
  for (const TargetPlans& target : manifest_->targets()) {
    if (target.devices_size() >= WEFT_MAX_DEVICES) {
      return Malformed(container_, "its plans are for too many devices");
    }
    std::vector<std::shared_ptr<Device>> found;
    const absl::StatusOr<int> used = Suits(target, devices, &found, &why);
    if (!used.ok()) placement.Update(used.status());
    if (used.value_or(-1) > most) {
      most = *used;
      best = &target;
      devices_ = std::move(found);
    }
  }
  // More specialised plans first, otherwise as in the file.
  std::multimap<size_t, LoadedPlan, std::greater<>> plans;
  // Targets may share a section.
  std::map<std::string, size_t> code_bytes;
  for (const TargetPlans& target : manifest_->targets()) {
    std::vector<const std::string*> sections = {&target.code_section()};
    for (const TargetPlans& placed : target.devices()) sections.push_back(&placed.code_section());
    std::vector<uint64_t> bytes;
    for (const std::string* name : sections) {
      const auto [section, is_new] = code_bytes.emplace(*name, 0);
      if (is_new) {
        absl::StatusOr<std::string_view> code = container_.Section(*name);
        if (!code.ok()) return code.status();
        section->second = code->size();
      }
      bytes.push_back(section->second);
    }
    for (const Plan& plan : target.plans()) {
      absl::StatusOr<std::unique_ptr<PlanTables>> tables =
          PlanTables::Build(plan, bytes, constants_.size());
      if (!tables.ok()) return InFile(container_, tables.status());
      if (&target != best) continue;
      LoadedPlan loaded;
      loaded.signature = plan.signature();
      loaded.specialization.insert(plan.specialization().begin(), plan.specialization().end());
      loaded.tables = *std::move(tables);
      loaded.profile = std::make_unique<WeftStepProfile[]>(loaded.tables->plan().num_steps);
      loaded.ways = std::make_unique<StepWays>();
      const size_t specialized = loaded.specialization.size();
      plans.emplace(specialized, std::move(loaded));
    }
  }
  for (auto& [specialized, plan] : plans) plans_.push_back(std::move(plan));
  if (best == nullptr && !placement.ok()) return placement;
  if (best == nullptr) {
    const Device& device = *devices.main();
    return absl::FailedPreconditionError(absl::StrCat(
        container_.bytes()->path(), ": has no code for the ", std::string(device.name()), " here (",
        why, "); compile it with --target ", device.target()));
  }
  target_ = best->target();
  chosen_ = best;
  placed_.resize(devices_.size());
  for (size_t i = 0; i < devices_.size(); ++i) {
    const TargetPlans& of = i == 0 ? *best : best->devices(static_cast<int>(i) - 1);
    absl::StatusOr<std::unique_ptr<DeviceCode>> code =
        devices_[i]->Load(container_, {of.code_section(), of.machine_code_section(), of.target()});
    if (!code.ok()) return code.status();
    placed_[i].code = *std::move(code);
  }
  for (LoadedPlan& plan : plans_) {
    std::vector<WeftKernel> kernels;
    for (size_t i = 0; i < plan.tables->kernel_names().size(); ++i) {
      absl::StatusOr<WeftKernel> kernel = placed_[plan.tables->kernel_devices()[i]].code->Find(
          {plan.tables->kernel_names()[i], plan.tables->code_offsets()[i],
           plan.tables->block_threads()[i], plan.tables->kernel_maps()[i],
           plan.tables->shares_tiles()[i]});
      if (!kernel.ok()) return InFile(container_, kernel.status());
      kernels.push_back(*kernel);
    }
    plan.tables->SetKernels(kernels);
  }
  return absl::OkStatus();
}

std::string Package::DeviceOf(const PackageVariable& variable) const {
  if (chosen_ == nullptr) return variable.device();
  const bool is_placed =
      std::any_of(chosen_->devices().begin(), chosen_->devices().end(),
                  [&](const TargetPlans& of) { return of.device() == variable.device(); });
  return is_placed ? variable.device() : std::string();
}

absl::Status ReadManifest(const Container& package, PackageManifest* manifest) {
  if (!package.Has("manifest")) {
    return Malformed(package, package.Has("graph")
                                  ? "is a graph, not a package; compile it first (weft compile)"
                                  : "has no manifest, so it is not a package");
  }
  absl::StatusOr<std::string_view> text = package.Section("manifest");
  if (!text.ok()) return text.status();
  if (!ParseMessage(*text, manifest)) return Malformed(package, "the manifest is damaged");
  return absl::OkStatus();
}

absl::StatusOr<std::set<std::string>> DevicesOfPackage(std::shared_ptr<const Bytes> bytes) {
  const absl::StatusOr<Container> container = Container::Open(std::move(bytes));
  if (!container.ok()) return container.status();
  PackageManifest manifest;
  if (absl::Status read = ReadManifest(*container, &manifest); !read.ok()) return read;
  std::set<std::string> devices;
  for (const TargetPlans& target : manifest.targets()) {
    for (const TargetPlans& placed : target.devices()) devices.insert(placed.device());
  }
  // Plans tell which of the names is the session's own device (Package::DeviceOf).
  if (manifest.targets_size() > 0) return devices;
  for (const PackageVariable& variable : manifest.variables()) {
    if (!variable.device().empty()) devices.insert(variable.device());
  }
  return devices;
}

}  // namespace weft

#pragma clang attribute pop
