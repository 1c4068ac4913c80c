// cuBLASLt, found when a program runs: matrix products of launches in its words.
#ifndef WEFT_RUNTIME_CUDA_CUBLASLT_H_
#define WEFT_RUNTIME_CUDA_CUBLASLT_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/cuda/context.h"
#include "runtime/cuda/cublaslt_api.h"
#include "runtime/cuda/library.h"

namespace weft::cuda {

// What of a product, at sizes that CheckContractionSizes takes, cuBLASLt cannot be asked for, in
// words that follow "has none"; null where it can.
const char* CublasLtLacks(const ContractionAtSizes& at);

class CublasLt final : public Library {
 public:
  // In the context, which outlives it. `libraries` are what dlopen takes: the first that is of such
  // a version and suits the GPU and the driver is taken, and kept until the process ends.
  // FailedPrecondition where there is none: what was expected and found. ResourceExhausted where
  // there is no memory to begin with it.
  static absl::StatusOr<std::unique_ptr<CublasLt>> Make(std::shared_ptr<Context> context,
                                                        const std::vector<std::string>& libraries);
  ~CublasLt() override;
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  const char* name() const override { return "cuBLASLt"; }
  bool Computes(LaunchContraction::Kind kind) const override {
    return kind == LaunchContraction::kProduct;
  }
  const char* Lacks(const ContractionAtSizes& at) const override { return CublasLtLacks(at); }
  std::vector<LibraryAlgorithm> Algorithms(const ContractionAtSizes& at, int most,
                                           size_t max_workspace_bytes) const override;
  std::unique_ptr<LibraryHandle> NewHandle() const override;
  std::unique_ptr<LibraryCall> CallOf(const ContractionAtSizes& at,
                                      const LibraryAlgorithm& algorithm,
                                      const CUdeviceptr* workspace,
                                      LibraryHandle& handle) const override;

 private:
  CublasLt(std::shared_ptr<Context> context, const CublasLtApi& api)
      : context_(std::move(context)), api_(api) {}

  const std::shared_ptr<Context> context_;
  const CublasLtApi api_;
  cublasLtHandle_t handle_ = nullptr;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_CUBLASLT_H_
