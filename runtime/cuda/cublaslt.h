// cuBLASLt, found when a program runs: matrix products of launches in its words.
#ifndef WEFT_RUNTIME_CUDA_CUBLASLT_H_
#define WEFT_RUNTIME_CUDA_CUBLASLT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/cuda/context.h"
#include "runtime/cuda/cublaslt_api.h"
#include "runtime/cuda/library_calls.h"
#include "runtime/matrix_product.h"

namespace weft::cuda {

// A product at the sizes of a call, none of which is 0.
struct ProductAtSizes {
  const LaunchProduct& product;
  ProductSizes sizes;
  uint32_t num_buffers = 0;  // of the launch
  // What the addresses of the operands and of the result are multiples of, at the least: bytes,
  // a power of two. Of an addend and a bias that are not there: any.
  uint32_t left_alignment = 0, right_alignment = 0, addend_alignment = 0, bias_alignment = 0,
           result_alignment = 0;
};

// One way of the library to do a product, as a value: of use to all calls of it on the same GPU.
struct CublasLtAlgorithm {
  cublasLtMatmulAlgo_t algorithm = {};
  int32_t id = 0;  // the library's number, for people
  size_t workspace_bytes = 0;
};

class CublasLt {
 public:
  // In the context, which outlives it. `libraries` are what dlopen takes, the first that there is
  // is taken, and kept until the process ends. FailedPrecondition where there is none, or it is of
  // another version, or does not suit the GPU or the driver: what was expected and found.
  static absl::StatusOr<std::unique_ptr<CublasLt>> Make(std::shared_ptr<Context> context,
                                                        const std::vector<std::string>& libraries);
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  // The best ways to do a product, by what the library thinks, at most so many, each with so much
  // workspace at most. None where it has nothing for that.
  std::vector<CublasLtAlgorithm> Algorithms(const ProductAtSizes& product, int most,
                                            size_t max_workspace_bytes) const;
  // The call that does it so, of one queue; null where the library refuses. It starts with a
  // workspace at `*workspace`, where it needs one; the caller keeps both, and this.
  std::unique_ptr<LibraryCall> CallOf(const ProductAtSizes& product,
                                      const CublasLtAlgorithm& algorithm,
                                      const CUdeviceptr* workspace) const;

 private:
  explicit CublasLt(std::shared_ptr<Context> context) : context_(std::move(context)) {}

  const std::shared_ptr<Context> context_;
  const CublasLtApi* api_ = nullptr;
  cublasLtHandle_t handle_ = nullptr;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_CUBLASLT_H_
