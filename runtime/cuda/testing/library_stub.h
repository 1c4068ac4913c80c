// A library that stands for another in tests: each function goes on to the one that the program
// installed, as in driver_stub.cc. One of these to a library.
#ifndef WEFT_RUNTIME_CUDA_TESTING_LIBRARY_STUB_H_
#define WEFT_RUNTIME_CUDA_TESTING_LIBRARY_STUB_H_

#include <cstddef>

// A version that nobody knows, and a status that is no success.
extern "C" size_t weft_library_not_installed() { return 1; }

// For lists of X(result, symbol, parameters). A jump leaves all arguments where they are.
#define WEFT_LIBRARY_STUB(result, symbol, parameters)                                    \
  extern "C" __attribute__((visibility("hidden"), used)) void* weft_installed_##symbol = \
      reinterpret_cast<void*>(&weft_library_not_installed);                              \
  asm(".text\n.globl " #symbol "\n.type " #symbol ", @function\n" #symbol                \
      ":\n  jmp *weft_installed_" #symbol "(%rip)\n.size " #symbol ", . - " #symbol "\n");

// In `weft_install_library`, from the struct of pointers that `api` is.
#define WEFT_LIBRARY_INSTALL(result, symbol, parameters) \
  weft_installed_##symbol = reinterpret_cast<void*>(api->symbol);

#endif  // WEFT_RUNTIME_CUDA_TESTING_LIBRARY_STUB_H_
