#include "tools/common/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace weft::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Compare, WithinTolerance) {
  const auto a = HostTensor::Of<float>({3}, {1.0f, 100.0f, NAN});
  const auto b = HostTensor::Of<float>({3}, {1.0f, 100.5f, NAN});
  EXPECT_TRUE(Compare(a, b, 0.01, 0).agrees);
  const Comparison strict = Compare(a, b, 0.001, 0.1);
  EXPECT_FALSE(strict.agrees);
  EXPECT_EQ(strict.differing, 1);
  EXPECT_THAT(strict.worst, ElementsAre(1));
  EXPECT_DOUBLE_EQ(strict.max_absolute, 0.5);
  EXPECT_THAT(strict.Text(), HasSubstr("1 out of tolerance, worst at [1]: 100, expected 100.5"));
}

TEST(Compare, ZeroToleranceWantsEqualValues) {
  const auto a = HostTensor::Of<double>({2, 2}, {1, 2, 3, 4});
  EXPECT_TRUE(Compare(a, a.Clone(), 0, 0).agrees);
  const auto b = HostTensor::Of<double>({2, 2}, {1, 2, 3, std::nextafter(4.0, 5.0)});
  const Comparison result = Compare(a, b, 0, 0);
  EXPECT_FALSE(result.agrees);
  EXPECT_THAT(result.worst, ElementsAre(1, 1));
}

// Their doubles are the same, or their difference passes 63 bits.
TEST(Compare, IntegersAreComparedAsIntegers) {
  constexpr int64_t kLarge = (int64_t{1} << 53) + 1, kMost = std::numeric_limits<int64_t>::max(),
                    kLeast = std::numeric_limits<int64_t>::min();
  const auto a = HostTensor::Of<int64_t>({4}, {kLarge, kMost, kLeast, -1});
  EXPECT_TRUE(Compare(a, a.Clone(), 0, 0).agrees);
  const auto b = HostTensor::Of<int64_t>({4}, {kLarge - 1, kMost - 1, kLeast + 1, -1});
  const Comparison result = Compare(a, b, 0, 0);
  EXPECT_FALSE(result.agrees);
  EXPECT_EQ(result.differing, 3);
  EXPECT_EQ(result.max_absolute, 1);
  EXPECT_THAT(result.worst, ElementsAre(0));
  EXPECT_THAT(result.Text(), HasSubstr(": 9007199254740993, expected 9007199254740992"));
  EXPECT_TRUE(Compare(a, b, 0, 1).agrees);
  const Comparison far =
      Compare(HostTensor::Of<int64_t>({1}, {kLeast}), HostTensor::Of<int64_t>({1}, {kMost}), 0, 0);
  EXPECT_EQ(far.max_absolute, 0x1p64);
  EXPECT_THAT(far.Text(), HasSubstr("-9223372036854775808, expected 9223372036854775807"));
  const auto small = HostTensor::Of<int8_t>({2}, {-128, 127});
  EXPECT_EQ(Compare(small, HostTensor::Of<int8_t>({2}, {127, 127}), 0, 0).max_absolute, 255);
}

TEST(Compare, InfinityAndNanAgreeWithThemselvesAlone) {
  const auto inf = HostTensor::Of<double>({1}, {kInfinity});
  const auto minus = HostTensor::Of<double>({1}, {-kInfinity});
  const auto nan = HostTensor::Of<double>({1}, {NAN});
  const auto one = HostTensor::Of<double>({1}, {1});
  EXPECT_TRUE(Compare(inf, inf, 0.1, 0.1).agrees);
  EXPECT_FALSE(Compare(inf, minus, 0.1, 0.1).agrees);
  EXPECT_FALSE(Compare(one, inf, 0.1, 0.1).agrees);
  EXPECT_FALSE(Compare(nan, one, 0.1, 0.1).agrees);
  EXPECT_FALSE(Compare(one, nan, 0.1, 0.1).agrees);
}

TEST(Compare, TypesMustBeEqual) {
  const auto a = HostTensor::Of<float>({2}, {1, 2});
  EXPECT_THAT(Compare(a, HostTensor::Of<double>({2}, {1, 2}), 1, 1).Text(),
              HasSubstr("f32[2], expected f64[2]"));
  EXPECT_FALSE(Compare(a, a.Reshaped({1, 2}), 1, 1).agrees);
}

}  // namespace
}  // namespace weft::cli
