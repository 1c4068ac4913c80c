// What only a device that is not the host shows; the rest is session_test, linked for that device.
#include "runtime/testing/far_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "proto/file.h"
#include "proto/plan.pb.h"
#include "runtime/package.h"
#include "runtime/session.h"
#include "runtime/testing/plan_builder.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

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
  EXPECT_THAT(std::string(step.status().message()),
              AllOf(HasSubstr("the far failed: told to fail"), HasSubstr("have no value now")));
  device_->FailAfter(-1);
  // Not the old value, which may be half overwritten.
  EXPECT_EQ(session_->Run("read", {}).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(session_->SetVariables({{"w", Floats({5, 6, 7, 8})}}).ok());
  EXPECT_THAT(session_->Run("read", {})->at("w").values<float>(), ElementsAre(5, 6, 7, 8));
}

// Before its commit step a run has written no variable.
TEST_F(FarDeviceTest, ARefusalBeforeTheCommitLeavesTheVariables) {
  ASSERT_TRUE(session_->Run("init", {}).ok());
  device_->FailAfter(1, /*at_once=*/true);
  const absl::Status step = session_->Run("step", {{"d", Floats({1, 2, 3, 4})}}).status();
  EXPECT_EQ(step.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(step.message()),
              AllOf(HasSubstr("told to fail"), Not(HasSubstr("no value"))));
  device_->FailAfter(-1);
  EXPECT_THAT(session_->Run("read", {})->at("w").values<float>(), ElementsAre(1, 1, 1, 1));
}

TEST_F(FarDeviceTest, AFailureInALoopIsTold) {
  device_->FailAfter(3);
  const auto count = session_->Run("count", {{"limit", HostTensor::Scalar<int64_t>(10)}});
  EXPECT_EQ(count.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(count.status().message()), HasSubstr("noticed at"));
  device_->FailAfter(-1);
  EXPECT_TRUE(session_->Run("count", {{"limit", HostTensor::Scalar<int64_t>(10)}}).ok());
}

// A package may hold constants of other targets; they are no business of this device.
TEST_F(FarDeviceTest, GetsTheConstantsOfItsOwnPlansAlone) {
  constexpr uint64_t kBefore = 1 << 20;
  plan_testing::TestPackage package = plan_testing::MakeTestPackage();
  TargetPlans* other = package.manifest.add_targets();
  *other = package.manifest.targets(0);
  other->set_target("cuda:sm_80");
  package.constants.insert(0, kBefore, '\0');
  package.constants.append(kBefore - 8, '\0');
  Buffer* constant = nullptr;
  for (Plan& plan : *package.manifest.mutable_targets(0)->mutable_plans()) {
    for (Buffer& buffer : *plan.mutable_buffers()) {
      if (buffer.space() != Buffer::CONSTANT) continue;
      constant = &buffer;
      constant->set_constant_offset(constant->constant_offset() + kBefore);
    }
  }
  ASSERT_NE(constant, nullptr);
  const auto opened =
      Package::Open(Bytes::Of(package.Bytes()), std::make_shared<SessionDevices>(device_));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->constants_bytes(0), 64u + 16);  // 8 bytes, and 16 at the next 64
  SessionOptions options;
  options.device = device_;
  const auto session = Session::FromPackage(package.Bytes(), options);
  ASSERT_TRUE(session.ok()) << session.status();
  const auto outputs =
      (*session)->Run("predict", {{"x", HostTensor::Of<float>({2, 4}, {1, 2, 3, 4, 5, 6, 7, 8})}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT(outputs->at("y").values<float>(), ElementsAre(2.5, 4.5, 6.5, 8.5, 10, 12, 14, 16));
  const auto count = (*session)->Run("count", {{"limit", HostTensor::Scalar<int64_t>(3)}});
  ASSERT_TRUE(count.ok()) << count.status();
  EXPECT_EQ(count->at("n").values<int64_t>()[0], 3);
  // There are fewer bytes from there on.
  package.constants.resize(package.constants.size() / 64 * 64 + 4);
  constant->set_constant_offset(package.constants.size() - 4);
  constant->set_node("half");
  EXPECT_THAT(std::string(Session::FromPackage(package.Bytes(), options).status().message()),
              HasSubstr("a constant of node 'half' reaches past the package's constants"));
}

}  // namespace
}  // namespace weft
