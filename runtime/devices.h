// Devices by name.
#ifndef WEFT_RUNTIME_DEVICES_H_
#define WEFT_RUNTIME_DEVICES_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/device.h"

namespace weft {

// Those of hardware_devices.h, and "emulator" or "emulator:sm_80", NVIDIA's GPU of that generation
// (sm_90 if not given) emulated by as many threads, which check all that its kernels do. Errors as
// there; what is wrong with a name comes with what there is.
absl::StatusOr<std::shared_ptr<Device>> MakeDevice(std::string_view name, int threads);

}  // namespace weft

#endif  // WEFT_RUNTIME_DEVICES_H_
