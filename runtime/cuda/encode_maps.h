// The tensor maps that a launch passes to its kernel.
#ifndef WEFT_RUNTIME_CUDA_ENCODE_MAPS_H_
#define WEFT_RUNTIME_CUDA_ENCODE_MAPS_H_

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/core/executor.h"
#include "runtime/cuda/code.h"
#include "runtime/cuda/context.h"

namespace weft::cuda {

// Makes those of the kernel for a launch, whose tensors lie in its buffers (CheckMappedTensor).
absl::Status EncodeMaps(Context& context, const Kernel& kernel, const WeftLaunch& launch,
                        std::vector<CUtensorMap>* maps);

// The same, made once for launches of equal addresses and sizes: runs of a plan mostly repeat them,
// and to make a map takes a call of the driver. Of one thread at a time.
class EncodedMaps {
 public:
  // Not null, and valid until the next call.
  absl::StatusOr<const std::vector<CUtensorMap>*> Of(Context& context, const Kernel& kernel,
                                                     const WeftLaunch& launch);

 private:
  // Launches; those that come when there are so many begin anew.
  static constexpr size_t kMost = 512;

  std::vector<uint64_t> key_;  // the kernel's number, and each map's address and numbers
  std::map<std::vector<uint64_t>, std::vector<CUtensorMap>> made_;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_ENCODE_MAPS_H_
