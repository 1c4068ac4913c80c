// cuDNN, found when a program runs: convolutions of launches in its words.
#ifndef WEFT_RUNTIME_CUDA_CUDNN_H_
#define WEFT_RUNTIME_CUDA_CUDNN_H_

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/cuda/context.h"
#include "runtime/cuda/cudnn_api.h"
#include "runtime/cuda/library.h"

namespace weft::cuda {

// What of a convolution, or the gradient of its filters, at sizes that CheckContractionSizes takes,
// cuDNN cannot be asked for, in words that follow "has none"; null where it can.
const char* CudnnLacks(const ContractionAtSizes& at);

// Filters lie otherwise in cuDNN, [out, kh, kw, c / groups] where ours are [kh, kw, c / groups,
// out]: each call turns them, by the library itself, in the first part of its workspace. So what is
// measured has the turning in it.
class Cudnn final : public Library {
 public:
  // In the context, which outlives it. `libraries` are what dlopen takes: the first that is of such
  // a version and suits the GPU and the driver is taken, and kept until the process ends.
  // FailedPrecondition where there is none: what was expected and found. ResourceExhausted where
  // there is no memory to begin with it.
  static absl::StatusOr<std::unique_ptr<Cudnn>> Make(std::shared_ptr<Context> context,
                                                     const std::vector<std::string>& libraries);
  ~Cudnn() override;
  Cudnn(const Cudnn&) = delete;
  Cudnn& operator=(const Cudnn&) = delete;

  const char* name() const override { return "cuDNN"; }
  bool Computes(LaunchContraction::Kind kind) const override {
    return kind != LaunchContraction::kProduct;
  }
  const char* Lacks(const ContractionAtSizes& at) const override { return CudnnLacks(at); }
  std::vector<LibraryAlgorithm> Algorithms(const ContractionAtSizes& at, int most,
                                           size_t max_workspace_bytes) const override;
  std::unique_ptr<LibraryHandle> NewHandle() const override;
  std::unique_ptr<LibraryCall> CallOf(const ContractionAtSizes& at,
                                      const LibraryAlgorithm& algorithm,
                                      const CUdeviceptr* workspace,
                                      LibraryHandle& handle) const override;

 private:
  Cudnn(std::shared_ptr<Context> context, const CudnnApi& api)
      : context_(std::move(context)), api_(api) {}

  const std::shared_ptr<Context> context_;
  const CudnnApi api_;
  // For questions, of one thread at a time.
  mutable std::mutex mutex_;
  cudnnHandle_t handle_ = nullptr;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_CUDNN_H_
