// Which processors or GPUs a run of a test compiles for, and what runs that.
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

// What runs code for a target: null for this processor; for a GPU the emulator (with so many
// threads), or the device that the environment's WEFT_TEST_DEVICE names ("cuda:0").
inline std::shared_ptr<Device> DeviceFor(const std::string& target, int threads = 1) {
  if (target.rfind("cuda:", 0) != 0) return nullptr;
  if (const char* device = std::getenv("WEFT_TEST_DEVICE"); device != nullptr) {
    return MakeDevice(device, threads).value();
  }
  // "cuda:sm_90a" is of sm_90 alone.
  return MakeDevice("emulator:" + target.substr(5, 5), threads).value();
}

// For the first of this test's targets.
inline std::shared_ptr<Device> DeviceOfTest() { return DeviceFor(OptionsOfTest().targets.front()); }

// An emulator is far slower than what it stands for: a test does less there.
inline bool IsEmulated() {
  const std::shared_ptr<Device> device = DeviceOfTest();
  return device != nullptr && device->name() == "emulator";
}

}  // namespace weft

#endif  // WEFT_TESTS_CONFORMANCE_TARGETS_H_
