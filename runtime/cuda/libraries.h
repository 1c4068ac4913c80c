// Libraries beside a GPU's kernels: cuBLASLt, for matrix products, and cuDNN, for convolutions.
#ifndef WEFT_RUNTIME_CUDA_LIBRARIES_H_
#define WEFT_RUNTIME_CUDA_LIBRARIES_H_

#include <cstddef>
#include <string>
#include <vector>

#include "runtime/cuda/cuda_device.h"

namespace weft {

struct CudaLibraryOptions {
  // Which of them.
  bool use_cublaslt = true, use_cudnn = true;
  // An error where one cannot be used; otherwise the device does without that then.
  bool required = true;
  // What dlopen is asked for, in that order; empty: those of the versions that suit the driver, or
  // that are known.
  std::vector<std::string> cublaslt = {}, cudnn = {};
  // Of one launch, on the GPU.
  size_t max_workspace_bytes = size_t{32} << 20;
  // How many times as fast as the kernel they have to be: otherwise bits would depend on chance,
  // for nothing. 0 takes them wherever they can be had, which is for tests.
  double least_gain = 1.05;
};

// For CudaOptions::libraries: matrix products are computed by cuBLASLt, and convolutions by cuDNN,
// where that is measured to be faster (README.md says when, and what else differs then). From the
// device's making: FailedPrecondition where a library is not there, is of another version than 12
// or 13 of cuBLASLt, 8 or 9 of cuDNN, or does not suit the GPU; ResourceExhausted, whether it is
// required or not, where the GPU has no memory to begin with it.
CudaLibraries UseCudaLibraries(const CudaLibraryOptions& options = {});

}  // namespace weft

#endif  // WEFT_RUNTIME_CUDA_LIBRARIES_H_
