// Launches on a pool of threads, and launches that are interrupted. They mean most under
// --config=tsan.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "runtime/core/executor.h"
#include "runtime/core/program_for_test.h"
#include "runtime/testing/plan_builder.h"
#include "runtime/testing/test_kernels.h"
#include "runtime/testing/threads.h"

namespace weft {
namespace {

using plan_testing::PlanBuilder;

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
  EXPECT_EQ(weft_scratch_bytes(program.instance(), 0), (8 * kElements + 63) / 64 * 64);
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
    alarm(200);
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
  for (int i = 0;; ++i) {
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
    if (i == 60'000) {
      ADD_FAILURE() << "threads are awake after a minute";
      return threads;
    }
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

}  // namespace
}  // namespace weft
