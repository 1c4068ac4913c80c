// The part of cuDNN's binary interface that is used, declared here so that no toolkit is needed to
// build: as versions 8 and 9 have it. Names and values are the library's own; cudnn_api_test
// compares them with its cudnn.h where there is one.
//
// Of its two interfaces this is the one with a function for each operation, not that of graphs of
// operations. It says all that is wanted here, one plain convolution, in a few functions that
// versions 8 and 9 export alike, where graphs take hundreds of attributes; and its algorithms have
// numbers with a meaning, so that those that are no sums of products (Winograd's, Fourier
// transforms) can be left out. What graphs have besides, work fused to the convolution, the
// compiler's own kernels do.
#ifndef WEFT_RUNTIME_CUDA_CUDNN_API_H_
#define WEFT_RUNTIME_CUDA_CUDNN_API_H_

#include <cstddef>

#include "runtime/cuda/driver_api.h"

namespace weft::cuda {

using cudnnHandle_t = struct CudnnContext*;
using cudnnTensorDescriptor_t = struct CudnnTensor*;
using cudnnFilterDescriptor_t = struct CudnnFilter*;
using cudnnConvolutionDescriptor_t = struct CudnnConvolution*;

// Others have other numbers in 8 and in 9; the library tells their names.
enum cudnnStatus_t : int { CUDNN_STATUS_SUCCESS = 0 };

enum cudnnDataType_t : int {
  CUDNN_DATA_FLOAT = 0,
  CUDNN_DATA_HALF = 2,
  CUDNN_DATA_BFLOAT16 = 9,
};

enum cudnnTensorFormat_t : int { CUDNN_TENSOR_NHWC = 1 };

enum cudnnConvolutionMode_t : int { CUDNN_CROSS_CORRELATION = 1 };

// What may be done to numbers before they are multiplied.
enum cudnnMathType_t : int {
  CUDNN_DEFAULT_MATH = 0,    // f32 may be rounded to tf32
  CUDNN_TENSOR_OP_MATH = 1,  // so may it, and 16 bits may go through tensor cores
  CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION = 2,
  CUDNN_FMA_MATH = 3,  // nothing: multiply-adds of the operands' type alone
};

enum cudnnDeterminism_t : int { CUDNN_DETERMINISTIC = 1 };

enum cudnnConvolutionFwdAlgo_t : int {
  CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM = 0,
  CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM = 1,
  CUDNN_CONVOLUTION_FWD_ALGO_GEMM = 2,
  CUDNN_CONVOLUTION_FWD_ALGO_DIRECT = 3,
};

enum cudnnConvolutionBwdFilterAlgo_t : int {
  CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 = 0,
  CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 = 1,
  CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3 = 3,
};

// The library has one such struct for each kind of algorithm.
struct cudnnConvolutionAlgoPerf_t {
  int algo;
  cudnnStatus_t status;
  float time;
  size_t memory;
  cudnnDeterminism_t determinism;
  cudnnMathType_t mathType;
  int reserved[3];
};

// X(result, symbol, parameters) for each function. Streams are the driver's.
#define WEFT_CUDNN_FUNCTIONS(X)                                                                    \
  X(size_t, cudnnGetVersion, ())                                                                   \
  X(const char*, cudnnGetErrorString, (cudnnStatus_t status))                                      \
  X(cudnnStatus_t, cudnnCreate, (cudnnHandle_t * handle))                                          \
  X(cudnnStatus_t, cudnnDestroy, (cudnnHandle_t handle))                                           \
  X(cudnnStatus_t, cudnnSetStream, (cudnnHandle_t handle, CUstream stream))                        \
  X(cudnnStatus_t, cudnnCreateTensorDescriptor, (cudnnTensorDescriptor_t * tensor))                \
  X(cudnnStatus_t, cudnnDestroyTensorDescriptor, (cudnnTensorDescriptor_t tensor))                 \
  X(cudnnStatus_t, cudnnSetTensor4dDescriptorEx,                                                   \
    (cudnnTensorDescriptor_t tensor, cudnnDataType_t type, int n, int c, int h, int w,             \
     int n_stride, int c_stride, int h_stride, int w_stride))                                      \
  X(cudnnStatus_t, cudnnCreateFilterDescriptor, (cudnnFilterDescriptor_t * filter))                \
  X(cudnnStatus_t, cudnnDestroyFilterDescriptor, (cudnnFilterDescriptor_t filter))                 \
  X(cudnnStatus_t, cudnnSetFilter4dDescriptor,                                                     \
    (cudnnFilterDescriptor_t filter, cudnnDataType_t type, cudnnTensorFormat_t format, int k,      \
     int c, int h, int w))                                                                         \
  X(cudnnStatus_t, cudnnCreateConvolutionDescriptor, (cudnnConvolutionDescriptor_t * convolution)) \
  X(cudnnStatus_t, cudnnDestroyConvolutionDescriptor, (cudnnConvolutionDescriptor_t convolution))  \
  X(cudnnStatus_t, cudnnSetConvolution2dDescriptor,                                                \
    (cudnnConvolutionDescriptor_t convolution, int pad_h, int pad_w, int stride_h, int stride_w,   \
     int dilation_h, int dilation_w, cudnnConvolutionMode_t mode, cudnnDataType_t sums))           \
  X(cudnnStatus_t, cudnnSetConvolutionMathType,                                                    \
    (cudnnConvolutionDescriptor_t convolution, cudnnMathType_t math))                              \
  X(cudnnStatus_t, cudnnSetConvolutionGroupCount,                                                  \
    (cudnnConvolutionDescriptor_t convolution, int groups))                                        \
  X(cudnnStatus_t, cudnnGetConvolutionForwardAlgorithm_v7,                                         \
    (cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,                   \
     cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t y, int requested,           \
     int* returned, cudnnConvolutionAlgoPerf_t* results))                                          \
  X(cudnnStatus_t, cudnnGetConvolutionForwardWorkspaceSize,                                        \
    (cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,                   \
     cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t y,                          \
     cudnnConvolutionFwdAlgo_t algo, size_t* bytes))                                               \
  X(cudnnStatus_t, cudnnConvolutionForward,                                                        \
    (cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t x_desc, const void* x,       \
     cudnnFilterDescriptor_t w_desc, const void* w, cudnnConvolutionDescriptor_t convolution,      \
     cudnnConvolutionFwdAlgo_t algo, void* workspace, size_t workspace_bytes, const void* beta,    \
     cudnnTensorDescriptor_t y_desc, void* y))                                                     \
  X(cudnnStatus_t, cudnnGetConvolutionBackwardFilterAlgorithm_v7,                                  \
    (cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,                  \
     cudnnConvolutionDescriptor_t convolution, cudnnFilterDescriptor_t dw, int requested,          \
     int* returned, cudnnConvolutionAlgoPerf_t* results))                                          \
  X(cudnnStatus_t, cudnnGetConvolutionBackwardFilterWorkspaceSize,                                 \
    (cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,                  \
     cudnnConvolutionDescriptor_t convolution, cudnnFilterDescriptor_t dw,                         \
     cudnnConvolutionBwdFilterAlgo_t algo, size_t* bytes))                                         \
  X(cudnnStatus_t, cudnnConvolutionBackwardFilter,                                                 \
    (cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t x_desc, const void* x,       \
     cudnnTensorDescriptor_t dy_desc, const void* dy, cudnnConvolutionDescriptor_t convolution,    \
     cudnnConvolutionBwdFilterAlgo_t algo, void* workspace, size_t workspace_bytes,                \
     const void* beta, cudnnFilterDescriptor_t dw_desc, void* dw))                                 \
  X(cudnnStatus_t, cudnnTransformTensor,                                                           \
    (cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t x_desc, const void* x,       \
     const void* beta, cudnnTensorDescriptor_t y_desc, void* y))

struct CudnnApi {
#define WEFT_CUDNN_MEMBER(result, symbol, parameters) result(*symbol) parameters = nullptr;
  WEFT_CUDNN_FUNCTIONS(WEFT_CUDNN_MEMBER)
#undef WEFT_CUDNN_MEMBER
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_CUDNN_API_H_
