#include "runtime/core/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/plan_tables.h"
#include "runtime/testing/plan_builder.h"
#include "runtime/testing/test_kernels.h"
#include "runtime/testing/threads.h"

namespace weft {
namespace {

using plan_testing::Dim;
using plan_testing::PlanBuilder;
using ::testing::ElementsAre;

struct AlignedFree {
  void operator()(void* memory) const { free(memory); }
};
using Memory = std::unique_ptr<void, AlignedFree>;

Memory Allocate(int64_t bytes) {
  const size_t rounded = (static_cast<size_t>(bytes) + 127) / 64 * 64;
  return Memory(aligned_alloc(64, rounded));
}

class Pool {
 public:
  explicit Pool(int threads) : memory_(Allocate(static_cast<int64_t>(weft_pool_bytes(threads)))) {
    pool_ = weft_pool_start(memory_.get(), threads);
  }
  ~Pool() { weft_pool_stop(pool_); }
  WeftPool* get() const { return pool_; }

 private:
  Memory memory_;
  WeftPool* pool_;
};

// A plan with its memory, run with addresses given by the test.
class Program {
 public:
  explicit Program(const Plan& plan, std::vector<WeftKernel> kernels = {}) {
    auto tables = PlanTables::Build(plan, 1 << 20, 1 << 20);
    EXPECT_TRUE(tables.ok()) << tables.status();
    tables_ = *std::move(tables);
    tables_->SetKernels(kernels);
  }
  int Create(std::vector<int64_t> symbols = {}) {
    memory_ = Allocate(static_cast<int64_t>(weft_instance_bytes(&plan())));
    const int result =
        weft_instance_create(&plan(), symbols.data(), memory_.get(), &instance_, &error_);
    if (result == WEFT_OK) arena_ = Allocate(weft_arena_bytes(instance_));
    return result;
  }
  int Run(std::vector<const void*> inputs, std::vector<void*> outputs,
          std::vector<void*> variables = {}) {
    args.arena = arena_.get();
    const int threads = args.pool == nullptr ? 1 : weft_pool_threads(args.pool);
    scratch_ = Allocate(weft_scratch_bytes(instance_) * threads);
    args.scratch = scratch_.get();
    args.inputs = inputs.data();
    args.outputs = outputs.data();
    args.variables = variables.data();
    return weft_run(instance_, &args, &error_);
  }
  const WeftPlan& plan() const { return tables_->plan(); }
  WeftInstance* instance() const { return instance_; }
  const WeftError& error() const { return error_; }

  WeftRunArgs args = [] {
    WeftRunArgs args = {};
    args.deadline = INT64_MAX;
    return args;
  }();

 private:
  std::unique_ptr<PlanTables> tables_;
  Memory memory_, arena_, scratch_;
  WeftInstance* instance_ = nullptr;
  WeftError error_ = {};
};

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
    return weft_arena_bytes(program.instance());
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

// A launch that would take seconds, of tiles of a millisecond.
constexpr int64_t kSlowTiles = 5000;
std::atomic<int64_t> slow_tiles{0};
std::atomic<uint8_t> slow_cancel{0};
void SlowKernel(void* const*, const int64_t* sizes, int64_t begin, int64_t end, void*) {
  struct timespec millisecond = {0, 1000000};
  for (int64_t tile = begin; tile < end; ++tile) {
    nanosleep(&millisecond, nullptr);
    // Each thread that gets so far cancels, so that none begins another tile.
    if (++slow_tiles >= sizes[0]) slow_cancel = 1;
  }
}

int64_t Nanoseconds() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
}

// Also where the plan's figures say that the launch is quick, or nothing.
TEST(Run, LongLaunchesAreInterrupted) {
  for (const int threads : {1, 2, 3}) {
    for (const int64_t bytes : {int64_t{0}, int64_t{200000}, int64_t{1} << 30}) {
      const Pool pool(threads);
      PlanBuilder b("slow");
      b.Launch(0, b.Kernel("slow", 0), {}, {b.Constant(20)}, b.Constant(kSlowTiles),
               {b.Constant(bytes), 0, 0});
      Program program(b.Build(), {SlowKernel});
      ASSERT_EQ(program.Create(), WEFT_OK);
      program.args.pool = pool.get();
      slow_tiles = 0;
      slow_cancel = 0;
      static_assert(sizeof(slow_cancel) == 1);
      program.args.cancel = reinterpret_cast<const uint8_t*>(&slow_cancel);
      EXPECT_EQ(program.Run({}, {}), WEFT_ERROR_CANCELLED);
      EXPECT_GE(slow_tiles, 20);
      if (bytes > 200000) EXPECT_LT(slow_tiles, 20 + threads);  // each ends its tile

      program.args.cancel = nullptr;
      slow_tiles = 0;
      program.args.deadline = Nanoseconds() + 20'000'000;
      EXPECT_EQ(program.Run({}, {}), WEFT_ERROR_DEADLINE);
      EXPECT_GE(Nanoseconds(), program.args.deadline);
      EXPECT_LT(slow_tiles, kSlowTiles / 2);
    }
  }
}

// Nothing is lost or done twice by the pieces that a launch is looked at between.
TEST(Run, LaunchesThatCouldBeInterruptedAreWhole) {
  for (const int threads : {1, 3}) {
    const Pool pool(threads);
    for (const int64_t bytes : {int64_t{0}, int64_t{1000}, int64_t{1} << 30}) {
      for (const int64_t tiles : {1, 2, 7, 64, 1000, 100000}) {
        PlanBuilder b("count");
        const uint32_t y = b.Output("y", DataType::kI8, {b.Static(tiles)});
        b.Launch(0, b.Kernel("count", 0), {y}, {}, b.Constant(tiles), {b.Constant(bytes), 0, 0});
        Program program(b.Build(), {+[](void* const* buffers, const int64_t*, int64_t begin,
                                        int64_t end, void*) {
                          for (int64_t i = begin; i < end; ++i) {
                            ++static_cast<int8_t*>(buffers[0])[i];
                          }
                        }});
        ASSERT_EQ(program.Create(), WEFT_OK);
        program.args.pool = pool.get();
        program.args.deadline = Nanoseconds() + 3'600'000'000'000;
        std::vector<int8_t> counts(static_cast<size_t>(tiles), 0);
        ASSERT_EQ(program.Run({}, {counts.data()}), WEFT_OK);
        EXPECT_THAT(counts, ::testing::Each(1));
      }
    }
  }
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

// ---- Threads ----

// y = a + b over n elements, said to cost enough for all threads.
Plan AddPlan(int64_t n) {
  PlanBuilder b("add");
  const Dim size = b.Static(n);
  const uint32_t a = b.Input("a", DataType::kF32, {size});
  const uint32_t c = b.Input("b", DataType::kF32, {size});
  const uint32_t y = b.Output("y", DataType::kF32, {size});
  b.Launch(0, b.Kernel("add", 0), {a, c, y}, {size.formula}, b.Tiles(size.formula),
           {b.Constant(1 << 30), 0, 0});
  return b.Build();
}

TEST(Threads, ShareTilesOnceEach) {
  for (const int threads : {1, 2, 3, 8}) {
    const Pool pool(threads);
    EXPECT_EQ(weft_pool_threads(pool.get()), threads);
    for (const int64_t n : {0, 1, 64, 65, 1000, 10007}) {
      Program program(AddPlan(n), {test_add});
      ASSERT_EQ(program.Create(), WEFT_OK);
      program.args.pool = pool.get();
      std::vector<float> a(static_cast<size_t>(n) + 1), b(a), y(a);
      for (size_t i = 0; i < a.size(); ++i) {
        a[i] = static_cast<float>(i);
        b[i] = 1;
      }
      y.back() = -1;
      for (int round = 0; round < 20; ++round) {
        std::fill(y.begin(), y.end() - 1, 0.0f);
        ASSERT_EQ(program.Run({a.data(), b.data()}, {y.data()}), WEFT_OK);
        for (int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], a[i] + 1);
        ASSERT_EQ(y.back(), -1);
      }
    }
  }
}

std::atomic<int> threads_inside{0};
std::thread::id first_thread;
sigset_t helper_signals;  // what the other one blocks

// Runs two tiles, each of which waits until two threads are in the kernel at once (or ten seconds
// have passed).
void RunOnTwoThreads() {
  threads_inside = 0;
  first_thread = std::this_thread::get_id();
  PlanBuilder b("wait");
  b.Launch(0, b.Kernel("wait", 0), {}, {}, b.Constant(2), {b.Constant(1 << 30), 0, 0});
  Program program(b.Build(), {+[](void* const*, const int64_t*, int64_t, int64_t, void*) {
                    if (std::this_thread::get_id() != first_thread) {
                      pthread_sigmask(SIG_BLOCK, nullptr, &helper_signals);
                    }
                    ++threads_inside;
                    for (int i = 0; i < 10000 && threads_inside < 2; ++i) {
                      struct timespec millisecond = {0, 1000000};
                      nanosleep(&millisecond, nullptr);
                    }
                    EXPECT_EQ(threads_inside, 2);
                  }});
  const Pool pool(2);
  ASSERT_EQ(program.Create(), WEFT_OK);
  program.args.pool = pool.get();
  ASSERT_EQ(program.Run({}, {}), WEFT_OK);
}

TEST(Threads, ReallyHelp) { RunOnTwoThreads(); }

// Handlers of the program run on its own threads, but those of faults where the fault is.
TEST(Threads, LeaveSignalsToTheProgram) {
  sigfillset(&helper_signals);
  sigset_t before, after;
  pthread_sigmask(SIG_BLOCK, nullptr, &before);
  RunOnTwoThreads();
  for (const int signal : {SIGINT, SIGTERM, SIGALRM, SIGCHLD, SIGPROF, SIGUSR1}) {
    EXPECT_EQ(sigismember(&helper_signals, signal), 1) << strsignal(signal);
  }
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) {
    EXPECT_EQ(sigismember(&helper_signals, signal), 0) << strsignal(signal);
  }
  pthread_sigmask(SIG_BLOCK, nullptr, &after);
  for (int signal = 1; signal < 32; ++signal) {
    EXPECT_EQ(sigismember(&after, signal), sigismember(&before, signal)) << strsignal(signal);
  }
}

TEST(Threads, SmallLaunchesStayOnTheCallingThread) {
  static std::atomic<int> elsewhere;
  static std::thread::id caller;
  elsewhere = 0;
  caller = std::this_thread::get_id();
  PlanBuilder b("small");
  b.Launch(0, b.Kernel("k", 0), {}, {}, b.Constant(64), {b.Constant(1000), b.Constant(1000), 0});
  Program program(b.Build(), {+[](void* const*, const int64_t*, int64_t, int64_t, void*) {
                    if (std::this_thread::get_id() != caller) ++elsewhere;
                  }});
  const Pool pool(4);
  ASSERT_EQ(program.Create(), WEFT_OK);
  program.args.pool = pool.get();
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(program.Run({}, {}), WEFT_OK);
  EXPECT_EQ(elsewhere, 0);
}

Plan ScratchPlan(int64_t tiles, int64_t elements) {
  PlanBuilder b("scratch");
  const uint32_t y = b.Output("y", DataType::kI64, {b.Static(tiles)});
  b.Launch(0, b.Kernel("scratch", 0), {y}, {b.Constant(elements)}, b.Constant(tiles),
           {b.Constant(1 << 30), 0, b.Constant(8 * elements)});
  return b.Build();
}

TEST(Threads, EachHasItsOwnScratch) {
  constexpr int64_t kTiles = 500, kElements = 300;
  const Pool pool(4);
  Program program(ScratchPlan(kTiles, kElements), {test_scratch});
  ASSERT_EQ(program.Create(), WEFT_OK);
  EXPECT_EQ(weft_scratch_bytes(program.instance()), (8 * kElements + 63) / 64 * 64);
  program.args.pool = pool.get();
  std::vector<int64_t> y(kTiles);
  for (int round = 0; round < 50; ++round) {
    ASSERT_EQ(program.Run({}, {y.data()}), WEFT_OK);
    for (int64_t tile = 0; tile < kTiles; ++tile) {
      ASSERT_EQ(y[tile], tile * kElements + kElements * (kElements - 1) / 2);
    }
  }
}

TEST(Threads, SeveralProgramsShareAPool) {
  const Pool pool(3);
  const Threads callers(4, [&](int caller) {
    constexpr int64_t kTiles = 200;
    const int64_t elements = 10 + caller;
    Program program(ScratchPlan(kTiles, elements), {test_scratch});
    ASSERT_EQ(program.Create(), WEFT_OK);
    program.args.pool = pool.get();
    std::vector<int64_t> y(kTiles);
    for (int round = 0; round < 200; ++round) {
      ASSERT_EQ(program.Run({}, {y.data()}), WEFT_OK);
      for (int64_t tile = 0; tile < kTiles; ++tile) {
        ASSERT_EQ(y[tile], tile * elements + elements * (elements - 1) / 2);
      }
    }
  });
}

// Launches at all distances: threads that look for work, fall asleep, and sleep.
TEST(Threads, WakeAfterEveryPause) {
  const Pool pool(4);
  Program program(AddPlan(640), {test_add});
  ASSERT_EQ(program.Create(), WEFT_OK);
  program.args.pool = pool.get();
  std::vector<float> a(640, 1), b(640, 2), y(640);
  for (int pause = 0; pause < 300; ++pause) {
    std::fill(y.begin(), y.end(), 0.0f);
    ASSERT_EQ(program.Run({a.data(), b.data()}, {y.data()}), WEFT_OK);
    for (const float value : y) ASSERT_EQ(value, 3.0f);
    struct timespec time = {0, pause * 1000};
    nanosleep(&time, nullptr);
  }
}

// A child has none of the threads: it runs alone, and does not wait for them at the end.
TEST(Threads, ForkedChildrenRunAlone) {
  const Pool pool(4);
  Program program(AddPlan(6400), {test_add});
  ASSERT_EQ(program.Create(), WEFT_OK);
  program.args.pool = pool.get();
  std::vector<float> a(6400, 1), b(6400, 2), y(6400);
  ASSERT_EQ(program.Run({a.data(), b.data()}, {y.data()}), WEFT_OK);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(30);
    std::fill(y.begin(), y.end(), 0.0f);
    bool good = program.Run({a.data(), b.data()}, {y.data()}) == WEFT_OK;
    for (const float value : y) good &= value == 3.0f;
    weft_pool_stop(pool.get());
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  ASSERT_EQ(program.Run({a.data(), b.data()}, {y.data()}), WEFT_OK);
}

// The threads of this process but for this one, once all of them sleep, and none is left that is
// about to end (one that was joined may be listed a little longer).
std::vector<pid_t> OtherThreadsOnceAsleep() {
  for (;;) {
    std::vector<pid_t> threads;
    bool asleep = true;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
      const auto thread = static_cast<pid_t>(std::stoi(entry.path().filename().string()));
      if (thread == gettid()) continue;
      threads.push_back(thread);
      std::string stat;  // "7 (name) S ..."
      std::getline(std::ifstream(entry.path() / "stat"), stat);
      const size_t name_end = stat.rfind(") ");
      asleep &= name_end != std::string::npos && stat[name_end + 2] == 'S';
    }
    if (asleep) return threads;
    struct timespec millisecond = {0, 1000000};
    nanosleep(&millisecond, nullptr);
  }
}

// Where the pool's threads may run is for the program and its operator to say, also after they have
// started and moved away from the caller's processor; and also where they are sent to just the
// processors that they had moved to.
TEST(Threads, StayWhereTheyAreAllowed) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  if (CPU_COUNT(&before) < 2) GTEST_SKIP() << "needs two processors";
  cpu_set_t two, ones[2];
  CPU_ZERO(&two);
  for (int found = 0, processor = 0; found < 2; ++processor) {
    if (!CPU_ISSET(processor, &before)) continue;
    CPU_SET(processor, &two);
    CPU_ZERO(&ones[found]);
    CPU_SET(processor, &ones[found++]);
  }
  const Pool pool(3);
  Program program(AddPlan(6400), {test_add});
  ASSERT_EQ(program.Create(), WEFT_OK);
  program.args.pool = pool.get();
  std::vector<float> a(6400, 1), b(6400, 2), y(6400);
  const auto run_within = [&](const cpu_set_t& allowed) {
    // Asleep, threads are not about to move away.
    std::vector<pid_t> threads = OtherThreadsOnceAsleep();
    threads.push_back(gettid());
    for (const pid_t thread : threads) {
      EXPECT_EQ(sched_setaffinity(thread, sizeof(allowed), &allowed), 0) << thread;
    }
    for (int i = 0; i < 200; ++i) EXPECT_EQ(program.Run({a.data(), b.data()}, {y.data()}), WEFT_OK);
    for (const pid_t thread : threads) {
      cpu_set_t now, outside;
      EXPECT_EQ(sched_getaffinity(thread, sizeof(now), &now), 0);
      CPU_OR(&outside, &now, &allowed);
      EXPECT_TRUE(CPU_EQUAL(&outside, &allowed)) << CPU_COUNT(&now) << " processors";
      EXPECT_GT(CPU_COUNT(&now), 0);
    }
    return threads.size();
  };
  run_within(before);
  for (int round = 0; round < 20; ++round) {
    EXPECT_GE(run_within(two), 3u);
    EXPECT_GE(run_within(ones[round % 2]), 3u);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(Threads, PoolsStartAndStop) {
  for (int i = 0; i < 50; ++i) {
    const Pool pool(1 + i % 6);
    Program program(AddPlan(640), {test_add});
    ASSERT_EQ(program.Create(), WEFT_OK);
    program.args.pool = pool.get();
    std::vector<float> a(640, 1), b(640, 2), y(640);
    if (i % 2 == 0) ASSERT_EQ(program.Run({a.data(), b.data()}, {y.data()}), WEFT_OK);
  }
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
