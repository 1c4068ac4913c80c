// An NVIDIA GPU, through its driver.
#ifndef WEFT_RUNTIME_CUDA_CUDA_DEVICE_H_
#define WEFT_RUNTIME_CUDA_CUDA_DEVICE_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/device.h"

namespace weft {

namespace cuda {
class Context;
class Tuner;
}  // namespace cuda

// Makes what lets libraries do launches (runtime/cuda/libraries.h), in the context of a device.
using CudaLibraries = std::function<absl::StatusOr<std::shared_ptr<cuda::Tuner>>(
    const std::shared_ptr<cuda::Context>& context)>;

struct CudaOptions {
  int ordinal = 0;  // as the driver counts GPUs: those that CUDA_VISIBLE_DEVICES leaves
  // The driver, as dlopen takes it.
  std::string driver_library = "libcuda.so.1";
  // Null: all launches are those of kernels.
  CudaLibraries libraries = nullptr;
};

// Runs code for cuda targets up to the GPU's compute capability. Loading hands the PTX, and nothing
// but text, to the driver, which compiles it (and keeps what it made in a cache of its own).
//
// A run's launches are collected and given to the GPU when something waits for them, or at its end.
// The second time that the same are to be done, they are captured as a CUDA graph, and from the
// third on one call starts all of them, where the driver makes a graph of them. Feeds and outputs
// cross in pinned memory. Memory is cleared on the GPU while the host goes on.
//
// A deadline or cancellation ends a run's waiting, not the kernels that were started: they run to
// their end, whatever comes next on the GPU waits for them there, and their results go nowhere.
// What they use is given back after them, and nobody waits for that. A run that has begun to write
// variables is waited for; where it has a deadline or can be cancelled, all that comes before that
// is waited for first.
//
// An error of a kernel (an illegal address and the like) ends what this process can do with the
// GPU: each later call is FailedPrecondition and says what was the first error. After a fork, only
// the parent can use it.
//
// FailedPrecondition where driver or GPU are not there or too old, or what `libraries` says;
// InvalidArgument where the number of the GPU is too high.
absl::StatusOr<std::shared_ptr<Device>> MakeCudaDevice(const CudaOptions& options = {});

}  // namespace weft

#endif  // WEFT_RUNTIME_CUDA_CUDA_DEVICE_H_
