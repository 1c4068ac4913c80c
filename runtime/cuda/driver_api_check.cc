// Compares driver_api.h with a toolkit's cuda.h: compiles if they agree.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <type_traits>

namespace real {
#include <cuda.h>
}
#undef CU_LAUNCH_PARAM_END
#undef CU_LAUNCH_PARAM_BUFFER_POINTER
#undef CU_LAUNCH_PARAM_BUFFER_SIZE

#include "runtime/cuda/driver_api.h"

namespace {

template <typename T>
concept Complete = requires { sizeof(T); };

// Passed in the same way: integers (enumerations too) of the same size, or pointers to what is laid
// out in the same way: the driver writes there. What handles point to nobody knows.
template <typename A, typename B>
constexpr bool SameType() {
  if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) {
    using ToA = std::remove_pointer_t<A>;
    using ToB = std::remove_pointer_t<B>;
    if constexpr (Complete<ToA> && Complete<ToB>) return SameType<ToA, ToB>();
    return Complete<ToA> == Complete<ToB>;
  }
  return sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B>;
}

template <typename A, typename B>
constexpr bool kSame = false;
template <typename... A, typename... B>
  requires(sizeof...(A) == sizeof...(B))
constexpr bool kSame<real::CUresult (*)(A...), weft::cuda::CUresult (*)(B...)> =
    (SameType<A, B>() && ...);

#define WEFT_CHECK(symbol, parameters)                                                   \
  static_assert(kSame<decltype(&real::symbol), decltype(weft::cuda::DriverApi::symbol)>, \
                #symbol " is another function");
WEFT_CUDA_DRIVER_FUNCTIONS(WEFT_CHECK)
#if CUDA_VERSION >= 12040
WEFT_CUDA_OPTIONAL_FUNCTIONS(WEFT_CHECK)
#endif

#define WEFT_CHECK_VALUE(name) \
  static_assert(int{real::name} == int{weft::cuda::name}, #name " has another value");
#define WEFT_CHECK_RESULT(name, value) WEFT_CHECK_VALUE(name)
WEFT_CUDA_RESULTS(WEFT_CHECK_RESULT)
#if CUDA_VERSION >= 12080
WEFT_CUDA_RESULTS_OF_12_8(WEFT_CHECK_RESULT)
#endif
#if CUDA_VERSION >= 12090
WEFT_CUDA_RESULTS_OF_12_9(WEFT_CHECK_RESULT)
#endif
WEFT_CHECK_VALUE(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK)
WEFT_CHECK_VALUE(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
WEFT_CHECK_VALUE(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
WEFT_CHECK_VALUE(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
WEFT_CHECK_VALUE(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
WEFT_CHECK_VALUE(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)
WEFT_CHECK_VALUE(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)
WEFT_CHECK_VALUE(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
WEFT_CHECK_VALUE(CU_FUNC_ATTRIBUTE_NUM_REGS)
WEFT_CHECK_VALUE(CU_JIT_INFO_LOG_BUFFER)
WEFT_CHECK_VALUE(CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES)
WEFT_CHECK_VALUE(CU_JIT_ERROR_LOG_BUFFER)
WEFT_CHECK_VALUE(CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
WEFT_CHECK_VALUE(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
WEFT_CHECK_VALUE(CU_STREAM_NON_BLOCKING)
WEFT_CHECK_VALUE(CU_EVENT_DEFAULT)
WEFT_CHECK_VALUE(CU_EVENT_DISABLE_TIMING)
#if CUDA_VERSION >= 12000
WEFT_CHECK_VALUE(CU_TENSOR_MAP_DATA_TYPE_UINT8)
WEFT_CHECK_VALUE(CU_TENSOR_MAP_DATA_TYPE_UINT16)
WEFT_CHECK_VALUE(CU_TENSOR_MAP_DATA_TYPE_UINT32)
WEFT_CHECK_VALUE(CU_TENSOR_MAP_DATA_TYPE_UINT64)
WEFT_CHECK_VALUE(CU_TENSOR_MAP_INTERLEAVE_NONE)
WEFT_CHECK_VALUE(CU_TENSOR_MAP_SWIZZLE_NONE)
WEFT_CHECK_VALUE(CU_TENSOR_MAP_SWIZZLE_32B)
WEFT_CHECK_VALUE(CU_TENSOR_MAP_SWIZZLE_64B)
WEFT_CHECK_VALUE(CU_TENSOR_MAP_SWIZZLE_128B)
WEFT_CHECK_VALUE(CU_TENSOR_MAP_L2_PROMOTION_L2_128B)
WEFT_CHECK_VALUE(CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE)
// The driver asks for 64; the type itself is aligned to more from CUDA 13 on.
static_assert(sizeof(real::CUtensorMap) == sizeof(weft::cuda::CUtensorMap) &&
              alignof(real::CUtensorMap) == (CUDA_VERSION >= 13000 ? 128 : 64) &&
              alignof(weft::cuda::CUtensorMap) == 64);
#endif
static_assert(CU_LAUNCH_PARAM_END_AS_INT == 0 && CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT == 1 &&
              CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT == 2);

}  // namespace
