#include "runtime/named_devices.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

// Runs once: small rather than quick, since the size of weft-run is bounded.
#pragma clang attribute push(__attribute__((minsize)), apply_to = function)

namespace weft {
namespace {

using DevicesByName = std::map<std::string, std::shared_ptr<Device>>;

// As sessions ask for them: one thread at a time.
struct Devices {
  DeviceMaker make;
  int threads;
  DevicesByName made, named;  // by their own names, and by those that nodes have for them

  absl::StatusOr<std::shared_ptr<Device>> Make(const std::string& name) {
    std::shared_ptr<Device>& known = made[name];
    if (known != nullptr) return known;
    absl::StatusOr<std::shared_ptr<Device>> one = make(name, threads);
    if (!one.ok()) return one;
    // There may be another name for it, as "cuda" is one for "cuda:0".
    for (const auto& [other, device] : made) {
      const bool is_same = device != nullptr && device->name() == (*one)->name() &&
                           device->target() == (*one)->target();
      if (is_same) known = device;
    }
    if (known == nullptr) known = *one;
    return known;
  }
};

}  // namespace

absl::Status SetDevices(const std::string& main, const DeviceNames& named, DeviceMaker make,
                        SessionOptions* options) {
  auto devices = std::make_shared<Devices>(Devices{make, options->threads, {}, {}});
  absl::StatusOr<std::shared_ptr<Device>> one = devices->Make(main);
  if (!one.ok()) return one.status();
  options->device = *std::move(one);
  for (const auto& [name, device] : named) {
    one = devices->Make(device);
    if (!one.ok()) return one.status();
    devices->named[name] = *std::move(one);
  }
  options->find_device = [devices, own = options->device](
                             const std::string& name) -> absl::StatusOr<std::shared_ptr<Device>> {
    const auto given = devices->named.find(name);
    if (given != devices->named.end()) return given->second;
    if (name == own->name()) return own;
    return devices->Make(name);
  };
  return absl::OkStatus();
}

absl::Status CheckNames(const DeviceNames& named, const std::set<std::string>& placed,
                        const std::string& model) {
  for (const auto& [name, device] : named) {
    if (placed.contains(name)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "expected the name of a device that nodes of ", model, " are placed on (",
        placed.empty() ? "there is none" : absl::StrJoin(placed, ", "), "), got '", name, "'"));
  }
  return absl::OkStatus();
}

}  // namespace weft

#pragma clang attribute pop
