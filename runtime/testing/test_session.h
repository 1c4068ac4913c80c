// Sessions on the device that a test is linked for, and what tests feed them.
#ifndef WEFT_RUNTIME_TESTING_TEST_SESSION_H_
#define WEFT_RUNTIME_TESTING_TEST_SESSION_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/session.h"
#include "runtime/testing/plan_builder.h"
#include "runtime/testing/test_device.h"

namespace weft {

// A session of the package; null, and the test fails, where there cannot be one.
inline std::unique_ptr<Session> MakeTestSession(
    const plan_testing::TestPackage& package = plan_testing::MakeTestPackage(),
    SessionOptions options = {}) {
  options.device = NewTestDevice();
  auto session = Session::FromPackage(package.Bytes(), options);
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}
// The same of what the planner makes.
inline std::unique_ptr<Session> MakeTestSession(Session::Planner planner,
                                                SessionOptions options = {}) {
  options.device = NewTestDevice();
  auto session = Session::WithPlanner(std::move(planner), options);
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

// first, first + 1, ...
inline HostTensor Floats(const std::vector<int64_t>& shape, float first = 0) {
  HostTensor tensor = HostTensor::Create(DataType::kF32, shape).value();
  for (float& value : tensor.mutable_values<float>()) value = first++;
  return tensor;
}

inline std::string Message(const absl::Status& status) { return std::string(status.message()); }

}  // namespace weft

#endif  // WEFT_RUNTIME_TESTING_TEST_SESSION_H_
