#include "runtime/core/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/core/program_for_test.h"
#include "runtime/testing/plan_builder.h"
#include "runtime/testing/test_kernels.h"

namespace weft {
namespace {

using plan_testing::Dim;
using plan_testing::PlanBuilder;
using ::testing::ElementsAre;

// ---- Formulas and layout ----

TEST(Formulas, EveryOperation) {
  PlanBuilder b("f");
  const uint32_t minus7 = b.Constant(-7), seven = b.Constant(7), two = b.Constant(2);
  std::vector<uint32_t> ids;
  for (const uint32_t a : {minus7, seven}) {
    for (const Formula::Op op : {Formula::ADD, Formula::SUB, Formula::MUL, Formula::FLOOR_DIV,
                                 Formula::CEIL_DIV, Formula::MOD, Formula::MAX, Formula::MIN}) {
      ids.push_back(b.Op(op, a, two));
    }
  }
  Program program(b.Build());
  ASSERT_EQ(program.Create(), WEFT_OK);
  std::vector<int64_t> values;
  for (const uint32_t id : ids) values.push_back(weft_formula_value(program.instance(), id));
  EXPECT_THAT(values, ElementsAre(-5, -9, -14, -4, -3, 1, 2, -7, 9, 5, 14, 3, 4, 1, 7, 2));
}

TEST(Formulas, OverflowAndDivisionByZeroAreErrors) {
  const auto result = [](Formula::Op op, int64_t a, int64_t b) {
    PlanBuilder builder("f");
    const uint32_t x = builder.Constant(a), y = builder.Constant(b);
    builder.Op(op, x, y);
    Program program(builder.Build());
    return program.Create();
  };
  EXPECT_EQ(result(Formula::ADD, INT64_MAX, 1), WEFT_ERROR_OVERFLOW);
  EXPECT_EQ(result(Formula::SUB, INT64_MIN, 1), WEFT_ERROR_OVERFLOW);
  EXPECT_EQ(result(Formula::MUL, int64_t{1} << 40, int64_t{1} << 40), WEFT_ERROR_OVERFLOW);
  for (const Formula::Op op : {Formula::FLOOR_DIV, Formula::CEIL_DIV, Formula::MOD}) {
    EXPECT_EQ(result(op, 5, 0), WEFT_ERROR_OVERFLOW);
    EXPECT_EQ(result(op, INT64_MIN, -1), WEFT_ERROR_OVERFLOW);
    EXPECT_EQ(result(op, INT64_MIN, 1), WEFT_OK);
  }
}

TEST(Layout, IsExactForEverySize) {
  PlanBuilder b("layout");
  const Dim n = b.Symbol("n", 0, 0);
  b.Input("x", DataType::kI8, {n});
  const uint32_t small = b.Constant(10), twice = b.Mul(n.formula, b.Constant(2));
  const uint32_t first = b.Arena(n.formula), second = b.Arena(small, {first});
  b.Arena(twice);  // lives when the others do not
  b.Arena(small, {first, second});
  Program program(b.Build());
  const auto peak = [&](int64_t size) {
    EXPECT_EQ(program.Create({size}), WEFT_OK);
    return weft_arena_bytes(program.instance(), 0);
  };
  EXPECT_EQ(peak(0), 64 + 10);   // 0, 0..10, 64..74
  EXPECT_EQ(peak(1), 128 + 10);  // 0..1, 64..74, 128..138
  EXPECT_EQ(peak(64), 128 + 10);
  EXPECT_EQ(peak(65), 192 + 10);
  EXPECT_EQ(peak(1000), 2000);
}

TEST(Layout, SizesOutOfBoundsAreErrors) {
  const auto result = [](int64_t size) {
    PlanBuilder b("layout");
    b.Arena(b.Constant(size));
    Program program(b.Build());
    return program.Create();
  };
  EXPECT_EQ(result(0), WEFT_OK);
  EXPECT_EQ(result(-1), WEFT_ERROR_SIZE);
  EXPECT_EQ(result(int64_t{1} << 48), WEFT_ERROR_SIZE);
}

TEST(Layout, BuffersMayNotPassTheirValues) {
  PlanBuilder b("values");
  b.Output("y", DataType::kF32, {b.Static(4)});
  b.plan().mutable_buffers(0)->set_size(b.Constant(17));
  Program program(b.Build());
  EXPECT_EQ(program.Create(), WEFT_ERROR_SIZE);
  EXPECT_EQ(program.error().index, 0u);
}

TEST(Layout, StepsMayNotPassTheirBuffers) {
  const auto result = [](int64_t size, int64_t offset) {
    PlanBuilder b("copy");
    const uint32_t from = b.Arena(b.Constant(32)), to = b.Arena(b.Constant(32), {from});
    Step& step = b.Copy(0, from, to, b.Constant(size));
    step.mutable_copy()->mutable_destination()->set_offset(b.Constant(offset));
    Program program(b.Build());
    return program.Create();
  };
  EXPECT_EQ(result(32, 0), WEFT_OK);
  EXPECT_EQ(result(16, 16), WEFT_OK);
  EXPECT_EQ(result(33, 0), WEFT_ERROR_STEP_SIZE);
  EXPECT_EQ(result(17, 16), WEFT_ERROR_STEP_SIZE);
  EXPECT_EQ(result(0, 33), WEFT_ERROR_STEP_SIZE);
  EXPECT_EQ(result(0, -1), WEFT_ERROR_STEP_SIZE);
  EXPECT_EQ(result(-1, 0), WEFT_ERROR_STEP_SIZE);
}

TEST(Layout, TilesAreBounded) {
  const auto result = [](int64_t tiles) {
    PlanBuilder b("tiles");
    b.Launch(0, b.Kernel("k", 0), {}, {}, b.Constant(tiles));
    Program program(b.Build(), {test_fill});
    return program.Create();
  };
  EXPECT_EQ(result(0), WEFT_OK);
  EXPECT_EQ(result((int64_t{1} << 48) - 1), WEFT_OK);
  EXPECT_EQ(result(int64_t{1} << 48), WEFT_ERROR_STEP_SIZE);
  EXPECT_EQ(result(-1), WEFT_ERROR_STEP_SIZE);
}

// A tile runs to its end, so that its work has to be bounded for deadlines to hold.
TEST(Layout, WorkOfATileIsBounded) {
  const auto result = [](int64_t tiles, int64_t flops, int64_t most) {
    PlanBuilder b("work");
    b.Launch(0, b.Kernel("first", 0), {}, {}, b.Constant(1));
    b.Launch(0, b.Kernel("k", 0), {}, {}, b.Constant(tiles), {0, b.Constant(flops), 0})
        .mutable_launch()
        ->set_max_tile_flops(most);
    Program program(b.Build(), {test_fill, test_fill});
    const int created = program.Create();
    if (created == WEFT_ERROR_TILE_WORK) {
      EXPECT_EQ(program.error().index, 1u);
      EXPECT_EQ(program.error().expected, most);
      EXPECT_EQ(program.error().got, flops / std::max<int64_t>(tiles, 1));
    }
    return created;
  };
  constexpr int64_t kMost = int64_t{1} << 40;
  for (const int64_t tiles : {0, 1, 3}) {
    const int64_t most = kMost * std::max<int64_t>(tiles, 1);
    EXPECT_EQ(result(tiles, most, kMost), WEFT_OK);
    EXPECT_EQ(result(tiles, most + 3, kMost), WEFT_ERROR_TILE_WORK);
  }
  EXPECT_EQ(result(1, INT64_MAX, 0), WEFT_OK);  // no limit
  EXPECT_EQ(result(1, -1, 1), WEFT_OK);
}

TEST(Shapes, AreComparedWithTheirFormulas) {
  PlanBuilder b("shapes");
  const Dim n = b.Symbol("n", 0, 0);
  b.Input("x", DataType::kF32, {n});
  b.Input("y", DataType::kF32, {b.Static(2), Dim{b.Mul(n.formula, b.Constant(3)), "3*n"}});
  Program program(b.Build());
  const int64_t x[] = {5}, y[] = {2, 15}, wrong[] = {2, 14};
  const int64_t* shapes[] = {x, y};
  int64_t symbols[1];
  weft_bind_symbols(&program.plan(), shapes, symbols);
  EXPECT_EQ(symbols[0], 5);
  ASSERT_EQ(program.Create({5}), WEFT_OK);
  WeftError error;
  EXPECT_EQ(weft_check_shapes(program.instance(), shapes, &error), WEFT_OK);
  shapes[1] = wrong;
  EXPECT_EQ(weft_check_shapes(program.instance(), shapes, &error), WEFT_ERROR_SHAPE);
  EXPECT_EQ(error.index, 1u);
  EXPECT_EQ(error.dim, 1u);
  EXPECT_EQ(error.expected, 15);
}

// ---- Control flow ----

TEST(Run, CondTakesOneBranch) {
  PlanBuilder b("cond");
  const uint32_t p = b.Input("p", DataType::kBool, {});
  const uint32_t y = b.Output("y", DataType::kF32, {});
  const uint32_t one = b.Constant(1), two = b.Constant(2), fill = b.Kernel("fill", 0);
  const uint32_t yes = b.Block(), no = b.Block();
  b.Cond(0, p, yes, no);
  b.Launch(yes, fill, {y}, {one, one}, one);
  b.Launch(no, fill, {y}, {one, two}, one);
  Program program(b.Build(), {test_fill});
  ASSERT_EQ(program.Create(), WEFT_OK);
  for (const uint8_t predicate : {1, 0}) {
    float result = 0;
    ASSERT_EQ(program.Run({&predicate}, {&result}), WEFT_OK);
    EXPECT_EQ(result, predicate != 0 ? 1.0f : 2.0f);
  }
}

TEST(Run, AssertionsNameTheirStep) {
  PlanBuilder b("assert");
  const uint32_t p = b.Input("p", DataType::kBool, {});
  const uint32_t inner = b.Block(), empty = b.Block();
  b.Cond(0, p, empty, inner);
  b.Assert(inner, p, "p has to hold");
  Program program(b.Build());
  ASSERT_EQ(program.Create(), WEFT_OK);
  uint8_t predicate = 1;
  EXPECT_EQ(program.Run({&predicate}, {}), WEFT_OK);
  predicate = 0;
  EXPECT_EQ(program.Run({&predicate}, {}), WEFT_ERROR_ASSERT);
  EXPECT_STREQ(program.plan().steps[program.error().index].message, "p has to hold");
}

// From the commit step on, neither deadline nor cancellation stops a run.
TEST(Run, CommittedRunsFinish) {
  for (const bool commit_first : {true, false}) {
    PlanBuilder b("commit");
    const uint32_t w = b.Variable("w", DataType::kF32, {1}, false, true);
    const uint32_t y = b.Output("y", DataType::kF32, {});
    const uint32_t one = b.Constant(1), fill = b.Kernel("fill", 0);
    if (commit_first) b.Commit();
    b.Launch(0, fill, {commit_first ? w : y}, {one, one}, one);
    if (!commit_first) b.Commit();
    b.Launch(0, fill, {w}, {one, b.Constant(2)}, one);
    Program program(b.Build(), {test_fill});
    ASSERT_EQ(program.Create(), WEFT_OK);
    float value = 0, output = 0;
    program.args.deadline = 0;
    // The first step is looked at before it commits.
    EXPECT_EQ(program.Run({}, {&output}, {&value}), WEFT_ERROR_DEADLINE);
    EXPECT_EQ(value, 0.0f);
    // Cancelled by the first step itself.
    static uint8_t cancel;
    cancel = 0;
    Program cancelling(b.Build(), {+[](void* const* buffers, const int64_t* sizes, int64_t begin,
                                       int64_t end, void* scratch) {
                         __atomic_store_n(&cancel, uint8_t{1}, __ATOMIC_RELEASE);
                         test_fill(buffers, sizes, begin, end, scratch);
                       }});
    ASSERT_EQ(cancelling.Create(), WEFT_OK);
    cancelling.args.cancel = &cancel;
    EXPECT_EQ(cancelling.Run({}, {&output}, {&value}),
              commit_first ? WEFT_OK : WEFT_ERROR_CANCELLED);
    EXPECT_EQ(value, commit_first ? 2.0f : 0.0f);
    EXPECT_EQ(output, commit_first ? 0.0f : 1.0f);
  }
}

TEST(Run, DevicesMayGiveUpALaunch) {
  const WeftDeviceFunctions functions = {
      [](void* queue, const WeftLaunch*) { return *static_cast<const int*>(queue); }, nullptr,
      [](void*, void*, const void*, int64_t) { return 0; }, nullptr};
  PlanBuilder b("commit");
  const uint32_t w = b.Variable("w", DataType::kF32, {1}, false, true);
  const uint32_t y = b.Output("y", DataType::kF32, {});
  const uint32_t one = b.Constant(1), fill = b.Kernel("fill", 0);
  b.Launch(0, fill, {y}, {one, one}, one);
  b.Commit();
  b.Launch(0, fill, {w}, {one, one}, one);
  Program program(b.Build(), {test_fill});
  ASSERT_EQ(program.Create(), WEFT_OK);
  float value = 0, output = 0;
  int result = WEFT_OK;
  program.args.device = &functions;
  program.args.queue = &result;
  EXPECT_EQ(program.Run({}, {&output}, {&value}), WEFT_OK);
  for (const auto& [returned, expected] :
       {std::pair<int, int>(WEFT_ERROR_DEADLINE, WEFT_ERROR_DEADLINE),
        std::pair<int, int>(WEFT_ERROR_CANCELLED, WEFT_ERROR_CANCELLED),
        std::pair<int, int>(1, WEFT_ERROR_DEVICE)}) {
    result = returned;
    EXPECT_EQ(program.Run({}, {&output}, {&value}), expected);
    EXPECT_EQ(program.error().index, 0u);
  }
}

// What came before the commit step is waited for while the run may still be stopped: on a device it
// may not have been started.
TEST(Run, WaitsBeforeItCommitsWhereItHasLimits) {
  struct Queue {
    std::string calls = "";
    int read_result = WEFT_OK;
    uint8_t cancel = 0, cancel_in_read = 0;
  };
  const WeftDeviceFunctions functions = {
      [](void* queue, const WeftLaunch*) {
        static_cast<Queue*>(queue)->calls += "launch ";
        return 0;
      },
      nullptr,
      [](void* queue, void*, const void*, int64_t bytes) {
        auto* self = static_cast<Queue*>(queue);
        self->calls += "read " + std::to_string(bytes) + " ";
        self->cancel = self->cancel_in_read;
        return self->read_result;
      },
      [](void* queue) { static_cast<Queue*>(queue)->calls += "commit "; }};
  PlanBuilder b("commit");
  const uint32_t w = b.Variable("w", DataType::kF32, {1}, false, true);
  const uint32_t y = b.Output("y", DataType::kF32, {});
  const uint32_t one = b.Constant(1), fill = b.Kernel("fill", 0);
  b.Launch(0, fill, {y}, {one, one}, one);
  b.Commit();
  b.Launch(0, fill, {w}, {one, one}, one);
  Program program(b.Build(), {test_fill});
  ASSERT_EQ(program.Create(), WEFT_OK);
  float value = 0, output = 0;
  program.args.device = &functions;
  const auto run = [&](Queue queue, bool limited, int expected) {
    program.args.queue = &queue;
    program.args.cancel = limited ? &queue.cancel : nullptr;
    EXPECT_EQ(program.Run({}, {&output}, {&value}), expected);
    EXPECT_EQ(program.error().committed, expected == WEFT_OK ? 1u : 0u);
    return queue.calls;
  };
  EXPECT_EQ(run({}, false, WEFT_OK), "launch commit launch ");
  EXPECT_EQ(run({}, true, WEFT_OK), "launch read 0 commit launch ");
  EXPECT_EQ(run({.read_result = WEFT_ERROR_DEADLINE}, true, WEFT_ERROR_DEADLINE), "launch read 0 ");
  EXPECT_EQ(run({.read_result = 1}, true, WEFT_ERROR_DEVICE), "launch read 0 ");
  EXPECT_EQ(run({.cancel_in_read = 1}, true, WEFT_ERROR_CANCELLED), "launch read 0 ");
}

TEST(Run, PrintsTensors) {
  PlanBuilder b("print");
  const uint32_t two = b.Constant(2), three = b.Constant(3);
  const uint32_t x = b.Input("x", DataType::kF32, {b.Static(2), b.Static(3)});
  const uint32_t s = b.Input("s", DataType::kI64, {});
  const uint32_t h = b.Input("h", DataType::kF16, {b.Static(3)});
  const uint32_t p = b.Input("p", DataType::kBool, {b.Static(2)});
  const uint32_t e = b.Input("e", DataType::kBF16, {b.Static(0)});
  b.Print(0, x, DataType::kF32, {two, three}, "x", 100);
  b.Print(0, x, DataType::kF32, {two, three}, "", 4);
  b.Print(0, s, DataType::kI64, {}, "s", 1);
  b.Print(0, h, DataType::kF16, {three}, "h", 3);
  b.Print(0, p, DataType::kBool, {two}, "p", 0);
  b.Print(0, e, DataType::kBF16, {b.Constant(0)}, "e", 5);
  const uint32_t huge = b.Constant(int64_t{1} << 40);
  b.Print(0, e, DataType::kBF16, {huge, huge, b.Constant(0)}, "no overflow", 5);
  Program program(b.Build());
  ASSERT_EQ(program.Create(), WEFT_OK);
  const float values[] = {0, 0.5f, 1, 1.5f, -2, 1e10f};
  const int64_t scalar = -5;
  const uint16_t half[] = {0x3c00, 0xc100, 0x7c00};
  const bool bools[] = {true, false};
  testing::internal::CaptureStderr();
  ASSERT_EQ(program.Run({values, &scalar, half, bools, bools}, {}), WEFT_OK);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "x: f32[2, 3] [[0, 0.5, 1], [1.5, -2, 1e+10]]\n"
            "f32[2, 3] [[0, 0.5, 1], [1.5, ...]]\n"
            "s: i64[] -5\n"
            "h: f16[3] [1, -2.5, inf]\n"
            "p: bool[2] [...]\n"
            "e: bf16[0]\n"
            "no overflow: bf16[1099511627776, 1099511627776, 0]\n");
}

TEST(Profile, CountsRuns) {
  Program program(AddPlan(64), {test_add});
  ASSERT_EQ(program.Create(), WEFT_OK);
  WeftStepProfile profile[1] = {};
  program.args.profile = profile;
  std::vector<float> a(64, 1), y(64);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(program.Run({a.data(), a.data()}, {y.data()}), WEFT_OK);
  EXPECT_EQ(profile[0].runs, 5u);
  EXPECT_EQ(profile[0].bytes, uint64_t{5} << 30);
}

}  // namespace
}  // namespace weft
