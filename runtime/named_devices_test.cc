#include "runtime/named_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace weft
