// Packages that were written by hand on the emulator, as a device of sessions.
#include "runtime/ptx_emulator/emulator_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/session.h"
#include "runtime/testing/plan_builder.h"

namespace weft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

HostTensor Floats(const std::vector<float>& values) {
  return HostTensor::Of<float>({static_cast<int64_t>(values.size())}, values);
}

absl::StatusOr<std::unique_ptr<Session>> Open(const plan_testing::TestPackage& package,
                                              const ptx::EmulatorOptions& options = {.sm = 80}) {
  SessionOptions session;
  session.threads = 1;
  session.device = *MakeEmulatorDevice(options);
  return Session::FromPackage(package.Bytes(), session);
}

TEST(EmulatorDevice, RunsPlans) {
  plan_testing::TestPackage package = plan_testing::MakeTestPackage();
  plan_testing::AddGpuTarget(&package);
  const auto session = Open(package);
  ASSERT_TRUE(session.ok()) << session.status();
  const auto predict =
      (*session)->Run("predict", {{"x", HostTensor::Of<float>({2, 4}, {1, 2, 3, 4, 5, 6, 7, 8})}});
  ASSERT_TRUE(predict.ok()) << predict.status();
  EXPECT_THAT(predict->at("y").values<float>(), ElementsAre(2.5, 4.5, 6.5, 8.5, 10, 12, 14, 16));
  ASSERT_TRUE((*session)->Run("init", {}).ok());
  const auto step = (*session)->Run("step", {{"d", Floats({1, 2, 3, 4})}});
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_EQ(step->at("total").values<float>()[0], 14);
  EXPECT_THAT((*session)->Run("read", {})->at("w").values<float>(), ElementsAre(2, 3, 4, 5));
  const auto count = (*session)->Run("count", {{"limit", HostTensor::Scalar<int64_t>(7)}});
  ASSERT_TRUE(count.ok()) << count.status();
  EXPECT_EQ(count->at("n").values<int64_t>()[0], 7);
}

// A kernel without an end is found, also without a deadline.
TEST(EmulatorDevice, StepsAreBounded) {
  plan_testing::TestPackage package = plan_testing::MakeTestPackage();
  plan_testing::AddGpuTarget(&package);
  std::string& code = package.code.back().second;
  const std::string end = "bra Next;\n";
  ASSERT_NE(code.find(end), std::string::npos);
  code.replace(code.find(end), end.size(), "Ever: bra Ever;\n");
  const auto session = Open(package, {.sm = 80, .step_limit = 1000});
  ASSERT_TRUE(session.ok()) << session.status();
  const absl::Status status = (*session)
                                  ->Run("join", {{"x", HostTensor::Of<float>({1, 4}, {1, 2, 3, 4})},
                                                 {"z", HostTensor::Of<float>({1, 2}, {1, 2})}})
                                  .status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("1000 instructions without an end"));
}

}  // namespace
}  // namespace weft
