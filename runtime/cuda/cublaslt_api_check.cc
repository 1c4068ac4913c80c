// Compares cublaslt_api.h with a toolkit's cublasLt.h: compiles if they agree.
#include <stddef.h>
#include <stdint.h>

#include <type_traits>

// Outside of any namespace: headers of the runtime API, which it includes, are C++ here.
#include <cublasLt.h>

#define WEFT_REAL(name) constexpr auto kReal_##name = static_cast<int>(::name);
#define WEFT_VALUES(X)                           \
  X(CUBLAS_STATUS_SUCCESS)                       \
  X(CUBLAS_STATUS_NOT_INITIALIZED)               \
  X(CUBLAS_STATUS_ALLOC_FAILED)                  \
  X(CUBLAS_STATUS_NOT_SUPPORTED)                 \
  X(CUDA_R_32F)                                  \
  X(CUDA_R_64F)                                  \
  X(CUDA_R_16F)                                  \
  X(CUDA_R_16BF)                                 \
  X(CUBLAS_COMPUTE_32F)                          \
  X(CUBLAS_COMPUTE_32F_PEDANTIC)                 \
  X(CUBLAS_COMPUTE_64F_PEDANTIC)                 \
  X(CUBLAS_COMPUTE_32F_FAST_TF32)                \
  X(CUBLAS_OP_N)                                 \
  X(CUBLAS_OP_T)                                 \
  X(CUBLASLT_EPILOGUE_DEFAULT)                   \
  X(CUBLASLT_EPILOGUE_BIAS)                      \
  X(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE)      \
  X(CUBLASLT_MATMUL_DESC_TRANSA)                 \
  X(CUBLASLT_MATMUL_DESC_TRANSB)                 \
  X(CUBLASLT_MATMUL_DESC_EPILOGUE)               \
  X(CUBLASLT_MATMUL_DESC_BIAS_POINTER)           \
  X(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)          \
  X(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET) \
  X(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)    \
  X(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)  \
  X(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES)  \
  X(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES)  \
  X(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES)  \
  X(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES)  \
  X(CUBLASLT_ALGO_CONFIG_ID)
WEFT_VALUES(WEFT_REAL)

#include "runtime/cuda/api_check.h"
#include "runtime/cuda/cublaslt_api.h"

namespace {

#define WEFT_CHECK(result, symbol, parameters)                                                     \
  static_assert(weft::cuda::kSame<decltype(&::symbol), decltype(weft::cuda::CublasLtApi::symbol)>, \
                #symbol " is another function");
WEFT_CUBLASLT_FUNCTIONS(WEFT_CHECK)

#define WEFT_CHECK_VALUE(name) \
  static_assert(kReal_##name == int{weft::cuda::name}, #name " has another value");
WEFT_VALUES(WEFT_CHECK_VALUE)

using Real = ::cublasLtMatmulHeuristicResult_t;
using Ours = weft::cuda::cublasLtMatmulHeuristicResult_t;
static_assert(sizeof(::cublasLtMatmulAlgo_t) == sizeof(weft::cuda::cublasLtMatmulAlgo_t) &&
              sizeof(Real) == sizeof(Ours) &&
              offsetof(Real, workspaceSize) == offsetof(Ours, workspaceSize) &&
              offsetof(Real, state) == offsetof(Ours, state));

}  // namespace
