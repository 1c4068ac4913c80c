// What holds for plans' kernels on any GPU, in hardware or emulated.
#ifndef WEFT_RUNTIME_GPU_KERNEL_H_
#define WEFT_RUNTIME_GPU_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "runtime/core/executor.h"
#include "runtime/device.h"

namespace weft {

// The most blocks of a launch, on a device of so many multiprocessors.
inline int64_t MaxBlocks(const KernelEntry& kernel, int64_t multiprocessors) {
  return kernel.shares_tiles ? multiprocessors : INT64_MAX;
}
// InvalidArgument where a block has no threads, or more than the device takes, or where its
// parameters are not tensor maps, as many as it states, and then pointers and sizes:
// `parameter_bytes` are their sizes.
absl::Status CheckGpuKernel(const KernelEntry& kernel, int64_t max_block_threads,
                            std::span<const size_t> parameter_bytes);
// InvalidArgument where the kernel, which takes these tensor maps, has another number of parameters
// than the launch gives it (negative: that is not known); ResourceExhausted where it has too many
// blocks, or where its scratch, which is shared memory of a block, is more than the
// `max_scratch_bytes` that the device leaves it besides what its code declares.
absl::Status CheckGpuLaunch(const WeftLaunch& launch, std::span<const KernelMap> maps,
                            int64_t num_parameters, int64_t max_scratch_bytes);

}  // namespace weft

#endif  // WEFT_RUNTIME_GPU_KERNEL_H_
