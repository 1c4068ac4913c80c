#include "compiler/plan/peak.h"

#include <gtest/gtest.h>

#include "runtime/testing/plan_builder.h"

namespace weft {
namespace {

using plan_testing::Dim;
using plan_testing::PlanBuilder;

TEST(PeakBytes, IsWhatTheRuntimeTakes) {
  PlanBuilder b("f");
  const Dim n = b.Symbol("n", 0, 0);
  b.Input("x", DataType::kI8, {n});
  const uint32_t ten = b.Constant(10), first = b.Arena(n.formula);
  b.Arena(ten, {first});
  b.Launch(0, b.Kernel("k", 0), {}, {}, b.Constant(1), {0, 0, b.Constant(300)});
  b.Launch(0, b.Kernel("l", 0), {}, {}, b.Constant(1), {0, 0, n.formula});
  const auto peak = [&](int64_t size) { return PeakBytes(b.Build(), {{"n", size}}).value_or(-1); };
  // Offsets, and scratch, are multiples of 64; the end of the arena need not be.
  EXPECT_EQ(peak(1), 64 + 10 + 320);
  EXPECT_EQ(peak(65), 128 + 10 + 320);
  EXPECT_EQ(peak(330), 384 + 10 + 384);
}

TEST(PeakBytes, SaysWhatIsMissingOrTooLarge) {
  PlanBuilder b("f");
  const Dim n = b.Symbol("n", 0, 0);
  b.Input("x", DataType::kI8, {n});
  b.Arena(b.Mul(n.formula, n.formula));
  EXPECT_EQ(PeakBytes(b.Build(), {}).status().message(), "signature 'f': expected a size of 'n'");
  for (const int64_t size : {int64_t{1} << 24, int64_t{1} << 32, INT64_MAX}) {
    EXPECT_EQ(PeakBytes(b.Build(), {{"n", size}}).status().code(), absl::StatusCode::kOutOfRange);
  }
}

}  // namespace
}  // namespace weft
