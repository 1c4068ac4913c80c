// The tensor maps that a launch passes to its kernel.
#ifndef WEFT_RUNTIME_CUDA_ENCODE_MAPS_H_
#define WEFT_RUNTIME_CUDA_ENCODE_MAPS_H_

#include <vector>

#include "absl/status/status.h"
#include "runtime/core/executor.h"
#include "runtime/cuda/code.h"
#include "runtime/cuda/context.h"

namespace weft::cuda {

// Makes those of the kernel for a launch, whose tensors lie in its buffers (CheckMappedTensor).
absl::Status EncodeMaps(Context& context, const Kernel& kernel, const WeftLaunch& launch,
                        std::vector<CUtensorMap>* maps);

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_ENCODE_MAPS_H_
