// Devices by name.
#ifndef WEFT_RUNTIME_DEVICES_H_
#define WEFT_RUNTIME_DEVICES_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/device.h"

namespace weft {

// Libraries that GPUs may use where they are faster than kernels (runtime/cuda/README.md): none;
// those that are there; or cuBLASLt, cuDNN, or both, which have to be.
enum class GpuLibraries { kNone, kFound, kCublasLt, kCudnn, kAll };

// Those of hardware_devices.h, and "emulator" or "emulator:sm_80", NVIDIA's GPU of that generation
// (sm_90 if not given; for sm_90a, graphs are compiled for that generation alone) emulated by as
// many threads, which check all that its kernels do. Errors as there; what is wrong with a name
// comes with what there is. `libraries` (kNone if not given) say nothing of other devices than
// "cuda:N"; FailedPrecondition where a GPU has not those that have to be, ResourceExhausted where
// it has no memory to begin with one, also of kFound.
absl::StatusOr<std::shared_ptr<Device>> MakeDevice(std::string_view name, int threads);
absl::StatusOr<std::shared_ptr<Device>> MakeDevice(std::string_view name, int threads,
                                                   GpuLibraries libraries);

}  // namespace weft

#endif  // WEFT_RUNTIME_DEVICES_H_
