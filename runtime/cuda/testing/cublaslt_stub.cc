// The library that stands for libcublasLt.so in tests: each function goes on to the one that the
// program installed, as in driver_stub.cc.
#include "runtime/cuda/cublaslt_api.h"

namespace weft::cuda {

extern "C" cublasStatus_t weft_cublaslt_not_installed() { return CUBLAS_STATUS_NOT_INITIALIZED; }

// A jump leaves all arguments where they are.
#define WEFT_CUBLASLT_STUB(result, symbol, parameters)                                   \
  extern "C" __attribute__((visibility("hidden"), used)) void* weft_installed_##symbol = \
      reinterpret_cast<void*>(&weft_cublaslt_not_installed);                             \
  asm(".text\n.globl " #symbol "\n.type " #symbol ", @function\n" #symbol                \
      ":\n  jmp *weft_installed_" #symbol "(%rip)\n.size " #symbol ", . - " #symbol "\n");
WEFT_CUBLASLT_FUNCTIONS(WEFT_CUBLASLT_STUB)

extern "C" void weft_install_cublaslt(const CublasLtApi* api) {
#define WEFT_INSTALL(result, symbol, parameters) \
  weft_installed_##symbol = reinterpret_cast<void*>(api->symbol);
  WEFT_CUBLASLT_FUNCTIONS(WEFT_INSTALL)
}

}  // namespace weft::cuda
