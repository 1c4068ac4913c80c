#include "compiler/plan/peak.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/testing/plan_builder.h"

namespace weft {
namespace {

using plan_testing::Dim;
using plan_testing::PlanBuilder;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(PeakBytes, IsWhatTheRuntimeTakes) {
  PlanBuilder b("f");
  const Dim n = b.Symbol("n", 0, 0);
  b.Input("x", DataType::kI8, {n});
  const uint32_t ten = b.Constant(10), first = b.Arena(n.formula);
  b.Arena(ten, {first});
  b.Launch(0, b.Kernel("k", 0), {}, {}, b.Constant(1), {0, 0, b.Constant(300)});
  b.Launch(0, b.Kernel("l", 0), {}, {}, b.Constant(1), {0, 0, n.formula});
  const auto peak = [&](int64_t size) {
    return PeakBytes(b.Build(), {{"n", size}}, 1).value_or(-1);
  };
  // Offsets, and scratch, are multiples of 64; the end of the arena need not be.
  EXPECT_EQ(peak(1), 64 + 10 + 320);
  EXPECT_EQ(peak(65), 128 + 10 + 320);
  EXPECT_EQ(peak(330), 384 + 10 + 384);
  // A GPU's scratch is not in memory.
  EXPECT_EQ(PeakBytes(b.Build(), {{"n", 330}}, 0).value_or(-1), 384 + 10);
}

TEST(PeakBytes, SaysWhatIsMissingOrTooLarge) {
  PlanBuilder b("f");
  const Dim n = b.Symbol("n", 0, 0);
  b.Input("x", DataType::kI8, {n});
  b.Arena(b.Mul(n.formula, n.formula));
  EXPECT_EQ(PeakBytes(b.Build(), {}, 1).status().message(),
            "signature 'f': expected a size of 'n'");
  for (const int64_t size : {int64_t{1} << 24, int64_t{1} << 32, INT64_MAX}) {
    const absl::Status status = PeakBytes(b.Build(), {{"n", size}}, 1).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("out of bounds at n=" + std::to_string(size) +
                          " (bytes have to stay below 2^48)"));
  }
}

// Not every size that is refused is one of memory.
TEST(PeakBytes, SaysWhichStepHasASizeOutOfBounds) {
  PlanBuilder b("f");
  const Dim n = b.Symbol("n", 0, 0);
  b.Input("x", DataType::kI8, {n});
  b.Launch(0, b.Kernel("k", 0), {}, {}, b.Constant(1), {0, n.formula, 0}).set_label("reduce");
  Step& step = b.Launch(0, b.Kernel("l", 0), {}, {}, b.Op(Formula::SUB, b.Constant(9), n.formula));
  step.set_label("scale");
  const absl::Status status = PeakBytes(b.Build(), {{"n", 10}}, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("signature 'f': scale"), HasSubstr("a size out of bounds at n=10"),
                    Not(HasSubstr("memory"))));
}

TEST(PeakBytes, SaysWhichTileHasTooMuchWork) {
  PlanBuilder b("f");
  const Dim n = b.Symbol("n", 0, 0);
  b.Input("x", DataType::kI8, {n});
  Step& step = b.Launch(0, b.Kernel("k", 0), {}, {}, b.Constant(2), {0, n.formula, 0});
  step.set_label("reduce");
  step.mutable_launch()->set_max_tile_flops(50);
  EXPECT_EQ(PeakBytes(b.Build(), {{"n", 100}}, 1).value_or(-1), 0);
  const absl::Status status = PeakBytes(b.Build(), {{"n", 102}}, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  // Nothing is fed to a compiler.
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("signature 'f': reduce"), HasSubstr("at most 50 operations"),
                    HasSubstr("got 51 at n=102; take smaller sizes"), Not(HasSubstr("feed"))));
}

TEST(PeakBytes, ListsSizes) {
  EXPECT_EQ(AtSizes({}), "");
  EXPECT_EQ(AtSizes({{"n", 7}, {"batch", 64}}), "at batch=64, n=7");
}

}  // namespace
}  // namespace weft
