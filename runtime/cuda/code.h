// Modules of code on a GPU, and their kernels.
#ifndef WEFT_RUNTIME_CUDA_CODE_H_
#define WEFT_RUNTIME_CUDA_CODE_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/cuda/context.h"
#include "runtime/device.h"

namespace weft::cuda {

// What a WeftKernel points to on this device.
struct Kernel {
  CUfunction function = nullptr;
  uint32_t block_threads = 0;
  // -1 where the driver is too old to tell.
  int num_parameters = -1;
};

class Code final : public DeviceCode {
 public:
  // `image` is PTX text, or a cubin. InvalidArgument with the driver's words where it takes
  // neither; FailedPrecondition where a newer driver might.
  static absl::StatusOr<std::unique_ptr<Code>> Load(std::shared_ptr<Context> context,
                                                    std::string_view image);
  ~Code() override;
  absl::StatusOr<WeftKernel> Find(const KernelEntry& kernel) override;

 private:
  Code(std::shared_ptr<Context> context, CUmodule module)
      : context_(std::move(context)), module_(module) {}
  absl::StatusOr<Kernel> Look(const KernelEntry& entry);

  const std::shared_ptr<Context> context_;
  const CUmodule module_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_CODE_H_
