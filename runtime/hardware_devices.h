// Devices that are there in hardware, by name.
#ifndef WEFT_RUNTIME_HARDWARE_DEVICES_H_
#define WEFT_RUNTIME_HARDWARE_DEVICES_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/cuda/cuda_device.h"
#include "runtime/device.h"

namespace weft {

// "cpu", this processor, with so many threads (0: one per core); "cuda:0", "cuda:1", ...: NVIDIA's
// GPUs, in the order in which the driver counts them ("cuda" is the first). Errors: InvalidArgument
// for a name that is none of these, or a GPU that is not there; FailedPrecondition where the GPU
// cannot be used, or what `libraries` says (runtime/cuda/cuda_device.h); ResourceExhausted where
// memory is short. `libraries` are a GPU's, none if not given.
absl::StatusOr<std::shared_ptr<Device>> MakeHardwareDevice(std::string_view name, int threads);
absl::StatusOr<std::shared_ptr<Device>> MakeHardwareDevice(std::string_view name, int threads,
                                                           CudaLibraries libraries);

}  // namespace weft

#endif  // WEFT_RUNTIME_HARDWARE_DEVICES_H_
