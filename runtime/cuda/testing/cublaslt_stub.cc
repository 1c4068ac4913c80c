// The library that stands for libcublasLt.so in tests.
#include "runtime/cuda/cublaslt_api.h"
#include "runtime/cuda/testing/library_stub.h"

namespace weft::cuda {

WEFT_CUBLASLT_FUNCTIONS(WEFT_LIBRARY_STUB)

extern "C" void weft_install_library(const CublasLtApi* api) {
  WEFT_CUBLASLT_FUNCTIONS(WEFT_LIBRARY_INSTALL)
}

}  // namespace weft::cuda
