// The library that stands for libcuda.so.1 in tests: each of the driver's functions goes on to the
// one that the program installed. It holds no more than that since Debian's archives of Abseil,
// which the emulator uses, cannot be part of a shared library.
#include "runtime/cuda/driver_api.h"

#ifdef WEFT_OLD_DRIVER
#undef WEFT_CUDA_OPTIONAL_FUNCTIONS
#define WEFT_CUDA_OPTIONAL_FUNCTIONS(X)
#endif

namespace weft::cuda {

extern "C" CUresult weft_driver_not_installed() { return CUDA_ERROR_NO_DEVICE; }

// A jump leaves all arguments where they are.
#define WEFT_DRIVER_STUB(symbol, parameters)                                             \
  extern "C" __attribute__((visibility("hidden"), used)) void* weft_installed_##symbol = \
      reinterpret_cast<void*>(&weft_driver_not_installed);                               \
  asm(".text\n.globl " #symbol "\n.type " #symbol ", @function\n" #symbol                \
      ":\n  jmp *weft_installed_" #symbol "(%rip)\n.size " #symbol ", . - " #symbol "\n");
WEFT_CUDA_DRIVER_FUNCTIONS(WEFT_DRIVER_STUB)
WEFT_CUDA_OPTIONAL_FUNCTIONS(WEFT_DRIVER_STUB)

extern "C" void weft_install_driver(const DriverApi* api) {
#define WEFT_INSTALL(symbol, parameters) \
  weft_installed_##symbol = reinterpret_cast<void*>(api->symbol);
  WEFT_CUDA_DRIVER_FUNCTIONS(WEFT_INSTALL)
  WEFT_CUDA_OPTIONAL_FUNCTIONS(WEFT_INSTALL)
}

}  // namespace weft::cuda
