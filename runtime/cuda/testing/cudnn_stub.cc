// The library that stands for libcudnn.so in tests.
#include "runtime/cuda/cudnn_api.h"
#include "runtime/cuda/testing/library_stub.h"

namespace weft::cuda {

WEFT_CUDNN_FUNCTIONS(WEFT_LIBRARY_STUB)

extern "C" void weft_install_library(const CudnnApi* api) {
  WEFT_CUDNN_FUNCTIONS(WEFT_LIBRARY_INSTALL)
}

}  // namespace weft::cuda
