// Which processors a run of a test compiles for.
#ifndef WEFT_TESTS_CONFORMANCE_TARGETS_H_
#define WEFT_TESTS_CONFORMANCE_TARGETS_H_

#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_split.h"
#include "compiler/api.h"
#include "runtime/devices.h"

namespace weft {

// For the targets that the environment's WEFT_TEST_TARGETS names, separated by commas; where there
// is none, for this machine's processor.
inline CompileOptions OptionsOfTest() {
  CompileOptions options;
  if (const char* targets = std::getenv("WEFT_TEST_TARGETS"); targets != nullptr) {
    options.targets = absl::StrSplit(targets, ',');
  }
  return options;
}

// What runs code for the first of them: null for this processor; for a GPU the emulator, or the
// device that the environment's WEFT_TEST_DEVICE names ("cuda:0").
inline std::shared_ptr<Device> DeviceOfTest() {
  const std::string target = OptionsOfTest().targets.front();
  if (target.rfind("cuda:", 0) != 0) return nullptr;
  if (const char* device = std::getenv("WEFT_TEST_DEVICE"); device != nullptr) {
    return MakeDevice(device, /*threads=*/1).value();
  }
  // "cuda:sm_90a" is of sm_90 alone.
  return MakeDevice("emulator:" + target.substr(5, 5), /*threads=*/1).value();
}

}  // namespace weft

#endif  // WEFT_TESTS_CONFORMANCE_TARGETS_H_
