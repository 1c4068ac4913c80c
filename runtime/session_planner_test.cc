// Sessions that compile what they run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "runtime/testing/plan_builder.h"
#include "runtime/testing/test_session.h"
#include "runtime/testing/threads.h"

namespace weft {
namespace {

using plan_testing::MakeTestPackage;
using plan_testing::TestPackage;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A planner as the compiler is one: for each request a package with one plan.
class FakePlanner {
 public:
  absl::StatusOr<std::string> operator()(const PlanRequest& request) {
    ++calls_;
    TestPackage package = MakeTestPackage();
    auto* plans = package.manifest.mutable_targets(0)->mutable_plans();
    std::vector<Plan> kept;
    for (const Plan& plan : *plans) {
      if (plan.signature() == request.signature()) kept.push_back(plan);
      if (request.fetches_size() > 0 && plan.signature() == "join") {
        kept.push_back(plan);
        kept.back().clear_signature();
      }
    }
    if (request.signature() == "init") return absl::InvalidArgumentError("node 'w' (model.cc:7)");
    plans->Clear();
    for (const Plan& plan : kept) *plans->Add() = plan;
    return package.Bytes();
  }
  int calls() const { return calls_; }

 private:
  std::atomic<int> calls_{0};
};

TEST(SessionWithPlanner, CompilesOncePerShape) {
  FakePlanner planner;
  SessionOptions options;
  options.max_cached_plans = 2;
  const auto session = MakeTestSession(std::ref(planner), options);
  ASSERT_NE(session, nullptr);
  EXPECT_EQ(planner.calls(), 1);
  EXPECT_EQ(session->Signatures().size(), 6u);
  EXPECT_EQ(session->Prepare("predict", {{-1, 4}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(planner.calls(), 1);
  const auto run = [&](int64_t batch) {
    return session->Run("predict", {{"x", Floats({batch, 4})}}).status();
  };
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(run(1).ok());
  EXPECT_EQ(planner.calls(), 2);
  EXPECT_TRUE(run(2).ok());
  EXPECT_TRUE(run(1).ok());
  EXPECT_EQ(planner.calls(), 3);
  EXPECT_TRUE(run(3).ok());  // batch 2 goes
  EXPECT_TRUE(run(1).ok());
  EXPECT_EQ(planner.calls(), 4);
  EXPECT_TRUE(run(2).ok());
  EXPECT_EQ(planner.calls(), 5);
}

// What a planner runs on the thread that asks is not taken for what was asked for.
TEST(SessionWithPlanner, PlannersMayRunSessions) {
  FakePlanner planner;
  const auto inner = MakeTestSession();
  const auto session =
      MakeTestSession([&](const PlanRequest& request) -> absl::StatusOr<std::string> {
        NamedTensors outputs;
        const absl::Status status = inner->RunInto("predict", {{"x", Floats({5, 4})}}, &outputs);
        return status.ok() ? planner(request) : status;
      });
  ASSERT_NE(session, nullptr);
  NamedTensors outputs;
  for (const int64_t batch : {2, 5}) {
    ASSERT_TRUE(session->RunInto("predict", {{"x", Floats({batch, 4})}}, &outputs).ok());
    EXPECT_EQ(outputs.at("y").shape()[0], batch);
  }
}

TEST(SessionWithPlanner, VariablesAreShared) {
  FakePlanner planner;
  auto session = MakeTestSession(std::ref(planner));
  ASSERT_NE(session, nullptr);
  auto init = session->Run("init", {});
  EXPECT_THAT(Message(init.status()), HasSubstr("node 'w' (model.cc:7)"));
  ASSERT_TRUE(session->SetVariables({{"w", Floats({4}, 1)}}).ok());
  ASSERT_TRUE(session->Run("step", {{"d", Floats({4})}}).ok());
  EXPECT_THAT(session->Run("read", {})->at("w").values<float>(), ElementsAre(1, 3, 5, 7));
}

TEST(SessionWithPlanner, FetchesNodes) {
  FakePlanner planner;
  auto session = MakeTestSession(std::ref(planner));
  ASSERT_NE(session, nullptr);
  const NamedTensors feeds = {{"x", Floats({2, 4})}, {"z", Floats({2, 2})}};
  auto results = session->Run(feeds, {"sum", "sum"});
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->size(), 2u);
  EXPECT_EQ((*results)[1].values<float>()[0], 28.0f);
  EXPECT_FALSE(session->Run({{"x", Floats({2, 4})}}, {"sum"}).ok());
  EXPECT_FALSE(session->Run(feeds, {}).ok());
  EXPECT_EQ(MakeTestSession()->Run(feeds, {"sum"}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

// Does not return before it is told to.
class SlowPlanner {
 public:
  absl::StatusOr<std::string> operator()(const PlanRequest& request) {
    if (!request.signature().empty()) {
      ++started_;
      while (!released_) absl::SleepFor(absl::Milliseconds(1));
    }
    return planner_(request);
  }
  void Release() { released_ = true; }
  int started() const { return started_; }

 private:
  FakePlanner planner_;
  std::atomic<bool> released_{false};
  std::atomic<int> started_{0};
};

// Deadline and cancellation hold while a plan is compiled, for whoever asked first and for all
// others; and the plan is there afterwards.
TEST(SessionWithPlanner, LimitsHoldWhileAPlanIsCompiled) {
  SlowPlanner planner;
  auto session = MakeTestSession(std::ref(planner));
  ASSERT_NE(session, nullptr);
  const NamedTensors feeds = {{"x", Floats({2, 4})}};
  for (int i = 0; i < 2; ++i) {
    RunOptions run;
    run.deadline = absl::Now() + absl::Milliseconds(30);
    const absl::Status status = session->Run("predict", feeds, run).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    EXPECT_THAT(Message(status), HasSubstr("being compiled"));
    std::atomic<bool> cancel{false};
    std::thread canceller([&] {
      absl::SleepFor(absl::Milliseconds(20));
      cancel = true;
    });
    run = {};
    run.cancel = &cancel;
    EXPECT_EQ(session->Run("predict", feeds, run).status().code(), absl::StatusCode::kCancelled);
    canceller.join();
  }
  EXPECT_EQ(planner.started(), 1);
  std::thread waiter([&] { EXPECT_TRUE(session->Run("predict", feeds).ok()); });
  planner.Release();
  waiter.join();
  EXPECT_TRUE(session->Run("predict", feeds).ok());
  EXPECT_EQ(planner.started(), 1);
  // Past deadlines start nothing.
  RunOptions past;
  past.deadline = absl::InfinitePast();
  EXPECT_EQ(session->Run("predict", {{"x", Floats({3, 4})}}, past).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(planner.started(), 1);
}

TEST(SessionWithPlanner, EndsOnlyAfterWhatItCompiles) {
  SlowPlanner planner;
  auto session = MakeTestSession(std::ref(planner));
  ASSERT_NE(session, nullptr);
  for (int64_t batch = 0; batch < 20; ++batch) {  // more than are compiled at once
    RunOptions run;
    run.deadline = absl::Now() + absl::Milliseconds(5);
    EXPECT_EQ(session->Run("predict", {{"x", Floats({batch, 4})}}, run).status().code(),
              absl::StatusCode::kDeadlineExceeded);
  }
  std::atomic<bool> ended{false};
  std::thread end([&] {
    session.reset();
    ended = true;
  });
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_FALSE(ended);
  planner.Release();
  end.join();
}

// An error of the compiler goes to everyone who waits for it: nobody compiles the same again.
TEST(SessionWithPlanner, ManyThreadsFailOnce) {
  // A thread that is held up until after the error asks anew: then all is done again, with more
  // time for threads to come.
  int started = 4;
  for (absl::Duration wait = absl::Milliseconds(10); started != 1 && wait < absl::Minutes(1);
       wait *= 2) {
    SlowPlanner planner;
    auto session = MakeTestSession(std::ref(planner));
    ASSERT_NE(session, nullptr);
    std::atomic<int> arrived{0};
    {
      const Threads threads(4, [&](int thread) {
        ++arrived;
        RunOptions run;
        if (thread % 2 == 1) run.deadline = absl::Now() + absl::Hours(1);
        EXPECT_THAT(Message(session->Run("init", {}, run).status()), HasSubstr("model.cc:7"));
      });
      while (arrived < 4) absl::SleepFor(absl::Milliseconds(1));
      absl::SleepFor(wait);
      planner.Release();
    }
    started = planner.started();
  }
  EXPECT_EQ(started, 1);
}

// What a planner throws is an error like others, also on a thread of its own (with a deadline).
TEST(SessionWithPlanner, ExceptionsAreErrors) {
  FakePlanner planner;
  auto session = MakeTestSession([&](const PlanRequest& request) -> absl::StatusOr<std::string> {
    if (!request.signature().empty()) throw std::length_error("too long");
    return planner(request);
  });
  ASSERT_NE(session, nullptr);
  for (int i = 0; i < 4; ++i) {
    RunOptions run;
    if (i % 2 == 1) run.deadline = absl::Now() + absl::Seconds(100);
    const absl::Status status = session->Run("predict", {{"x", Floats({2, 4})}}, run).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
    EXPECT_THAT(Message(status), HasSubstr("too long"));
  }
}

TEST(SessionWithPlanner, ManyThreadsCompileOnce) {
  FakePlanner planner;
  auto session = MakeTestSession(std::ref(planner));
  ASSERT_NE(session, nullptr);
  {
    const Threads threads(
        8, [&](int) { EXPECT_TRUE(session->Run("predict", {{"x", Floats({5, 4})}}).ok()); });
  }
  EXPECT_EQ(planner.calls(), 2);
}

}  // namespace
}  // namespace weft
