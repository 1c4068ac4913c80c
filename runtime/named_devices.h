// Devices of sessions that are given by names, on a command line or from C.
#ifndef WEFT_RUNTIME_NAMED_DEVICES_H_
#define WEFT_RUNTIME_NAMED_DEVICES_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/device.h"
#include "runtime/session.h"

namespace weft {

// MakeDevice of runtime/devices.h, or MakeHardwareDevice.
using DeviceMaker = absl::StatusOr<std::shared_ptr<Device>> (*)(std::string_view name, int threads);
// What stands for devices that nodes are placed on: {"cuda:0", "emulator:sm_80"}.
using DeviceNames = std::map<std::string, std::string>;

// Sets `device` and `find_device` of the options: plans run on the device `main`, and of a name
// that `named` has not, the device is the session's own where that has the name, else one of that
// name. A device of several names is one. Errors: those of `make`.
absl::Status SetDevices(const std::string& main, const DeviceNames& named, DeviceMaker make,
                        SessionOptions* options);

// InvalidArgument where `named` has a name on which no nodes and variables of the model are
// `placed`; it says on which they are.
absl::Status CheckNames(const DeviceNames& named, const std::set<std::string>& placed,
                        const std::string& model);

}  // namespace weft

#endif  // WEFT_RUNTIME_NAMED_DEVICES_H_
