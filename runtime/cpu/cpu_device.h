// This processor as a device.
#ifndef WEFT_RUNTIME_CPU_CPU_DEVICE_H_
#define WEFT_RUNTIME_CPU_CPU_DEVICE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/device.h"

namespace weft {

// With so many threads, the calling one included; 0: one per core. They start once a launch is
// worth them. ResourceExhausted where memory is short.
absl::StatusOr<std::shared_ptr<Device>> MakeCpuDevice(int threads);

}  // namespace weft

#endif  // WEFT_RUNTIME_CPU_CPU_DEVICE_H_
