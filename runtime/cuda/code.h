// Modules of code on a GPU, and their kernels.
#ifndef WEFT_RUNTIME_CUDA_CODE_H_
#define WEFT_RUNTIME_CUDA_CODE_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/cuda/context.h"
#include "runtime/cuda/ptx_text.h"
#include "runtime/device.h"

namespace weft::cuda {

// What a WeftKernel points to on this device.
struct Kernel {
  // Another one for each that the process finds.
  uint64_t number = 0;
  CUfunction function = nullptr;
  uint32_t block_threads = 0;
  int64_t max_blocks = 0;
  // The first of its parameters.
  std::vector<KernelMap> maps = {};
  // -1 where the driver is too old to tell.
  int num_parameters = -1;
  // Shared memory that a launch may ask for besides what the code declares.
  int max_scratch_bytes = 0;
};

class Code final : public DeviceCode {
 public:
  // Of `machine_code`, where that is not empty, which CheckCubin found to be whole and which is of
  // this GPU's generation; or where the driver is older than that, as without it, of `ptx`, a text.
  // InvalidArgument with the driver's words where it does not take that; Unavailable where a newer
  // driver might.
  static absl::StatusOr<std::unique_ptr<Code>> Load(std::shared_ptr<Context> context,
                                                    std::string_view ptx,
                                                    std::string_view machine_code);
  ~Code() override;
  absl::StatusOr<WeftKernel> Find(const KernelEntry& kernel) override;

 private:
  Code(std::shared_ptr<Context> context, CUmodule module, PtxText text)
      : context_(std::move(context)), module_(module), text_(std::move(text)) {}
  absl::StatusOr<Kernel> Look(const KernelEntry& entry);
  // What the driver allows without this is 48 KB, whatever the GPU has.
  absl::Status AllowScratch(Kernel* kernel);

  const std::shared_ptr<Context> context_;
  const CUmodule module_;
  const PtxText text_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_CODE_H_
