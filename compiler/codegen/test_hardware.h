// For tests: runs compiled kernels on a GPU through its driver, rather than on the emulator.
#ifndef WEFT_COMPILER_CODEGEN_TEST_HARDWARE_H_
#define WEFT_COMPILER_CODEGEN_TEST_HARDWARE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "compiler/codegen/test_device.h"

namespace weft {

// The kernels of a text on a device that runtime/hardware_devices.h names ("cuda:0"). Of its checks
// there is one: that nothing is written right after a buffer.
absl::StatusOr<std::unique_ptr<TestDevice>> MakeHardwareTestDevice(const std::string& name,
                                                                   std::string ptx);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_TEST_HARDWARE_H_
