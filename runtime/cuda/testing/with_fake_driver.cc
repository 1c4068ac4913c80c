// Linked into a program, makes the libcuda.so.1 that the dynamic linker finds the fake driver,
// before main. The environment's FAKE_GPU_BYTES is the memory of its GPU; with FAKE_CUBLASLT, the
// libcublasLt.so.12 that is found is the fake one as well, and with FAKE_CUDNN the libcudnn.so.9.
#include <cstdlib>

#include "runtime/cuda/testing/fake_cublaslt.h"
#include "runtime/cuda/testing/fake_cudnn.h"
#include "runtime/cuda/testing/fake_driver.h"

namespace weft::cuda {
namespace {

bool Install() {
  InstallFakeDriver("libcuda.so.1");
  if (const char* bytes = std::getenv("FAKE_GPU_BYTES"); bytes != nullptr) {
    ConfigureFakeDriver({.memory_bytes = std::atoll(bytes)});
  }
  if (std::getenv("FAKE_CUBLASLT") != nullptr) InstallFakeCublasLt("libcublasLt.so.12");
  if (std::getenv("FAKE_CUDNN") != nullptr) InstallFakeCudnn("libcudnn.so.9");
  return true;
}

[[maybe_unused]] const bool installed = Install();

}  // namespace
}  // namespace weft::cuda
