// Which processors or GPUs a run of a test compiles for, and what runs that.
#ifndef WEFT_TESTS_CONFORMANCE_TARGETS_H_
#define WEFT_TESTS_CONFORMANCE_TARGETS_H_

#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "compiler/api.h"
#include "gtest/gtest.h"
#include "runtime/cpu_features.h"
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

// Why this processor does not run code for a target: "" where it does, and where the target is a
// GPU or, as "cpu:native", this processor.
inline std::string WhyNotHere(const std::string& target) {
  if (FeaturesOfTarget(target).empty()) return "";
  std::string why;
  return MakeDevice("cpu", 1).value()->Suits(target, {}, &why) < 0 ? why : "";
}

// A test of code for OptionsOfTest(), which is left out where this machine cannot run that.
class TargetTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const std::string& target : OptionsOfTest().targets) {
      if (const std::string reason = WhyNotHere(target); !reason.empty()) GTEST_SKIP() << reason;
    }
  }
};

// A test of code for its parameter, a target; left out in the same way.
class EachTargetTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string reason = WhyNotHere(GetParam()); !reason.empty()) GTEST_SKIP() << reason;
  }
};

// "cpu:x86-64-v3" as a part of a test's name: "cpu_x86_64_v3".
inline std::string NameOfTarget(const testing::TestParamInfo<std::string>& info) {
  return absl::StrReplaceAll(info.param, {{":", "_"}, {"-", "_"}});
}

}  // namespace weft

#endif  // WEFT_TESTS_CONFORMANCE_TARGETS_H_
