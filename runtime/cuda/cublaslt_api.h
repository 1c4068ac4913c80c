// The part of cuBLASLt's binary interface that is used, declared here so that no toolkit is needed
// to build: as versions 12 and 13 have it. Names and values are the library's own;
// cublaslt_api_test compares them with a toolkit's cublasLt.h where there is one.
#ifndef WEFT_RUNTIME_CUDA_CUBLASLT_API_H_
#define WEFT_RUNTIME_CUDA_CUBLASLT_API_H_

#include <cstddef>
#include <cstdint>

#include "runtime/cuda/driver_api.h"

namespace weft::cuda {

using cublasLtHandle_t = struct CublasLtContext*;
using cublasLtMatmulDesc_t = struct CublasLtMatmulDesc*;
using cublasLtMatrixLayout_t = struct CublasLtMatrixLayout*;
using cublasLtMatmulPreference_t = struct CublasLtMatmulPreference*;

// There are more, of which the library tells the names.
enum cublasStatus_t : int {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_NOT_INITIALIZED = 1,
  CUBLAS_STATUS_ALLOC_FAILED = 3,
  CUBLAS_STATUS_NOT_SUPPORTED = 15,
};

enum cudaDataType_t : int {
  CUDA_R_32F = 0,
  CUDA_R_64F = 1,
  CUDA_R_16F = 2,
  CUDA_R_16BF = 14,
};

enum cublasComputeType_t : int {
  CUBLAS_COMPUTE_32F = 68,
  CUBLAS_COMPUTE_32F_PEDANTIC = 69,
  CUBLAS_COMPUTE_64F_PEDANTIC = 71,
  CUBLAS_COMPUTE_32F_FAST_TF32 = 77,
};

enum cublasOperation_t : int { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };

enum cublasLtEpilogue_t : int { CUBLASLT_EPILOGUE_DEFAULT = 1, CUBLASLT_EPILOGUE_BIAS = 4 };

enum cublasLtReductionScheme_t : int { CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2 };

enum cublasLtMatmulDescAttributes_t : int {
  CUBLASLT_MATMUL_DESC_TRANSA = 3,        // cublasOperation_t
  CUBLASLT_MATMUL_DESC_TRANSB = 4,        // cublasOperation_t
  CUBLASLT_MATMUL_DESC_EPILOGUE = 7,      // cublasLtEpilogue_t
  CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8,  // const void*
};

enum cublasLtMatrixLayoutAttribute_t : int {
  CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT = 5,           // int32_t
  CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 6,  // int64_t, elements
};

enum cublasLtMatmulPreferenceAttributes_t : int {
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,    // uint64_t
  CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3,  // uint32_t
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,  // uint32_t, as the next ones
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8,
};

enum cublasLtMatmulAlgoConfigAttributes_t : int { CUBLASLT_ALGO_CONFIG_ID = 0 };  // int32_t

struct cublasLtMatmulAlgo_t {
  uint64_t data[8];
};

struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  size_t workspaceSize;
  cublasStatus_t state;
  float wavesCount;
  int reserved[4];
};

// X(result, symbol, parameters) for each function. Streams are the driver's.
#define WEFT_CUBLASLT_FUNCTIONS(X)                                                                \
  X(size_t, cublasLtGetVersion, ())                                                               \
  X(const char*, cublasLtGetStatusName, (cublasStatus_t status))                                  \
  X(cublasStatus_t, cublasLtCreate, (cublasLtHandle_t * handle))                                  \
  X(cublasStatus_t, cublasLtDestroy, (cublasLtHandle_t handle))                                   \
  X(cublasStatus_t, cublasLtMatmulDescCreate,                                                     \
    (cublasLtMatmulDesc_t * desc, cublasComputeType_t compute, cudaDataType_t scale))             \
  X(cublasStatus_t, cublasLtMatmulDescDestroy, (cublasLtMatmulDesc_t desc))                       \
  X(cublasStatus_t, cublasLtMatmulDescSetAttribute,                                               \
    (cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, const void* value,      \
     size_t bytes))                                                                               \
  X(cublasStatus_t, cublasLtMatrixLayoutCreate,                                                   \
    (cublasLtMatrixLayout_t * layout, cudaDataType_t type, uint64_t rows, uint64_t columns,       \
     int64_t leading_dimension))                                                                  \
  X(cublasStatus_t, cublasLtMatrixLayoutDestroy, (cublasLtMatrixLayout_t layout))                 \
  X(cublasStatus_t, cublasLtMatrixLayoutSetAttribute,                                             \
    (cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute, const void* value, \
     size_t bytes))                                                                               \
  X(cublasStatus_t, cublasLtMatmulPreferenceCreate, (cublasLtMatmulPreference_t * preference))    \
  X(cublasStatus_t, cublasLtMatmulPreferenceDestroy, (cublasLtMatmulPreference_t preference))     \
  X(cublasStatus_t, cublasLtMatmulPreferenceSetAttribute,                                         \
    (cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,       \
     const void* value, size_t bytes))                                                            \
  X(cublasStatus_t, cublasLtMatmulAlgoGetHeuristic,                                               \
    (cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,                \
     cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,                \
     cublasLtMatmulPreference_t preference, int requested,                                        \
     cublasLtMatmulHeuristicResult_t* results, int* returned))                                    \
  X(cublasStatus_t, cublasLtMatmulAlgoConfigGetAttribute,                                         \
    (const cublasLtMatmulAlgo_t* algo, cublasLtMatmulAlgoConfigAttributes_t attribute,            \
     void* value, size_t bytes, size_t* written))                                                 \
  X(cublasStatus_t, cublasLtMatmul,                                                               \
    (cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,        \
     cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,             \
     const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,                   \
     cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo, void* workspace,          \
     size_t workspace_bytes, CUstream stream))

struct CublasLtApi {
#define WEFT_CUBLASLT_MEMBER(result, symbol, parameters) result(*symbol) parameters = nullptr;
  WEFT_CUBLASLT_FUNCTIONS(WEFT_CUBLASLT_MEMBER)
#undef WEFT_CUBLASLT_MEMBER
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_CUBLASLT_API_H_
