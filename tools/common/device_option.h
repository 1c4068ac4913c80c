// --device of `weft`: where a model runs.
#ifndef WEFT_TOOLS_COMMON_DEVICE_OPTION_H_
#define WEFT_TOOLS_COMMON_DEVICE_OPTION_H_

#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/named_devices.h"
#include "runtime/session.h"

namespace weft::cli {

// Options of sessions on the devices of "cuda:0", or "cpu,cuda:0=emulator:sm_80": after commas
// comes what stands for devices that nodes of the model are placed on, which goes into `named` as
// well. SetDevices says which devices there are; of one that is not, the error says how to put
// another in its place. Errors: OfDevice, and kUsage.
absl::StatusOr<SessionOptions> SessionOptionsOf(const std::string& device, int threads,
                                                DeviceMaker make, DeviceNames* named);

// kUsage where nodes of the model are not `placed` on a device of each of these names, which
// `option` gives.
absl::Status CheckDeviceNames(const char* option, const DeviceNames& named,
                              const std::set<std::string>& placed, const std::string& model);
// The same of --device for a package file. Also kBadInput.
absl::Status CheckDeviceNames(const DeviceNames& named, const std::string& package);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_DEVICE_OPTION_H_
