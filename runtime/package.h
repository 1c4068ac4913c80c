// A package (.weftpkg), opened and verified.
#ifndef WEFT_RUNTIME_PACKAGE_H_
#define WEFT_RUNTIME_PACKAGE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/container.h"
#include "proto/host_tensor.h"
#include "runtime/core/executor.h"
#include "runtime/device.h"
#include "runtime/plan_tables.h"
#include "runtime/session_devices.h"
#include "runtime/tuning.h"

namespace weft {

class PackageManifest;  // proto/plan.proto
class PackageVariable;
class TargetPlans;

// The latest version of manifests that this runtime reads.
inline constexpr int kPackageVersion = 3;

// A plan that can be run; its package must stay.
struct LoadedPlan {
  std::string signature;
  // Symbols fixed at compile time, "batch=32"; empty for the general plan.
  std::map<std::string, int64_t> specialization;
  std::unique_ptr<PlanTables> tables;
  // Sums for each step, updated by runs that profile.
  std::unique_ptr<WeftStepProfile[]> profile;
  // Of the call that was prepared last.
  std::unique_ptr<StepWays> ways;
};

// Immutable, so threads may share it (profiles are updated atomically).
class Package {
 public:
  // Verifies the container, the manifest and all plans of all targets, and loads the code of the
  // best target that the devices can run, and the constants. Error: InvalidArgument or DataLoss for
  // a damaged file, FailedPrecondition where the file asks for a newer runtime or no target suits
  // the devices; what a device itself refuses is Unavailable (its driver is too old),
  // ResourceExhausted or Internal, and so is what is said of one that there is not. A package is
  // native code: one from an untrusted source is as safe as any program from there.
  static absl::StatusOr<std::shared_ptr<const Package>> Open(
      std::shared_ptr<const Bytes> bytes, std::shared_ptr<SessionDevices> devices);
  Package(const Package&) = delete;
  Package& operator=(const Package&) = delete;
  ~Package();

  const PackageManifest& manifest() const { return *manifest_; }
  // The target whose code was loaded; empty for a package without targets.
  const std::string& target() const { return target_; }
  // The device of one of the manifest's variables: a name, or empty for the session's own. There
  // are packages that name that one as well, though their plans know it as the main one.
  std::string DeviceOf(const PackageVariable& variable) const;
  // That target's plans; for each signature, more specialised ones first.
  const std::vector<LoadedPlan>& plans() const { return plans_; }
  // The devices that the plans are for, as they count them: the session's own first.
  const std::vector<std::shared_ptr<Device>>& devices() const { return devices_; }
  // What the plans use of the constants section on a device, aligned to 64, at an address of it;
  // all of it where that is its address in the file.
  const void* constants(size_t device) const { return placed_[device].constants; }
  size_t constants_bytes(size_t device) const { return placed_[device].constants_bytes; }
  // First values of variables.
  const std::map<std::string, HostTensor>& weights() const { return weights_; }
  const Container& container() const { return container_; }

 private:
  // What is on one device.
  struct Placed {
    std::unique_ptr<DeviceCode> code;
    DeviceMemory constants_copy;  // where they cannot be used as they lie in the file
    const void* constants = nullptr;
    size_t constants_bytes = 0;
  };

  Package();
  absl::Status CheckManifest() const;
  absl::Status LoadConstants();
  absl::Status LoadWeights();
  absl::Status LoadPlans(SessionDevices& devices);
  // How well the target suits, as Device::Suits; sets the devices that its plans are for.
  absl::StatusOr<int> Suits(const TargetPlans& target, SessionDevices& devices,
                            std::vector<std::shared_ptr<Device>>* found, std::string* why) const;
  absl::Status CopyConstants();
  absl::Status CopyConstantsTo(uint32_t device);

  std::vector<std::shared_ptr<Device>> devices_;  // outlive what is on them
  Container container_;
  std::unique_ptr<PackageManifest> manifest_;
  std::string target_;
  const TargetPlans* chosen_ = nullptr;  // in the manifest; null without targets
  std::string_view constants_;           // the section
  std::vector<Placed> placed_;           // as devices_
  std::map<std::string, HostTensor> weights_;
  std::vector<LoadedPlan> plans_;
};

// What a package says of itself. Errors as Package::Open has them for the manifest.
absl::Status ReadManifest(const Container& package, PackageManifest* manifest);

// The names of the devices that nodes and variables of a package are placed on (Graph::WithDevice),
// for whichever of its targets, without opening it. Errors as Package::Open has them for container
// and manifest.
absl::StatusOr<std::set<std::string>> DevicesOfPackage(std::shared_ptr<const Bytes> bytes);

}  // namespace weft

#endif  // WEFT_RUNTIME_PACKAGE_H_
