#include "runtime/named_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "runtime/devices.h"

namespace weft {
namespace {

// However it is spelled.
TEST(NamedDevices, ADeviceOfSeveralNamesIsOne) {
  SessionOptions options;
  const absl::Status set = SetDevices(
      "emulator", {{"cuda:0", "emulator:sm_90"}, {"cuda:1", "emulator:sm_80"}, {"cuda:2", "cpu"}},
      MakeDevice, &options);
  ASSERT_TRUE(set.ok()) << set;
  const auto find = [&](const char* name) { return options.find_device(name).value(); };
  EXPECT_EQ(options.device->target(), "cuda:sm_90");
  EXPECT_EQ(find("cuda:0"), options.device);
  EXPECT_EQ(find("emulator"), options.device);
  EXPECT_EQ(find("emulator:sm_90"), options.device);
  EXPECT_NE(find("cuda:1"), options.device);
  EXPECT_EQ(find("emulator:sm_80"), find("cuda:1"));
  EXPECT_EQ(find("cpu"), find("cuda:2"));
  EXPECT_EQ(options.find_device("gpu").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(NamedDevices, GenerationsOfTheEmulator) {
  for (const char* generation : {"sm_70", "sm_80", "sm_90", "sm_90a"}) {
    const auto device = MakeDevice(absl::StrCat("emulator:", generation), 1);
    ASSERT_TRUE(device.ok()) << device.status();
    EXPECT_EQ((*device)->target(), absl::StrCat("cuda:", generation));
    std::string why;
    EXPECT_GE((*device)->Suits("cuda:sm_70", {}, &why), 0) << why;
  }
  // Of both, the code for its generation alone.
  const auto newest = MakeDevice("emulator:sm_90", 1).value();
  std::string why;
  EXPECT_GT(newest->Suits("cuda:sm_90a", {}, &why), newest->Suits("cuda:sm_90", {}, &why));
  for (const char* other : {"emulator:sm_80a", "emulator:sm_90aa", "emulator:a", "emulator:"}) {
    EXPECT_EQ(MakeDevice(other, 1).status().code(), absl::StatusCode::kInvalidArgument) << other;
  }
}

}  // namespace
}  // namespace weft
