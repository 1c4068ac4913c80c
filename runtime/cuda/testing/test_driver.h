// Devices on the fake driver.
#ifndef WEFT_RUNTIME_CUDA_TESTING_TEST_DRIVER_H_
#define WEFT_RUNTIME_CUDA_TESTING_TEST_DRIVER_H_

#include <memory>
#include <string>

#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/testing/fake_driver.h"

namespace weft::cuda {

inline constexpr char kFakeDriver[] = "runtime/cuda/testing/driver/libcuda.so.1";
// The same without the functions that old drivers lack.
inline constexpr char kOldDriver[] = "runtime/cuda/testing/old_driver/libcuda.so.1";
inline constexpr char kIncompleteDriver[] = "runtime/cuda/testing/libincomplete_driver.so";

// A driver that was loaded stays loaded under its name; each call gives another name of the same.
inline std::string NewNameOfFakeDriver() {
  static std::string& folder = *new std::string(".");
  const std::string name = (folder += "/.") + "/" + kFakeDriver;
  InstallFakeDriver(name);
  return name;
}

inline absl::StatusOr<std::shared_ptr<Device>> FakeCudaDevice(
    int ordinal = 0, const std::string& library = kFakeDriver) {
  InstallFakeDriver(library);
  return MakeCudaDevice({.ordinal = ordinal, .driver_library = library});
}

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_TESTING_TEST_DRIVER_H_
