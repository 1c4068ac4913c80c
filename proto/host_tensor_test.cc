#include "proto/host_tensor.h"

#include <gtest/gtest.h>

#include <utility>

namespace weft {
namespace {

TEST(HostTensor, IsZeroAndAligned) {
  auto t = HostTensor::Create(DataType::kF32, {2, 3});
  ASSERT_TRUE(t.ok());
  EXPECT_EQ(t->num_elements(), 6);
  EXPECT_EQ(t->size_bytes(), 24u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(t->data()) % 64, 0u);
  for (float v : t->values<float>()) EXPECT_EQ(v, 0.0f);
}

TEST(HostTensor, RefusesBadShapes) {
  EXPECT_EQ(HostTensor::Create(DataType::kF32, {-1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(HostTensor::Create(DataType::kInvalid, {1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      HostTensor::Create(DataType::kF32, {int64_t{1} << 40, int64_t{1} << 40}).status().code(),
      absl::StatusCode::kOutOfRange);
  EXPECT_EQ(HostTensor::Create(DataType::kF64, {int64_t{1} << 46}).status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST(HostTensor, AnEmptyDimensionMakesTheProductZero) {
  auto n = CheckedNumElements({int64_t{1} << 40, int64_t{1} << 40, 0});
  ASSERT_TRUE(n.ok());
  EXPECT_EQ(*n, 0);
}

TEST(HostTensor, WhatIsMovedFromIsAsNew) {
  for (const bool assigned : {false, true}) {
    HostTensor a = HostTensor::Scalar<float>(3), b;
    if (assigned) {
      b = std::move(a);
    } else {
      b = HostTensor(std::move(a));
    }
    EXPECT_EQ(b.values<float>()[0], 3);
    EXPECT_TRUE(b.is_own());
    EXPECT_EQ(a.dtype(), DataType::kInvalid);  // NOLINT: that it was moved from is what is asked
    EXPECT_EQ(a.num_elements(), 0);
    EXPECT_EQ(a.data(), nullptr);
    EXPECT_FALSE(a.is_own());
  }
  HostTensor self = HostTensor::Scalar<float>(5), &same = self;
  self = std::move(same);
  EXPECT_EQ(self.values<float>()[0], 5);
}

TEST(HostTensor, CopiesShareAndClonesDoNot) {
  HostTensor a = HostTensor::Of<int32_t>({3}, {1, 2, 3});
  HostTensor b = a, c = a.Clone();
  a.mutable_values<int32_t>()[0] = 7;
  EXPECT_EQ(b.values<int32_t>()[0], 7);
  EXPECT_EQ(c.values<int32_t>()[0], 1);
}

TEST(HostTensor, ViewKeepsItsOwner) {
  auto owner = std::make_shared<std::vector<double>>(4, 2.5);
  std::weak_ptr<std::vector<double>> watch = owner;
  HostTensor t = HostTensor::View(DataType::kF64, {2, 2}, owner->data(), owner);
  owner.reset();
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(t.Reshaped({4}).values<double>()[3], 2.5);
  t = HostTensor();
  EXPECT_TRUE(watch.expired());
}

TEST(HostTensor, Prints) {
  EXPECT_EQ(HostTensor::Of<int32_t>({2, 2}, {1, 2, 3, 4}).ToString(), "i32[2, 2] [[1, 2], [3, 4]]");
  EXPECT_EQ(HostTensor::Of<int32_t>({4}, {1, 2, 3, 4}).ToString(2), "i32[4] [1, 2, ...]");
  EXPECT_EQ(HostTensor::Scalar<bool>(true).ToString(), "bool[] true");
  EXPECT_EQ(HostTensor::Scalar<F16>(F16(1.5f)).ToString(), "f16[] 1.5");
  EXPECT_EQ(HostTensor::Of<float>({0, 3}, {}).ToString(), "f32[0, 3] []");
  EXPECT_EQ(HostTensor().ToString(), "invalid[]");
}

TEST(DType, Bf16RoundsToNearestEven) {
  EXPECT_EQ(BF16(1.0f).bits, 0x3f80);
  EXPECT_EQ(BF16(1.00390625f).bits, 0x3f80);  // halfway: to even
  EXPECT_EQ(BF16(1.01171875f).bits, 0x3f82);  // halfway: to even
  EXPECT_TRUE(std::isnan(static_cast<float>(BF16(__builtin_nanf("")))));
}

}  // namespace
}  // namespace weft
