// What only a device that is not the host shows; the rest is session_test, linked for that device.
#include "runtime/testing/far_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "runtime/session.h"
#include "runtime/testing/plan_builder.h"

namespace weft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

HostTensor Floats(const std::vector<float>& values) {
  return HostTensor::Of<float>({static_cast<int64_t>(values.size())}, values);
}

class FarDeviceTest : public testing::Test {
 protected:
  FarDeviceTest() : device_(std::make_shared<FarDevice>()) {
    SessionOptions options;
    options.device = device_;
    session_ = Session::FromPackage(plan_testing::MakeTestPackage().Bytes(), options).value();
  }

  std::shared_ptr<FarDevice> device_;
  std::unique_ptr<Session> session_;
};

TEST_F(FarDeviceTest, AFailureIsToldAndTakesTheVariablesWithIt) {
  ASSERT_TRUE(session_->Run("init", {}).ok());
  device_->FailAfter(1);
  const auto step = session_->Run("step", {{"d", Floats({1, 2, 3, 4})}});
  EXPECT_EQ(step.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(step.status().message()), HasSubstr("the far failed: told to fail"));
  device_->FailAfter(-1);
  // Not the old value, which may be half overwritten.
  EXPECT_EQ(session_->Run("read", {}).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(session_->SetVariables({{"w", Floats({5, 6, 7, 8})}}).ok());
  EXPECT_THAT(session_->Run("read", {})->at("w").values<float>(), ElementsAre(5, 6, 7, 8));
}

TEST_F(FarDeviceTest, AFailureInALoopIsTold) {
  device_->FailAfter(3);
  const auto count = session_->Run("count", {{"limit", HostTensor::Scalar<int64_t>(10)}});
  EXPECT_EQ(count.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(count.status().message()), HasSubstr("noticed at"));
  device_->FailAfter(-1);
  EXPECT_TRUE(session_->Run("count", {{"limit", HostTensor::Scalar<int64_t>(10)}}).ok());
}

}  // namespace
}  // namespace weft
