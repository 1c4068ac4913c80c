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

}  // namespace

Package::Package(std::shared_ptr<Device> device) : device_(std::move(device)) {}
Package::~Package() = default;

absl::StatusOr<std::shared_ptr<const Package>> Package::Open(std::shared_ptr<const Bytes> bytes,
                                                             std::shared_ptr<Device> device) {
  absl::StatusOr<Container> container = Container::Open(std::move(bytes));
  if (!container.ok()) return container.status();
  std::shared_ptr<Package> package(new Package(std::move(device)));
  package->container_ = *std::move(container);
  const Container& file = package->container_;
  if (!file.Has("manifest")) {
    return Malformed(file, file.Has("graph")
                               ? "is a graph, not a package; compile it first (weft compile)"
                               : "has no manifest, so it is not a package");
  }
  absl::StatusOr<std::string_view> text = file.Section("manifest");
  if (!text.ok()) return text.status();
  package->manifest_ = std::make_unique<PackageManifest>();
  if (!ParseMessage(*text, package->manifest_.get())) {
    return Malformed(file, "the manifest is damaged");
  }
  for (absl::Status (Package::*load)() : {&Package::LoadConstants, &Package::LoadWeights}) {
    if (absl::Status status = (package.get()->*load)(); !status.ok()) return status;
  }
  if (absl::Status status = package->CheckManifest(); !status.ok()) return status;
  if (absl::Status status = package->LoadPlans(); !status.ok()) return status;
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
  constants_ = bytes->data();
  constants_bytes_ = bytes->size();
  return absl::OkStatus();
}

// To where the device can use them: those of its own plans, one after the other. A package may hold
// those of many targets.
absl::Status Package::CopyConstants() {
  const bool aligned = reinterpret_cast<uintptr_t>(constants_) % WEFT_BUFFER_ALIGNMENT == 0;
  if (constants_bytes_ == 0 || (device_->is_host() && aligned)) return absl::OkStatus();
  std::map<uint64_t, uint64_t> ends;  // of ranges of the section, by where they begin
  for (const LoadedPlan& loaded : plans_) {
    const WeftPlan& plan = loaded.tables->plan();
    for (uint32_t i = 0; i < plan.num_buffers; ++i) {
      const WeftBuffer& buffer = plan.buffers[i];
      if (buffer.space != WEFT_SPACE_CONSTANT) continue;
      const WeftFormula& size = plan.formulas[buffer.size];
      const uint64_t left = constants_bytes_ - buffer.constant_offset;
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
  absl::StatusOr<DeviceMemory> copy = bytes > 0 ? device_->Allocate(bytes) : DeviceMemory();
  if (!copy.ok()) {
    return InFile(container_, absl::Status(copy.status().code(),
                                           absl::StrCat(bytes, " bytes of constants on the ",
                                                        std::string(device_->name()), ": ",
                                                        copy.status().message())));
  }
  constants_copy_ = *std::move(copy);
  auto* place = static_cast<char*>(constants_copy_.data());
  const auto* section = static_cast<const char*>(constants_);
  for (const Range& range : ranges) {
    if (range.begin == range.end) continue;
    absl::Status status =
        device_->CopyIn(place + range.place, section + range.begin, range.end - range.begin);
    if (!status.ok()) return status;
  }
  for (const LoadedPlan& loaded : plans_) {
    loaded.tables->PlaceConstants([&](uint64_t offset) {
      const auto after =
          std::upper_bound(ranges.begin(), ranges.end(), offset,
                           [](uint64_t at, const Range& range) { return at < range.begin; });
      const Range& range = *std::prev(after);
      return range.place + (offset - range.begin);
    });
  }
  constants_ = place;
  constants_bytes_ = bytes;
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

absl::Status Package::LoadPlans() {
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
  for (const TargetPlans& target : manifest_->targets()) {
    const int used =
        device_->Suits(target.target(), {target.features().begin(), target.features().end()}, &why);
    if (used > most) {
      most = used;
      best = &target;
    }
  }
  // More specialised plans first, otherwise as in the file.
  std::multimap<size_t, LoadedPlan, std::greater<>> plans;
  // Targets may share a section.
  std::map<std::string, size_t> code_bytes;
  for (const TargetPlans& target : manifest_->targets()) {
    const auto [section, is_new] = code_bytes.emplace(target.code_section(), 0);
    if (is_new) {
      absl::StatusOr<std::string_view> code = container_.Section(target.code_section());
      if (!code.ok()) return code.status();
      section->second = code->size();
    }
    for (const Plan& plan : target.plans()) {
      absl::StatusOr<std::unique_ptr<PlanTables>> tables =
          PlanTables::Build(plan, section->second, constants_bytes_);
      if (!tables.ok()) return InFile(container_, tables.status());
      if (&target != best) continue;
      LoadedPlan loaded;
      loaded.signature = plan.signature();
      loaded.specialization.insert(plan.specialization().begin(), plan.specialization().end());
      loaded.tables = *std::move(tables);
      loaded.profile = std::make_unique<WeftStepProfile[]>(loaded.tables->plan().num_steps);
      const size_t specialized = loaded.specialization.size();
      plans.emplace(specialized, std::move(loaded));
    }
  }
  for (auto& [specialized, plan] : plans) plans_.push_back(std::move(plan));
  if (best == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        container_.bytes()->path(), ": has no code for the ", std::string(device_->name()),
        " here (", why, "); compile it with --target ", device_->target()));
  }
  target_ = best->target();
  absl::StatusOr<std::unique_ptr<DeviceCode>> code =
      device_->Load(container_, {best->code_section(), best->machine_code_section(), target_});
  if (!code.ok()) return code.status();
  code_ = *std::move(code);
  for (LoadedPlan& plan : plans_) {
    std::vector<WeftKernel> kernels;
    for (size_t i = 0; i < plan.tables->kernel_names().size(); ++i) {
      absl::StatusOr<WeftKernel> kernel =
          code_->Find({plan.tables->kernel_names()[i], plan.tables->code_offsets()[i],
                       plan.tables->block_threads()[i]});
      if (!kernel.ok()) return InFile(container_, kernel.status());
      kernels.push_back(*kernel);
    }
    plan.tables->SetKernels(kernels);
  }
  return absl::OkStatus();
}

}  // namespace weft
