// The part of the CUDA driver's binary interface that the device uses, declared here so that no
// toolkit is needed to build. Names, values and versions of symbols are the driver's own;
// driver_api_test compares them with a toolkit's cuda.h where there is one.
#ifndef WEFT_RUNTIME_CUDA_DRIVER_API_H_
#define WEFT_RUNTIME_CUDA_DRIVER_API_H_

#include <cstddef>
#include <cstdint>

namespace weft::cuda {

using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct CUctx_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;
using CUstream = struct CUstream_st*;
using CUevent = struct CUevent_st*;
using CUgraph = struct CUgraph_st*;
using CUgraphExec = struct CUgraphExec_st*;

// X(name, value) for each result that the device or its tests look at; there are more.
#define WEFT_CUDA_RESULTS(X)                        \
  X(CUDA_SUCCESS, 0)                                \
  X(CUDA_ERROR_INVALID_VALUE, 1)                    \
  X(CUDA_ERROR_OUT_OF_MEMORY, 2)                    \
  X(CUDA_ERROR_STUB_LIBRARY, 34)                    \
  X(CUDA_ERROR_DEVICE_UNAVAILABLE, 46)              \
  X(CUDA_ERROR_NO_DEVICE, 100)                      \
  X(CUDA_ERROR_INVALID_DEVICE, 101)                 \
  X(CUDA_ERROR_INVALID_IMAGE, 200)                  \
  X(CUDA_ERROR_INVALID_CONTEXT, 201)                \
  X(CUDA_ERROR_NO_BINARY_FOR_GPU, 209)              \
  X(CUDA_ERROR_ECC_UNCORRECTABLE, 214)              \
  X(CUDA_ERROR_INVALID_PTX, 218)                    \
  X(CUDA_ERROR_NVLINK_UNCORRECTABLE, 220)           \
  X(CUDA_ERROR_JIT_COMPILER_NOT_FOUND, 221)         \
  X(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, 222)        \
  X(CUDA_ERROR_JIT_COMPILATION_DISABLED, 223)       \
  X(CUDA_ERROR_OPERATING_SYSTEM, 304)               \
  X(CUDA_ERROR_INVALID_HANDLE, 400)                 \
  X(CUDA_ERROR_NOT_FOUND, 500)                      \
  X(CUDA_ERROR_NOT_READY, 600)                      \
  X(CUDA_ERROR_ILLEGAL_ADDRESS, 700)                \
  X(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, 701)        \
  X(CUDA_ERROR_LAUNCH_TIMEOUT, 702)                 \
  X(CUDA_ERROR_CONTEXT_IS_DESTROYED, 709)           \
  X(CUDA_ERROR_ASSERT, 710)                         \
  X(CUDA_ERROR_HARDWARE_STACK_ERROR, 714)           \
  X(CUDA_ERROR_ILLEGAL_INSTRUCTION, 715)            \
  X(CUDA_ERROR_MISALIGNED_ADDRESS, 716)             \
  X(CUDA_ERROR_INVALID_ADDRESS_SPACE, 717)          \
  X(CUDA_ERROR_INVALID_PC, 718)                     \
  X(CUDA_ERROR_LAUNCH_FAILED, 719)                  \
  X(CUDA_ERROR_SYSTEM_NOT_READY, 802)               \
  X(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, 803)         \
  X(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, 804) \
  X(CUDA_ERROR_MPS_CONNECTION_FAILED, 805)          \
  X(CUDA_ERROR_MPS_RPC_FAILURE, 806)                \
  X(CUDA_ERROR_MPS_SERVER_NOT_READY, 807)           \
  X(CUDA_ERROR_MPS_MAX_CLIENTS_REACHED, 808)        \
  X(CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED, 809)    \
  X(CUDA_ERROR_MPS_CLIENT_TERMINATED, 810)          \
  X(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, 900)     \
  X(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, 901)     \
  X(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, 905)       \
  X(CUDA_ERROR_EXTERNAL_DEVICE, 911)                \
  X(CUDA_ERROR_UNKNOWN, 999)
// Those that drivers give from CUDA 12.8 and 12.9 on.
#define WEFT_CUDA_RESULTS_OF_12_8(X) X(CUDA_ERROR_CONTAINED, 226)
#define WEFT_CUDA_RESULTS_OF_12_9(X) X(CUDA_ERROR_TENSOR_MEMORY_LEAK, 721)

enum CUresult : int {
#define WEFT_CUDA_RESULT(name, value) name = value,
  WEFT_CUDA_RESULTS(WEFT_CUDA_RESULT) WEFT_CUDA_RESULTS_OF_12_8(WEFT_CUDA_RESULT)
      WEFT_CUDA_RESULTS_OF_12_9(WEFT_CUDA_RESULT)
#undef WEFT_CUDA_RESULT
};

enum CUdevice_attribute : int {
  CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1,
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
};

enum CUfunction_attribute : int {
  CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 0,
  CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1,
  CU_FUNC_ATTRIBUTE_NUM_REGS = 4,
  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
};

// A buffer's option comes with one for its size; values are passed as pointers.
enum CUjit_option : int {
  CU_JIT_INFO_LOG_BUFFER = 3,
  CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES = 4,
  CU_JIT_ERROR_LOG_BUFFER = 5,
  CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6,
};

enum CUstreamCaptureMode : int { CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1 };

// A tensor map: what a kernel takes as a parameter.
struct alignas(64) CUtensorMap {
  uint64_t opaque[16];
};

enum CUtensorMapDataType : int {
  CU_TENSOR_MAP_DATA_TYPE_UINT8 = 0,
  CU_TENSOR_MAP_DATA_TYPE_UINT16 = 1,
  CU_TENSOR_MAP_DATA_TYPE_UINT32 = 2,
  CU_TENSOR_MAP_DATA_TYPE_UINT64 = 4,
};

enum CUtensorMapInterleave : int { CU_TENSOR_MAP_INTERLEAVE_NONE = 0 };

enum CUtensorMapSwizzle : int {
  CU_TENSOR_MAP_SWIZZLE_NONE = 0,
  CU_TENSOR_MAP_SWIZZLE_32B = 1,
  CU_TENSOR_MAP_SWIZZLE_64B = 2,
  CU_TENSOR_MAP_SWIZZLE_128B = 3,
};

enum CUtensorMapL2promotion : int { CU_TENSOR_MAP_L2_PROMOTION_L2_128B = 2 };

enum CUtensorMapFloatOOBfill : int { CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0 };

inline constexpr unsigned CU_STREAM_NON_BLOCKING = 1;
inline constexpr unsigned CU_EVENT_DEFAULT = 0;
inline constexpr unsigned CU_EVENT_DISABLE_TIMING = 2;

// In the last argument of cuLaunchKernel: the bytes of all parameters, and how many.
inline void* const CU_LAUNCH_PARAM_END = nullptr;
inline void* const CU_LAUNCH_PARAM_BUFFER_POINTER = reinterpret_cast<void*>(uintptr_t{1});
inline void* const CU_LAUNCH_PARAM_BUFFER_SIZE = reinterpret_cast<void*>(uintptr_t{2});

// X(symbol, parameters) for each function that the device needs. All return CUresult.
#define WEFT_CUDA_DRIVER_FUNCTIONS(X)                                                             \
  X(cuInit, (unsigned flags))                                                                     \
  X(cuDriverGetVersion, (int* version))                                                           \
  X(cuGetErrorName, (CUresult error, const char** text))                                          \
  X(cuGetErrorString, (CUresult error, const char** text))                                        \
  X(cuDeviceGetCount, (int* count))                                                               \
  X(cuDeviceGet, (CUdevice * device, int ordinal))                                                \
  X(cuDeviceGetName, (char* name, int bytes, CUdevice device))                                    \
  X(cuDeviceGetAttribute, (int* value, CUdevice_attribute attribute, CUdevice device))            \
  X(cuDevicePrimaryCtxRetain, (CUcontext * context, CUdevice device))                             \
  X(cuDevicePrimaryCtxRelease_v2, (CUdevice device))                                              \
  X(cuCtxPushCurrent_v2, (CUcontext context))                                                     \
  X(cuCtxPopCurrent_v2, (CUcontext * context))                                                    \
  X(cuModuleLoadDataEx, (CUmodule * module, const void* image, unsigned num_options,              \
                         CUjit_option* options, void** values))                                   \
  X(cuModuleUnload, (CUmodule module))                                                            \
  X(cuModuleGetFunction, (CUfunction * function, CUmodule module, const char* name))              \
  X(cuFuncGetAttribute, (int* value, CUfunction_attribute attribute, CUfunction function))        \
  X(cuFuncSetAttribute, (CUfunction function, CUfunction_attribute attribute, int value))         \
  X(cuMemAlloc_v2, (CUdeviceptr * address, size_t bytes))                                         \
  X(cuMemFree_v2, (CUdeviceptr address))                                                          \
  X(cuMemGetInfo_v2, (size_t* free, size_t* total))                                               \
  X(cuMemHostAlloc, (void** address, size_t bytes, unsigned flags))                               \
  X(cuMemFreeHost, (void* address))                                                               \
  X(cuMemsetD8Async, (CUdeviceptr address, unsigned char value, size_t bytes, CUstream stream))   \
  X(cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void* from, size_t bytes, CUstream stream))      \
  X(cuMemcpyDtoHAsync_v2, (void* to, CUdeviceptr from, size_t bytes, CUstream stream))            \
  X(cuMemcpyDtoDAsync_v2, (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream))      \
  X(cuStreamCreate, (CUstream * stream, unsigned flags))                                          \
  X(cuStreamDestroy_v2, (CUstream stream))                                                        \
  X(cuStreamQuery, (CUstream stream))                                                             \
  X(cuStreamSynchronize, (CUstream stream))                                                       \
  X(cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned flags))                          \
  X(cuStreamBeginCapture_v2, (CUstream stream, CUstreamCaptureMode mode))                         \
  X(cuStreamEndCapture, (CUstream stream, CUgraph * graph))                                       \
  X(cuGraphInstantiateWithFlags, (CUgraphExec * exec, CUgraph graph, unsigned long long flags))   \
  X(cuGraphLaunch, (CUgraphExec exec, CUstream stream))                                           \
  X(cuGraphDestroy, (CUgraph graph))                                                              \
  X(cuGraphExecDestroy, (CUgraphExec exec))                                                       \
  X(cuEventCreate, (CUevent * event, unsigned flags))                                             \
  X(cuEventRecord, (CUevent event, CUstream stream))                                              \
  X(cuEventQuery, (CUevent event))                                                                \
  X(cuEventSynchronize, (CUevent event))                                                          \
  X(cuEventElapsedTime, (float* milliseconds, CUevent start, CUevent end))                        \
  X(cuEventDestroy_v2, (CUevent event))                                                           \
  X(cuLaunchKernel, (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,      \
                     unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes, \
                     CUstream stream, void** parameters, void** extra))

// Those that are used where the driver has them: from CUDA 12.4 on, and from 12.0 on.
#define WEFT_CUDA_OPTIONAL_FUNCTIONS(X)                                                            \
  X(cuFuncGetParamInfo, (CUfunction function, size_t index, size_t* offset, size_t* bytes))        \
  X(cuTensorMapEncodeTiled,                                                                        \
    (CUtensorMap * map, CUtensorMapDataType type, uint32_t rank, void* address,                    \
     const uint64_t* sizes, const uint64_t* strides, const uint32_t* box,                          \
     const uint32_t* element_strides, CUtensorMapInterleave interleave,                            \
     CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill))  \
  X(cuTensorMapEncodeIm2col,                                                                       \
    (CUtensorMap * map, CUtensorMapDataType type, uint32_t rank, void* address,                    \
     const uint64_t* sizes, const uint64_t* strides, const int* lower_corner,                      \
     const int* upper_corner, uint32_t channels, uint32_t pixels, const uint32_t* element_strides, \
     CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,                                 \
     CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill))

// The functions of a driver that was loaded; null where an optional one is not there.
struct DriverApi {
#define WEFT_CUDA_MEMBER(symbol, parameters) CUresult(*symbol) parameters = nullptr;
  WEFT_CUDA_DRIVER_FUNCTIONS(WEFT_CUDA_MEMBER)
  WEFT_CUDA_OPTIONAL_FUNCTIONS(WEFT_CUDA_MEMBER)
#undef WEFT_CUDA_MEMBER
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_DRIVER_API_H_
