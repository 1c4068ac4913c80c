// Properties that the golden values (tests/golden) do not cover: the published answers of Philox,
// the corners of integer arithmetic, and sizes that do not fit.
#include <limits>

#include "graph/reference/elementwise.h"
#include "graph/reference/kernels.h"
#include "graph/reference/philox.h"
#include "graph/reference/scalar.h"
#include "gtest/gtest.h"

namespace weft::reference {
namespace {

// From the known-answer file that the authors distribute with their code.
TEST(Philox, KnownAnswers) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Scalar, IntegersWrapAndNeverTrap) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(Store<int64_t>(Load(kMax) + Load(int64_t{1})), kMin);
  EXPECT_EQ(Store<int64_t>(Divide(Load(kMin), Load(int64_t{-1}))), kMin);
  EXPECT_EQ(Store<int64_t>(Absolute(Load(kMin))), kMin);
  EXPECT_EQ(Store<int32_t>(Divide(Load(7), Load(0))), 0);
  EXPECT_EQ(Store<int32_t>(Remainder(Load(7), Load(0))), 0);
  EXPECT_EQ(Store<int32_t>(Remainder(Load(-7), Load(3))), -1);
  EXPECT_EQ(Store<uint8_t>(Complement(Load(uint8_t{1}))), 254);
  EXPECT_TRUE(Complement(false));
}

TEST(Scalar, ConvertSaturatesFloats) {
  EXPECT_EQ((Convert<int32_t>(2147483648.0f)), 2147483647);
  EXPECT_EQ((Convert<int32_t>(-1e30)), std::numeric_limits<int32_t>::min());
  EXPECT_EQ((Convert<int64_t>(9.3e18)), std::numeric_limits<int64_t>::max());
  EXPECT_EQ((Convert<uint8_t>(-0.5f)), 0);
  EXPECT_EQ((Convert<int8_t>(std::nan(""))), 0);
  EXPECT_EQ((Convert<int8_t>(int32_t{300})), 44);
  EXPECT_TRUE((Convert<bool>(0.25)));
  // 2^24 + 1 is not an f32; the even neighbour is 2^24.
  EXPECT_EQ((Convert<float>(int32_t{16777217})), 16777216.0f);
}

TEST(Map, ChoosesTheResultType) {
  const HostTensor a = HostTensor::Of<float>({2}, {1, 2}), b = HostTensor::Of<float>({2}, {2, 2});
  using List = Types<float, int32_t>;
  auto less = [](auto x, auto y) { return x < y; };
  absl::StatusOr<HostTensor> y = Map<List, 2>({a, b}, less);
  ASSERT_TRUE(y.ok());
  EXPECT_EQ(y->ToString(), "bool[2] [true, false]") << y->ToString();
  auto add = [](auto x, auto y) { return x + y; };
  EXPECT_EQ((Map<List, 2>({a, b}, add))->dtype(), DataType::kF32);
  auto choose = [](bool c, auto x, auto y) { return c ? x : y; };
  EXPECT_EQ((Map<List, 3, true>({*y, a, b}, choose))->values<float>()[1], 2);
  const HostTensor wide = HostTensor::Of<double>({1}, {1});
  EXPECT_FALSE((Map<List, 2>({wide, wide}, add)).ok());
  EXPECT_FALSE((Map<List, 2>({a, wide}, add)).ok());
}

TEST(Kernels, SizesThatDoNotFitAreErrors) {
  const HostTensor x = HostTensor::Of<float>({2, 3}, {0, 1, 2, 3, 4, 5});
  EXPECT_FALSE(MatMul(x, x, false, false).ok());
  EXPECT_FALSE(Reshape(x, {4}).ok());
  EXPECT_FALSE(Broadcast(x, {2, 4}).ok());
  EXPECT_FALSE(Slice(x, {0, 0}, {2, 4}, {1, 1}).ok());
  EXPECT_FALSE(Iota({-1}, 0, DataType::kF32).ok());
  EXPECT_FALSE(Concat({x, x.Reshaped({3, 2})}, 0).ok());
}

TEST(Kernels, SliceThatStartsPastItsLimitIsEmpty) {
  const HostTensor x = HostTensor::Of<float>({2, 3}, {0, 1, 2, 3, 4, 5});
  const absl::StatusOr<HostTensor> y = Slice(x, {3, 0}, {2, 3}, {1, 2});
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ(y->shape(), (std::vector<int64_t>{0, 2}));
}

// A long f32 sum keeps the small terms, which adding up in f32 would lose.
TEST(Reduce, AddsUpInDouble) {
  HostTensor x = *HostTensor::Create(DataType::kF32, {1 << 16});
  for (float& v : x.mutable_values<float>()) v = 1e-4f;
  x.mutable_values<float>()[0] = 4096;
  EXPECT_NEAR(Reduce(Reduction::kSum, x, {0}, false)->values<float>()[0], 4096 + 65535e-4, 1e-3);
}

TEST(Random, UniformIsBelowOne) {
  for (DataType dtype : {DataType::kBF16, DataType::kF16, DataType::kF32}) {
    HostTensor u = *Cast(*RandomUniform(3, 5, {4096}, dtype), DataType::kF32);
    float largest = 0;
    for (float v : u.values<float>()) largest = std::max(largest, v);
    EXPECT_LT(largest, 1) << NameOf(dtype);
    EXPECT_GT(largest, 0.99) << NameOf(dtype);
  }
}

}  // namespace
}  // namespace weft::reference
