// Sessions on this processor that have one more device.
#ifndef WEFT_TESTS_CONTRACTS_TWO_DEVICES_H_
#define WEFT_TESTS_CONTRACTS_TWO_DEVICES_H_

#include <memory>
#include <string>

#include "runtime/devices.h"
#include "runtime/session.h"

namespace weft {

inline constexpr char kGpu[] = "cuda:0", kGpuTarget[] = "cuda:sm_80";

// A session here, with one device of another name.
inline SessionOptions With(std::shared_ptr<Device> device, const std::string& named = kGpu) {
  SessionOptions options;
  options.threads = 1;
  options.find_device = [=](const std::string& name) -> absl::StatusOr<std::shared_ptr<Device>> {
    if (name == named) return device;
    return absl::NotFoundError("no such device");
  };
  return options;
}

inline std::shared_ptr<Device> Emulator(const std::string& name = "emulator:sm_80") {
  return MakeDevice(name, 1).value();
}

}  // namespace weft

#endif  // WEFT_TESTS_CONTRACTS_TWO_DEVICES_H_
