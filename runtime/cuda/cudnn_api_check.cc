// Compares cudnn_api.h with cuDNN's cudnn.h: compiles if they agree.
#include <stddef.h>
#include <stdint.h>

#include <type_traits>

// Outside of any namespace: headers of the runtime API, which it includes, are C++ here.
#include <cudnn.h>

#define WEFT_REAL(name) constexpr auto kReal_##name = static_cast<int>(::name);
#define WEFT_VALUES(X)                                \
  X(CUDNN_STATUS_SUCCESS)                             \
  X(CUDNN_DATA_FLOAT)                                 \
  X(CUDNN_DATA_HALF)                                  \
  X(CUDNN_DATA_BFLOAT16)                              \
  X(CUDNN_TENSOR_NHWC)                                \
  X(CUDNN_CROSS_CORRELATION)                          \
  X(CUDNN_DEFAULT_MATH)                               \
  X(CUDNN_TENSOR_OP_MATH)                             \
  X(CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION)            \
  X(CUDNN_FMA_MATH)                                   \
  X(CUDNN_DETERMINISTIC)                              \
  X(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM)         \
  X(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) \
  X(CUDNN_CONVOLUTION_FWD_ALGO_GEMM)                  \
  X(CUDNN_CONVOLUTION_FWD_ALGO_DIRECT)                \
  X(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0)              \
  X(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1)              \
  X(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3)
WEFT_VALUES(WEFT_REAL)

#include "runtime/cuda/api_check.h"
#include "runtime/cuda/cudnn_api.h"

namespace {

#define WEFT_CHECK(result, symbol, parameters)                                                  \
  static_assert(weft::cuda::kSame<decltype(&::symbol), decltype(weft::cuda::CudnnApi::symbol)>, \
                #symbol " is another function");
WEFT_CUDNN_FUNCTIONS(WEFT_CHECK)

#define WEFT_CHECK_VALUE(name) \
  static_assert(kReal_##name == int{weft::cuda::name}, #name " has another value");
WEFT_VALUES(WEFT_CHECK_VALUE)

// Want of memory, as cudnn.cc knows it.
#if CUDNN_MAJOR < 9
static_assert(CUDNN_STATUS_ALLOC_FAILED == 2);
#else
static_assert(CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED == 4003 &&
              CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED == 4004);
#endif

using Ours = weft::cuda::cudnnConvolutionAlgoPerf_t;
template <typename Real>
constexpr bool kSamePerf =
    sizeof(Real) == sizeof(Ours) && offsetof(Real, algo) == offsetof(Ours, algo) &&
    offsetof(Real, status) == offsetof(Ours, status) &&
    offsetof(Real, memory) == offsetof(Ours, memory) &&
    offsetof(Real, determinism) == offsetof(Ours, determinism) &&
    offsetof(Real, mathType) == offsetof(Ours, mathType);
static_assert(kSamePerf<::cudnnConvolutionFwdAlgoPerf_t> &&
              kSamePerf<::cudnnConvolutionBwdFilterAlgoPerf_t>);

}  // namespace
