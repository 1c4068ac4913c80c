// Linked into a program, makes the libcuda.so.1 that the dynamic linker finds the fake driver,
// before main.
#include "runtime/cuda/testing/fake_driver.h"

namespace weft::cuda {
namespace {

[[maybe_unused]] const bool installed = (InstallFakeDriver("libcuda.so.1"), true);

}  // namespace
}  // namespace weft::cuda
