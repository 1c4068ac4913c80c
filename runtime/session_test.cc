#include "runtime/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "proto/file.h"
#include "proto/npy.h"
#include "proto/safetensors.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/limits.h"
#include "runtime/package.h"
#include "runtime/testing/plan_builder.h"
#include "runtime/testing/test_device.h"
#include "runtime/testing/test_kernels.h"
#include "runtime/testing/test_session.h"
#include "runtime/testing/threads.h"
#include "runtime/variables.h"

namespace weft {
namespace {

using plan_testing::MakeTestPackage;
using plan_testing::PlanBuilder;
using plan_testing::TestPackage;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Session, RunsWithAnyBatch) {
  auto session = MakeTestSession();
  for (const int64_t batch : {1, 3, 1000, 0, 3}) {
    const HostTensor x = Floats({batch, 4});
    auto outputs = session->Run("predict", {{"x", x}});
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    const HostTensor& y = outputs->at("y");
    ASSERT_EQ(y.shape(), (std::vector<int64_t>{batch, 4}));
    for (int64_t i = 0; i < 4 * batch; ++i) {
      ASSERT_EQ(y.values<float>()[i], 2 * x.values<float>()[i] + (i < 4 ? 0.5f : 0.0f));
    }
  }
}

TEST(Session, OutputsBelongToTheCaller) {
  auto session = MakeTestSession();
  auto first = session->Run("predict", {{"x", Floats({1, 4})}});
  auto second = session->Run("predict", {{"x", Floats({1, 4}, 10)}});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->at("y").values<float>()[1], 2.5f);
  EXPECT_EQ(second->at("y").values<float>()[1], 22.5f);
}

TEST(Session, RunsIntoTensorsOfTheCaller) {
  auto session = MakeTestSession();
  NamedTensors outputs;
  ASSERT_TRUE(session->RunInto("predict", {{"x", Floats({2, 4})}}, &outputs).ok());
  const HostTensor copy = outputs.at("y");
  EXPECT_EQ(copy.values<float>()[7], 14.0f);
  ASSERT_TRUE(session->RunInto("predict", {{"x", Floats({2, 4}, 1)}}, &outputs).ok());
  EXPECT_EQ(outputs.at("y").data(), copy.data());
  EXPECT_EQ(copy.values<float>()[7], 16.0f);
  // Another shape, another dtype, or a place that is not aligned: a tensor of its own.
  ASSERT_TRUE(session->RunInto("predict", {{"x", Floats({3, 4}, 2)}}, &outputs).ok());
  EXPECT_EQ(outputs.at("y").TypeString(), "f32[3, 4]");
  EXPECT_EQ(copy.values<float>()[7], 16.0f);
  outputs["y"] = HostTensor::Create(DataType::kI32, {2, 4}).value();
  ASSERT_TRUE(session->RunInto("predict", {{"x", Floats({2, 4}, 3)}}, &outputs).ok());
  EXPECT_EQ(outputs.at("y").values<float>()[7], 20.0f);
  HostTensor room = Floats({9});
  outputs["y"] = HostTensor::View(DataType::kF32, {2, 4}, room.mutable_values<float>().data() + 1);
  ASSERT_TRUE(session->RunInto("predict", {{"x", Floats({2, 4}, 4)}}, &outputs).ok());
  EXPECT_EQ(outputs.at("y").values<float>()[7], 22.0f);
  EXPECT_EQ(room.values<float>()[8], 8.0f);
  // A view, which may be of a file that is mapped for reading.
  const HostTensor before = Floats({2, 4}, 6);
  outputs["y"] = HostTensor::View(DataType::kF32, {2, 4}, before.data());
  ASSERT_TRUE(session->RunInto("predict", {{"x", Floats({2, 4}, 4)}}, &outputs).ok());
  EXPECT_EQ(outputs.at("y").values<float>()[7], 22.0f);
  EXPECT_EQ(before.values<float>()[7], 13.0f);
  // The feed itself.
  HostTensor x = Floats({2, 4}, 5);
  outputs["y"] = x;
  ASSERT_TRUE(session->RunInto("predict", {{"x", x}}, &outputs).ok());
  EXPECT_EQ(x.values<float>()[7], 24.0f);
  EXPECT_EQ(x.values<float>()[0], 10.5f);
  // One that the caller took away, which was a scalar.
  NamedTensors counts;
  std::vector<HostTensor> taken;
  for (int64_t i = 1; i <= 3; ++i) {
    ASSERT_TRUE(session->RunInto("count", {{"limit", HostTensor::Scalar(i)}}, &counts).ok());
    taken.push_back(std::move(counts.at("n")));
  }
  for (int64_t i = 1; i <= 3; ++i) {
    EXPECT_EQ(taken[static_cast<size_t>(i - 1)].values<int64_t>()[0], i);
  }
  // What fails leaves the caller its tensors.
  outputs["other"] = Floats({1});
  RunOptions past;
  past.deadline = absl::InfinitePast();
  EXPECT_FALSE(session->RunInto("predict", {{"x", x}}, &outputs, past).ok());
  EXPECT_FALSE(session->RunInto("predict", {{"z", x}}, &outputs).ok());
  EXPECT_FALSE(
      session->RunInto("count", {{"limit", HostTensor::Scalar<int64_t>(1001)}}, &outputs).ok());
  EXPECT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs.at("y").data(), x.data());
}

// Where input and output share a name, one map carries a state on.
TEST(Session, RunsIntoWhatItIsFed) {
  TestPackage package = MakeTestPackage();
  for (auto& signature : *package.manifest.mutable_signatures()) {
    if (signature.name() == "predict") signature.mutable_outputs(0)->set_name("x");
  }
  for (Plan& plan : *package.manifest.mutable_targets(0)->mutable_plans()) {
    if (plan.signature() == "predict") plan.mutable_outputs(0)->set_name("x");
  }
  auto session = MakeTestSession(package);
  NamedTensors state = {{"x", Floats({2, 4}, 1)}};
  const void* place = state.at("x").data();
  for (const float expected : {16.0f, 32.0f, 64.0f}) {
    const absl::Status status = session->RunInto("predict", state, &state);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(state.at("x").values<float>()[7], expected);
    EXPECT_EQ(state.at("x").data(), place);
  }
}

// A state that was saved and read again lies in a file that is mapped for reading.
TEST(Session, RunsIntoWhatWasRead) {
  const std::string path = testing::TempDir() + "/state.npz";
  ASSERT_TRUE(SaveNpz(path, {{"y", Floats({2, 4}, 1)}}).ok());
  auto session = MakeTestSession();
  const std::shared_ptr<const Bytes> file = Bytes::Map(path).value();
  NamedTensors outputs = ReadNpz(file->view(), file).value();
  ASSERT_TRUE(session->RunInto("predict", {{"x", Floats({2, 4})}}, &outputs).ok());
  EXPECT_EQ(outputs.at("y").values<float>()[7], 14.0f);
  EXPECT_EQ(LoadNpz(path)->at("y").values<float>()[7], 8.0f);
}

TEST(Session, TellsItsSignatures) {
  auto session = MakeTestSession();
  const auto signatures = session->Signatures();
  ASSERT_EQ(signatures.size(), 6u);
  EXPECT_EQ(signatures[0].name, "predict");
  ASSERT_EQ(signatures[0].inputs.size(), 1u);
  EXPECT_EQ(signatures[0].inputs[0].dtype, DataType::kF32);
  EXPECT_THAT(signatures[0].inputs[0].dims, ElementsAre("batch", "4"));
  EXPECT_EQ(signatures[0].outputs[0].name, "y");
}

TEST(Session, FeedErrorsSayWhatIsWrong) {
  auto session = MakeTestSession();
  const auto error = [&](const std::string& signature, const NamedTensors& feeds) {
    auto outputs = session->Run(signature, feeds);
    EXPECT_FALSE(outputs.ok());
    return Message(outputs.status());
  };
  EXPECT_THAT(error("predit", {}), HasSubstr("did you mean 'predict'?"));
  EXPECT_THAT(error("predict", {}), HasSubstr("needs input 'x'"));
  EXPECT_THAT(error("predict", {{"x", Floats({1, 4})}, {"xx", Floats({1})}}),
              HasSubstr("no input 'xx'"));
  EXPECT_THAT(error("predict", {{"x", HostTensor::Of<int64_t>({1, 4}, {1, 2, 3, 4})}}),
              HasSubstr("expected f32[batch, 4], got i64[1, 4]"));
  EXPECT_THAT(error("predict", {{"x", Floats({4})}}), HasSubstr("rank 1 instead of 2"));
  EXPECT_THAT(error("predict", {{"x", Floats({2, 5})}}),
              HasSubstr("expected f32[batch, 4], got f32[2, 5] (dimension 1 has to be 4)"));
  EXPECT_THAT(error("join", {{"x", Floats({3, 4})}, {"z", Floats({4, 2})}}),
              HasSubstr("batch is 3 from x (dimension 0) but 4 from z (dimension 0)"));
}

TEST(Session, VariablesStartUndefined) {
  auto session = MakeTestSession();
  auto read = session->Run("read", {});
  EXPECT_EQ(read.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(read.status()), HasSubstr("variable 'w' has no value"));
  EXPECT_EQ(session->GetVariables().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session->SaveCheckpoint(testing::TempDir() + "/undefined").code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(std::filesystem::exists(testing::TempDir() + "/undefined"));
}

TEST(Session, TrainsItsVariables) {
  auto session = MakeTestSession();
  ASSERT_TRUE(session->Run("init", {}).ok());
  for (int step = 1; step <= 3; ++step) {
    auto outputs = session->Run("step", {{"d", Floats({4})}});
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    EXPECT_EQ(outputs->at("total").values<float>()[0], 4.0f + 6.0f * static_cast<float>(step));
  }
  auto variables = session->GetVariables();
  ASSERT_TRUE(variables.ok());
  EXPECT_THAT(variables->at("w").values<float>(), ElementsAre(1, 4, 7, 10));
  EXPECT_THAT(session->Run("read", {})->at("w").values<float>(), ElementsAre(1, 4, 7, 10));
}

TEST(Session, SetVariablesChecksThem) {
  auto session = MakeTestSession();
  EXPECT_TRUE(session->SetVariables({{"w", Floats({4}, 5)}}).ok());
  EXPECT_THAT(session->Run("read", {})->at("w").values<float>(), ElementsAre(5, 6, 7, 8));
  EXPECT_EQ(session->SetVariables({{"ww", Floats({4})}}).code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(session->SetVariables({{"w", Floats({5})}})),
              HasSubstr("expected f32[4], got f32[5]"));
  EXPECT_THAT(session->Run("read", {})->at("w").values<float>(), ElementsAre(5, 6, 7, 8));
}

TEST(Session, PackagedValuesAreNotChangedForOthers) {
  TestPackage package = MakeTestPackage();
  package.manifest.mutable_variables(0)->set_has_value(true);
  package.weights["w"] = Floats({4}, 3);
  auto session = MakeTestSession(package);
  EXPECT_THAT(session->Run("read", {})->at("w").values<float>(), ElementsAre(3, 4, 5, 6));
  ASSERT_TRUE(session->Run("step", {{"d", Floats({4})}}).ok());
  EXPECT_THAT(session->Run("read", {})->at("w").values<float>(), ElementsAre(3, 5, 7, 9));
  EXPECT_THAT(package.weights["w"].values<float>(), ElementsAre(3, 4, 5, 6));
}

TEST(Session, LoopsAndTheirLimits) {
  auto session = MakeTestSession();
  auto outputs = session->Run("count", {{"limit", HostTensor::Scalar<int64_t>(1000)}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(outputs->at("n").values<int64_t>()[0], 1000);
  outputs = session->Run("count", {{"limit", HostTensor::Scalar<int64_t>(1001)}});
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(Message(outputs.status()), HasSubstr("passed 1000 iterations"));
  EXPECT_THAT(Message(outputs.status()), HasSubstr("model.cc:2"));
}

TEST(Session, DeadlineAndCancellation) {
  TestPackage package = MakeTestPackage();
  // A loop without a limit that never ends.
  for (Plan& plan : *package.manifest.mutable_targets(0)->mutable_plans()) {
    if (plan.signature() != "count") continue;
    plan.mutable_blocks(0)->mutable_steps(1)->mutable_while_step()->set_max_iterations(0);
  }
  auto session = MakeTestSession(package);
  const NamedTensors feeds = {{"limit", HostTensor::Scalar<int64_t>(INT64_MAX)}};
  RunOptions options;
  options.deadline = absl::Now() + absl::Milliseconds(30);
  auto outputs = session->Run("count", feeds, options);
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kDeadlineExceeded) << outputs.status();

  std::atomic<bool> cancel{false};
  std::thread canceller([&] {
    absl::SleepFor(absl::Milliseconds(20));
    cancel = true;
  });
  options = {};
  options.cancel = &cancel;
  outputs = session->Run("count", feeds, options);
  canceller.join();
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kCancelled) << outputs.status();
}

TEST(Session, ACancelledRunChangesNoVariable) {
  auto session = MakeTestSession();
  ASSERT_TRUE(session->Run("init", {}).ok());
  RunOptions options;
  options.deadline = absl::InfinitePast();
  auto outputs = session->Run("step", {{"d", Floats({4})}}, options);
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(session->Run("read", {})->at("w").values<float>(), ElementsAre(1, 1, 1, 1));
}

TEST(Session, ThreadsTakeTurnsAtVariables) {
  auto session = MakeTestSession();
  ASSERT_TRUE(session->Run("init", {}).ok());
  constexpr int kThreads = 4, kRuns = 200;
  {
    const Threads threads(kThreads, [&](int) {
      for (int i = 0; i < kRuns; ++i) {
        ASSERT_TRUE(session->Run("step", {{"d", Floats({4}, 1)}}).ok());
        auto w = session->Run("read", {});
        ASSERT_TRUE(w.ok()) << w.status();
        // Never half an update: w[i] = 1 + k (1 + i) with one k for all.
        const auto values = w->at("w").values<float>();
        const float k = values[0] - 1;
        for (int j = 0; j < 4; ++j) ASSERT_EQ(values[j], 1 + k * static_cast<float>(1 + j));
        ASSERT_TRUE(session->Run("predict", {{"x", Floats({i % 7, 4})}}).ok());
      }
    });
  }
  EXPECT_EQ(session->GetVariables()->at("w").values<float>()[0], 1.0f + kThreads * kRuns);
}

RunLimits Within(absl::Duration time) { return RunLimits({.deadline = absl::Now() + time}); }

// Two that train without a pause do not keep out one that reads, nor readers one that trains.
TEST(VariablesLock, EveryonesTurnComes) {
  using Mode = VariablesLock::Mode;
  for (const Mode others : {Mode::kWrite, Mode::kRead}) {
    VariablesLock lock;
    std::atomic<bool> stop{false};
    const Threads threads(3, [&](int) {
      while (!stop) {
        EXPECT_TRUE(lock.Acquire(others).ok());
        absl::SleepFor(absl::Milliseconds(1));
        lock.Release(others);
      }
    });
    absl::SleepFor(absl::Milliseconds(20));
    const Mode mode = others == Mode::kWrite ? Mode::kRead : Mode::kWrite;
    for (int i = 0; i < 20; ++i) {
      const absl::Status entered = lock.Acquire(mode, Within(absl::Seconds(20)));
      EXPECT_TRUE(entered.ok()) << entered;
      if (!entered.ok()) break;
      lock.Release(mode);
    }
    stop = true;
  }
}

TEST(VariablesLock, WhoGivesUpHoldsNobodyBack) {
  using Mode = VariablesLock::Mode;
  VariablesLock lock;
  ASSERT_TRUE(lock.Acquire(Mode::kRead).ok());
  std::thread writer([&] {
    EXPECT_EQ(lock.Acquire(Mode::kWrite, Within(absl::Milliseconds(30))).code(),
              absl::StatusCode::kDeadlineExceeded);
  });
  absl::SleepFor(absl::Milliseconds(10));
  EXPECT_TRUE(lock.Acquire(Mode::kRead, Within(absl::Seconds(20))).ok());
  writer.join();
  lock.Release(Mode::kRead);
  lock.Release(Mode::kRead);
  std::atomic<bool> cancel{true};
  ASSERT_TRUE(lock.Acquire(Mode::kWrite, RunLimits({.cancel = &cancel})).ok());
  EXPECT_EQ(lock.Acquire(Mode::kRead, RunLimits({.cancel = &cancel})).code(),
            absl::StatusCode::kCancelled);
  lock.Release(Mode::kWrite);
}

TEST(Session, CheckpointsRoundTrip) {
  const std::string path = testing::TempDir() + "/checkpoint.safetensors";
  auto session = MakeTestSession();
  ASSERT_TRUE(session->SetVariables({{"w", Floats({4}, 7)}}).ok());
  ASSERT_TRUE(session->SaveCheckpoint(path, {{"epoch", "12"}}).ok());
  EXPECT_EQ(session->SaveCheckpoint(path, {{"bad", "\xff"}}).code(),
            absl::StatusCode::kInvalidArgument);
  auto other = MakeTestSession();
  auto metadata = other->RestoreCheckpoint(path);
  ASSERT_TRUE(metadata.ok()) << metadata.status();
  EXPECT_EQ(metadata->at("epoch"), "12");
  EXPECT_THAT(other->Run("read", {})->at("w").values<float>(), ElementsAre(7, 8, 9, 10));
}

TEST(Session, BadCheckpointsChangeNothing) {
  const std::string path = testing::TempDir() + "/bad.safetensors";
  auto session = MakeTestSession();
  ASSERT_TRUE(session->SetVariables({{"w", Floats({4}, 7)}}).ok());
  std::string good = WriteSafetensors({{"w", Floats({4}, 1)}});
  good.back() ^= 1;
  ASSERT_TRUE(WriteFileAtomically(path, good).ok());
  EXPECT_EQ(session->RestoreCheckpoint(path).status().code(), absl::StatusCode::kDataLoss);
  ASSERT_TRUE(WriteFileAtomically(path, WriteSafetensors({{"v", Floats({4}, 1)}})).ok());
  EXPECT_THAT(Message(session->RestoreCheckpoint(path).status()),
              HasSubstr("no value for variable 'w'"));
  ASSERT_TRUE(WriteFileAtomically(path, WriteSafetensors({{"w", Floats({5}, 1)}})).ok());
  EXPECT_THAT(Message(session->RestoreCheckpoint(path).status()),
              HasSubstr("expected f32[4], got f32[5]"));
  EXPECT_EQ(session->RestoreCheckpoint(path + ".none").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(session->Run("read", {})->at("w").values<float>(), ElementsAre(7, 8, 9, 10));
}

TEST(Session, ProfilesSteps) {
  auto session = MakeTestSession();
  ASSERT_TRUE(session->Run("predict", {{"x", Floats({2, 4})}}).ok());
  EXPECT_TRUE(session->Profile().empty());
  session->EnableProfiling(true);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(session->Run("predict", {{"x", Floats({2, 4})}}).ok());
  session->EnableProfiling(false);
  ASSERT_TRUE(session->Run("predict", {{"x", Floats({2, 4})}}).ok());
  const auto profile = session->Profile();
  ASSERT_EQ(profile.size(), 4u);
  EXPECT_EQ(profile[2].signature, "predict");
  EXPECT_EQ(profile[2].label, "scale");
  EXPECT_EQ(profile[2].node, "node_scale");
  EXPECT_EQ(profile[2].location, "model.cc:3");
  EXPECT_EQ(profile[2].runs, 3);
  EXPECT_EQ(profile[2].bytes, 32);
  EXPECT_EQ(profile[2].flops, 8);
  EXPECT_GT(profile[2].seconds, 0);
}

TEST(Session, AsksForNoMoreThanTheLimit) {
  SessionOptions options;
  options.threads = 1;
  options.max_memory_bytes = 1000;
  auto session = MakeTestSession(MakeTestPackage(), options);
  EXPECT_TRUE(session->Run("predict", {{"x", Floats({30, 4})}}).ok());
  auto outputs = session->Run("predict", {{"x", Floats({32, 4})}});
  EXPECT_EQ(outputs.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(outputs.status()), HasSubstr("needs 1024 bytes"));
}

// The limit is one for all that the session holds: what is kept makes room, what is in use does
// not.
TEST(Session, ItsCallsShareTheLimit) {
  SessionOptions options;
  options.threads = 1;
  options.max_memory_bytes = 2000;
  auto session = MakeTestSession(MakeTestPackage(), options);
  for (const int64_t batch : {30, 40, 50, 60, 30}) {  // 32 bytes each
    EXPECT_TRUE(session->Run("predict", {{"x", Floats({batch, 4})}}).ok()) << batch;
  }
  auto prepared = session->Prepare("predict", {{40, 4}});
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  auto refused = session->Run("predict", {{"x", Floats({30, 4})}});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(refused.status()),
              HasSubstr("needs 992 bytes with these shapes, other calls of the session hold 1280"));
  prepared->reset();
  EXPECT_TRUE(session->Run("predict", {{"x", Floats({30, 4})}}).ok());
}

// The address space of this process, in bytes.
size_t AddressSpace() {
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * 4096;
}

TEST(Session, KeepsNoMoreThanItMay) {
  for (const bool bounded : {false, true}) {
    SessionOptions options;
    if (bounded) options.max_cached_bytes = 40 << 20;
    auto session = MakeTestSession(MakeTestPackage(), options);
    const auto run = [&](int64_t batch) {
      ASSERT_TRUE(session->Run("predict", {{"x", Floats({batch, 4})}}).ok());
    };
    run(1);
    const size_t before = AddressSpace();
    for (int64_t i = 0; i < 10; ++i) run(500'000 + i);  // 16 MB of arena each
    const size_t kept = AddressSpace() - before;
    // Half of it where the device's is this machine's, all of it and more where it is another's.
    if (bounded) {
      EXPECT_LT(kept, size_t{150} << 20);
    } else {
      EXPECT_GT(kept, size_t{150} << 20);
    }
  }
}

// What is short of memory is named by node and source line.
TEST(Session, BlamesTheLargestPart) {
  TestPackage package = MakeTestPackage();
  for (Plan& plan : *package.manifest.mutable_targets(0)->mutable_plans()) {
    if (plan.signature() != "predict") continue;
    plan.mutable_buffers(1)->set_node("result");
    plan.mutable_buffers(2)->set_node("doubled");
    // The other one smaller.
    plan.mutable_buffers(3)->set_size(plan.buffers(4).size());
    plan.mutable_blocks(0)->mutable_steps(0)->clear_kind();
    plan.mutable_blocks(0)->mutable_steps()->DeleteSubrange(0, 1);
    plan.mutable_blocks(0)->mutable_steps()->RemoveLast();
    plan.set_commit_step(2);
  }
  SessionOptions options;
  options.threads = 1;
  options.max_memory_bytes = 1000;
  auto session = MakeTestSession(package, options);
  const auto error = [&](int64_t batch) {
    return Message(
        session->Run("predict", {{"x", HostTensor::View(DataType::kF32, {batch, 4}, nullptr)}})
            .status());
  };
  constexpr char kPlace[] = "of node 'doubled', written by scale at node_scale (model.cc:3)";
  EXPECT_THAT(error(100),
              HasSubstr(std::string("the largest part is 1600 bytes for a value ") + kPlace));
  // 2^45 rows of 4 floats: too large for the arena, and for the output as well.
  EXPECT_THAT(error(int64_t{1} << 43), HasSubstr(kPlace));
  options.max_memory_bytes = 0;
  session = MakeTestSession(package, options);
  // 64 TB, which no machine has.
  EXPECT_THAT(error(int64_t{1} << 42), HasSubstr(kPlace));
}

// Nothing can stop a tile, so it may not have more work than the plan says.
TEST(Session, RefusesTilesWithTooMuchWork) {
  TestPackage package = MakeTestPackage();
  Plan* predict = package.manifest.mutable_targets(0)->mutable_plans(0);
  ASSERT_EQ(predict->signature(), "predict");
  predict->mutable_blocks(0)->mutable_steps(2)->mutable_launch()->set_max_tile_flops(11);
  auto session = MakeTestSession(package);
  EXPECT_TRUE(session->Prepare("predict", {{2, 4}}).ok());
  const absl::Status refused = session->Prepare("predict", {{3, 4}}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(refused),
              HasSubstr("scale at node_scale (model.cc:3): expected at most 11 operations in a "
                        "piece of work that nothing can stop, got 12 with these shapes; feed "
                        "smaller tensors"));
}

// A child that was forked, with no run under way, goes on by itself.
TEST(Session, WorksInAForkedChild) {
  SessionOptions options;
  options.threads = 3;
  auto session = Session::FromPackage(MakeTestPackage().Bytes(), options);
  ASSERT_TRUE(session.ok()) << session.status();
  const NamedTensors large = {{"x", Floats({200'000, 4})}};  // worth several threads
  const auto all = [&] {
    auto y = (*session)->Run("predict", large);
    return y.ok() && y->at("y").values<float>()[400'000] == 800'000 &&
           (*session)->Run("init", {}).ok() && (*session)->Run("step", {{"d", Floats({4})}}).ok() &&
           (*session)->Run("read", {})->at("w").values<float>()[3] == 4.0f &&
           (*session)->SaveCheckpoint(testing::TempDir() + "/forked.safetensors").ok() &&
           (*session)->RestoreCheckpoint(testing::TempDir() + "/forked.safetensors").ok();
  };
  ASSERT_TRUE(all());
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool ok = all();
    session->reset();
    _exit(ok ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(all());
}

TEST(Session, SpecialisedPlansArePreferred) {
  TestPackage package = MakeTestPackage();
  // For batch 2, predict fills with 7.
  PlanBuilder b("predict");
  b.Input("x", DataType::kF32, {b.Static(2), b.Static(4)});
  const uint32_t y = b.Output("y", DataType::kF32, {b.Static(2), b.Static(4)});
  b.Launch(0, b.Kernel("fill", TEST_FILL), {y}, {b.Constant(8), b.Constant(7)}, b.Constant(1));
  (*b.plan().mutable_specialization())["batch"] = 2;
  *package.manifest.mutable_targets(0)->add_plans() = b.Build();
  auto session = MakeTestSession(package);
  EXPECT_EQ(session->Run("predict", {{"x", Floats({2, 4})}})->at("y").values<float>()[5], 7.0f);
  EXPECT_EQ(session->Run("predict", {{"x", Floats({3, 4})}})->at("y").values<float>()[5], 10.0f);
  // The general plan's complaint.
  EXPECT_THAT(Message(session->Run("predict", {{"x", Floats({3, 5})}}).status()),
              HasSubstr("[batch, 4]"));
}

TEST(Call, FeedsInPlace) {
  auto session = MakeTestSession();
  auto call = session->Prepare("predict", {{1, 4}});
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ((*call)->input_name(0), "x");
  EXPECT_EQ((*call)->output_name(0), "y");
  EXPECT_EQ((*call)->Run().code(), absl::StatusCode::kFailedPrecondition);
  HostTensor x = Floats({1, 4});
  ASSERT_TRUE((*call)->Feed(0, x).ok());
  ASSERT_TRUE((*call)->Run().ok());
  EXPECT_THAT((*call)->Output(0).values<float>(), ElementsAre(0.5f, 2.5f, 4.5f, 6.5f));
  x.mutable_values<float>()[0] = 10;
  ASSERT_TRUE((*call)->Run().ok());
  EXPECT_EQ((*call)->Output(0).values<float>()[0], 20.5f);
  EXPECT_FALSE((*call)->Feed(0, Floats({2, 4})).ok());
}

TEST(Call, FeedsThatLieBadlyAreCopied) {
  auto session = MakeTestSession();
  auto call = session->Prepare("predict", {{1, 4}});
  ASSERT_TRUE(call.ok());
  HostTensor memory = Floats({8});
  const HostTensor misaligned =
      HostTensor::View(DataType::kF32, {1, 4}, memory.values<float>().data() + 1);
  ASSERT_TRUE((*call)->Feed(0, misaligned).ok());
  ASSERT_TRUE((*call)->Run().ok());
  EXPECT_THAT((*call)->Output(0).values<float>(), ElementsAre(2.5f, 4.5f, 6.5f, 8.5f));
  // Its own output: y <- 2 y + 0.5.
  ASSERT_TRUE((*call)->Feed(0, (*call)->Output(0)).ok());
  ASSERT_TRUE((*call)->Run().ok());
  EXPECT_THAT((*call)->Output(0).values<float>(), ElementsAre(5.5f, 9.5f, 13.5f, 17.5f));
}

TEST(Call, OutlivesItsSession) {
  auto session = MakeTestSession();
  auto call = session->Prepare("predict", {{1, 4}});
  ASSERT_TRUE(call.ok());
  session.reset();
  ASSERT_TRUE((*call)->Feed(0, Floats({1, 4})).ok());
  EXPECT_TRUE((*call)->Run().ok());
}

TEST(Call, StatesItsPeak) {
  SessionOptions options;
  options.threads = 1;
  auto session = MakeTestSession(MakeTestPackage(), options);
  EXPECT_EQ((*session->Prepare("predict", {{1, 4}}))->peak_bytes(), 64 + 16);
  EXPECT_EQ((*session->Prepare("predict", {{1000, 4}}))->peak_bytes(), 2 * 16000);
  EXPECT_EQ((*session->Prepare("init", {}))->peak_bytes(), 0);
}

TEST(Call, HugeShapesAreRefused) {
  auto session = MakeTestSession();
  EXPECT_EQ(session->Prepare("predict", {{int64_t{1} << 61, 4}}).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(session->Prepare("predict", {{int64_t{1} << 45, 4}}).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(session->Prepare("predict", {{-1, 4}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(session->Prepare("predict", {}).status().code(), absl::StatusCode::kInvalidArgument);
  // 2^47 bytes: more than a process can map.
  EXPECT_EQ(session->Prepare("predict", {{int64_t{1} << 42, 4}}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(Call, HugeShapesOfUnusedInputsAreRefused) {
  TestPackage package = MakeTestPackage();
  PlanBuilder b("unused");
  const auto n = b.Symbol("n", 0, 0), m = b.Symbol("m", 0, 1);
  b.Input("x", DataType::kF32, {n, m});
  b.plan().clear_buffers();
  b.plan().mutable_formulas()->RemoveLast();  // its size in bytes
  b.plan().mutable_formulas()->RemoveLast();
  Plan plan = b.Build();
  plan_testing::AddSignature(plan, &package.manifest);
  *package.manifest.mutable_targets(0)->add_plans() = plan;
  auto session = MakeTestSession(package);
  EXPECT_TRUE(session->Prepare("unused", {{1, 4}}).ok());
  EXPECT_EQ(session->Prepare("unused", {{int64_t{1} << 40, int64_t{1} << 40}}).status().code(),
            absl::StatusCode::kOutOfRange);
}

// Declaring what is new waits for no run, and keeps none waiting.
TEST(Variables, AreDeclaredWhileRunsAreUnderWay) {
  std::shared_ptr<Device> device = NewTestDevice();
  if (device == nullptr) device = *MakeCpuDevice(1);
  const auto devices = std::make_shared<SessionDevices>(device);
  Variables variables(devices);
  TestPackage second = MakeTestPackage();
  *second.manifest.add_variables() = second.manifest.variables(0);
  second.manifest.mutable_variables(1)->set_name("v");
  for (const TestPackage& package : {MakeTestPackage(), MakeTestPackage(), second}) {
    ASSERT_TRUE(variables.lock().Acquire(VariablesLock::Mode::kWrite).ok());
    auto opened = Package::Open(Bytes::Of(package.Bytes()), devices);
    ASSERT_TRUE(opened.ok()) << opened.status();
    std::future<absl::Status> declared =
        std::async(std::launch::async, [&] { return variables.Declare(**opened); });
    const bool done = declared.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
    EXPECT_TRUE(done);
    variables.lock().Release(VariablesLock::Mode::kWrite);
    EXPECT_TRUE(declared.get().ok());
  }
  EXPECT_THAT(variables.Names(), ElementsAre("v", "w"));
  second.manifest.mutable_variables(1)->add_shape(2);
  second.manifest.mutable_variables(0)->set_name("u");
  for (Plan& plan : *second.manifest.mutable_targets(0)->mutable_plans()) plan.clear_variables();
  second.manifest.mutable_targets(0)->clear_plans();
  auto other = Package::Open(Bytes::Of(second.Bytes()), devices);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_THAT(Message(variables.Declare(**other)), HasSubstr("expected f32[4], got f32[4, 2]"));
  EXPECT_THAT(variables.Names(), ElementsAre("v", "w"));
}

}  // namespace
}  // namespace weft
