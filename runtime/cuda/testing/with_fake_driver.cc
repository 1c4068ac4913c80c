// Linked into a program, makes the libcuda.so.1 that the dynamic linker finds the fake driver,
// before main. The environment's FAKE_GPU_BYTES is the memory of its GPU.
#include <cstdlib>

#include "runtime/cuda/testing/fake_driver.h"

namespace weft::cuda {
namespace {

bool Install() {
  InstallFakeDriver("libcuda.so.1");
  if (const char* bytes = std::getenv("FAKE_GPU_BYTES"); bytes != nullptr) {
    ConfigureFakeDriver({.memory_bytes = std::atoll(bytes)});
  }
  return true;
}

[[maybe_unused]] const bool installed = Install();

}  // namespace
}  // namespace weft::cuda
