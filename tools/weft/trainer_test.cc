#include "tools/weft/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "proto/file.h"
#include "tools/common/exit_code.h"
#include "tools/weft/fake_session.h"

namespace {
// How far the clock on the wall is ahead, and how much further it is set each time that it is read.
time_t seconds_ahead = 0, seconds_set = 0;
}  // namespace

// In place of libc's, for all code that is linked into this program.
extern "C" int clock_gettime(clockid_t clock, struct timespec* time) noexcept {
  const long result = syscall(SYS_clock_gettime, clock, time);
  if (clock == CLOCK_REALTIME) time->tv_sec += seconds_ahead += seconds_set;
  return static_cast<int>(result);
}

namespace weft::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Train, RunsWholeBatchesAndWritesCheckpoints) {
  FakeSession session;
  const DataSet data = TenNumbers();
  TrainingOptions options;
  options.epochs = 3;
  options.batch_size = 3;
  options.checkpoint_folder = Folder("train");
  options.metadata = {{"seed", "0"}};
  const auto result = Train(session, {&data, {0, 1, 2, 3, 4, 5, 6, 7}}, {&data, {8, 9}}, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(session.train_batches, ElementsAre(3, 3, 3, 3, 3, 3));
  EXPECT_EQ(result->steps, 6);
  ASSERT_EQ(result->history.size(), 3u);
  EXPECT_EQ(result->history[2].epoch, 3);
  // The mean moves towards that of the training rows, away from 0, and so towards the others too.
  EXPECT_LT(result->history[2].validation.at("loss"), result->history[0].validation.at("loss"));
  EXPECT_EQ(result->best_epoch, 3);
  EXPECT_EQ(result->peak_bytes, 4096);
  FakeSession restored;
  const auto metadata = restored.RestoreCheckpoint(options.checkpoint_folder + "/last.safetensors");
  ASSERT_TRUE(metadata.ok()) << metadata.status();
  EXPECT_EQ(metadata->at("epoch"), "3");
  EXPECT_EQ(metadata->at("seed"), "0");
  EXPECT_EQ(restored.mean, session.mean);
  EXPECT_TRUE(std::filesystem::exists(options.checkpoint_folder + "/best.safetensors"));
}

// Whoever sets the clock on the wall changes no time that is measured.
TEST(Train, TimesAreNotOfTheWall) {
  for (const time_t step : {-3600, 3600}) {
    seconds_set = step;
    const auto before = std::chrono::system_clock::now();
    const auto jump = std::chrono::system_clock::now() - before;
    FakeSession session;
    const DataSet data = TenNumbers();
    TrainingOptions options;
    options.epochs = 3;
    const auto result = Train(session, {&data, {0, 1, 2, 3, 4, 5, 6, 7}}, {&data, {8, 9}}, options);
    seconds_set = seconds_ahead = 0;
    EXPECT_EQ(jump < std::chrono::seconds(0), step < 0);  // the test's clock works
    EXPECT_GT(std::chrono::abs(jump), std::chrono::minutes(30));
    ASSERT_TRUE(result.ok()) << result.status();
    for (const double seconds : {result->seconds, result->compile_seconds}) {
      EXPECT_GE(seconds, 0);
      EXPECT_LT(seconds, 1000);
    }
  }
}

TEST(Train, ResumedIsTheSameAsInOneGo) {
  const DataSet data = TenNumbers();
  const Rows rows = {&data, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}};
  TrainingOptions options;
  options.batch_size = 4;
  FakeSession whole;
  options.epochs = 5;
  ASSERT_TRUE(Train(whole, rows, {}, options).ok());
  FakeSession parts;
  options.checkpoint_folder = Folder("resume");
  options.epochs = 2;
  ASSERT_TRUE(Train(parts, rows, {}, options).ok());
  FakeSession later;
  options.epochs = 5;
  options.resume = true;
  const auto result = Train(later, rows, {}, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(later.mean, whole.mean);
  EXPECT_EQ(result->epochs_before, 2);
  ASSERT_EQ(result->history.size(), 5u);
  EXPECT_EQ(result->history[1].epoch, 2);
}

TEST(Train, InterruptedGoesOnWhereItStopped) {
  SmallRun run;
  auto& [data, rows, held_out, options] = run;
  FakeSession whole;
  const auto expected = Train(whole, rows, held_out, options);
  ASSERT_TRUE(expected.ok()) << expected.status();
  // In the first epoch, in the middle of one, at the last step of one, and at the last step of all,
  // which leaves nothing to a resumed run but the validation.
  for (const int steps : {1, 6, 8, 12}) {
    options.checkpoint_folder = Folder("interrupted");
    options.resume = false;
    FakeSession session;
    session.interrupt_after = steps;
    const auto first = Train(session, rows, held_out, options);
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_EQ(first->signal, SIGINT);
    EXPECT_EQ(first->steps, steps);
    EXPECT_EQ(first->checkpoint, options.checkpoint_folder + "/last.safetensors");
    EXPECT_EQ(first->history.size() * 4 + static_cast<size_t>(first->batches_done),
              static_cast<size_t>(steps));
    if (first->batches_done > 0 && !first->history.empty()) {
      // Variables from inside an epoch are no result of the one before.
      TrainingOptions fewer = options;
      fewer.resume = true;
      fewer.epochs = static_cast<int64_t>(first->history.size());
      FakeSession inside;
      const absl::Status status = Train(inside, rows, held_out, fewer).status();
      EXPECT_EQ(ExitCodeOf(status), kUsage) << status;
    }
    FakeSession later;
    options.resume = true;
    const auto second = Train(later, rows, held_out, options);
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_EQ(second->signal, 0);
    EXPECT_EQ(second->steps, 12 - steps);
    EXPECT_TRUE(second->did_something());
    EXPECT_EQ(later.mean, whole.mean);
    EXPECT_EQ(later.RestoreCheckpoint(second->checkpoint)->at("epoch"), "3");
    EXPECT_TRUE(std::filesystem::exists(options.checkpoint_folder + "/best.safetensors"));
    ASSERT_EQ(second->history.size(), 3u);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(second->history[i].training, expected->history[i].training) << i;
      EXPECT_EQ(second->history[i].validation, expected->history[i].validation) << i;
    }
    EXPECT_EQ(second->best_epoch, expected->best_epoch);
  }
  // Once all is done, there is nothing left to do.
  FakeSession idle;
  const auto nothing = Train(idle, rows, held_out, options);
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  EXPECT_FALSE(nothing->did_something());
  // In the last validation.
  options.checkpoint_folder = Folder("interrupted");
  options.resume = false;
  options.epochs = 1;
  FakeSession validating;
  validating.interrupt_validation = true;
  const auto cut = Train(validating, rows, held_out, options);
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_EQ(cut->signal, SIGINT);
  EXPECT_EQ(cut->history.size(), 0u);
  EXPECT_EQ(cut->batches_done, 4);
  options.resume = true;
  FakeSession rest;
  const auto rested = Train(rest, rows, held_out, options);
  ASSERT_TRUE(rested.ok()) << rested.status();
  EXPECT_EQ(rested->steps, 0);
  EXPECT_TRUE(rested->did_something());
  ASSERT_EQ(rested->history.size(), 1u);
  EXPECT_EQ(rested->history[0].validation, expected->history[0].validation);
  EXPECT_TRUE(std::filesystem::exists(options.checkpoint_folder + "/best.safetensors"));
  options.epochs = 3;
  // With batches of another size the place means nothing: the epoch begins again.
  options.checkpoint_folder = Folder("other_batches");
  options.resume = false;
  FakeSession session;
  session.interrupt_after = 2;
  ASSERT_TRUE(Train(session, rows, held_out, options).ok());
  options.resume = true;
  options.batch_size = 4;
  FakeSession later;
  const auto again = Train(later, rows, held_out, options);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->steps, 3 * 2);
}

// A metric that is lost says nothing of the others.
TEST(Train, GoesOnWithMetricsThatAreNotFinite) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const float extra : {NAN, kInf, -kInf}) {
    SmallRun run;
    auto& [data, rows, held_out, options] = run;
    FakeSession whole;
    whole.extra = extra;
    const auto expected = Train(whole, rows, held_out, options);
    ASSERT_TRUE(expected.ok()) << expected.status();
    options.checkpoint_folder = Folder("not_finite");
    FakeSession session;
    session.extra = extra;
    session.interrupt_after = 6;
    ASSERT_TRUE(Train(session, rows, held_out, options).ok());
    options.resume = true;
    FakeSession later;
    later.extra = extra;
    const auto result = Train(later, rows, held_out, options);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(result->history.size(), 3u);
    for (const EpochMetrics& epoch : result->history) {
      for (const auto* metrics : {&epoch.training, &epoch.validation}) {
        const double value = metrics->at("extra");
        EXPECT_TRUE(std::isnan(extra) ? std::isnan(value) : value == extra) << value;
      }
    }
    EXPECT_EQ(HistoryJson(result->history), HistoryJson(expected->history));
    EXPECT_EQ(result->best_epoch, expected->best_epoch);
  }
}

TEST(Train, KeepsTheVariablesOfTheBestEpoch) {
  FakeSession session;
  const DataSet data = TenNumbers();
  TrainingOptions options;
  options.epochs = 10;
  options.batch_size = 8;
  // Trained from 0 towards 4.5 and validated against 1: best when it passes 1.
  const auto result = Train(session, {&data, {0, 1, 2, 3, 4, 5, 6, 7}}, {&data, {0}}, options);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_LT(result->best_epoch, 10);
  const float loss =
      static_cast<float>(result->history[result->best_epoch - 1].validation.at("loss"));
  EXPECT_EQ(std::abs(result->best.at("mean").values<float>()[0] - 1), loss);
  ASSERT_TRUE(session.SetVariables(result->best).ok());
  auto evaluation = Evaluation::Create(session, {&data, {0}});
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  // As often as wanted.
  for (int i = 0; i < 2; ++i) {
    const auto metrics = evaluation->Run();
    ASSERT_TRUE(metrics.ok()) << metrics.status();
    EXPECT_EQ(metrics->Means().at("loss"), loss);
  }
}

TEST(Train, StopsEarly) {
  FakeSession session;
  const DataSet data = TenNumbers();
  TrainingOptions options;
  options.epochs = 100;
  options.batch_size = 8;
  options.patience = 2;
  // Trained towards 4.5 from 0 and validated against 1: best when it passes 1.
  const auto result = Train(session, {&data, {0, 1, 2, 3, 4, 5, 6, 7}}, {&data, {0}}, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->stopped_early);
  EXPECT_EQ(result->history.size(), static_cast<size_t>(result->best_epoch) + 2);
}

TEST(Train, Failures) {
  const DataSet data = TenNumbers();
  const Rows rows = {&data, {0, 1, 2, 3}};
  TrainingOptions options;
  FakeSession poisoned;
  poisoned.poison_after = 1;
  EXPECT_THAT(Train(poisoned, rows, {}, options).status().message(),
              HasSubstr("no longer finite in epoch 2"));
  FakeSession session;
  options.resume = true;
  options.checkpoint_folder = Folder("nothing");
  EXPECT_THAT(Train(session, rows, {}, options).status().message(), HasSubstr("last.safetensors"));
  ASSERT_TRUE(
      session.SaveCheckpoint(options.checkpoint_folder + "/last.safetensors", {{"epoch", "1"}})
          .ok());
  for (const char* damaged : {"[{", R"([{"epoch": 0, "training": {}, "validation": {}}])",
                              R"([{"epoch": 18446744073709551615}])"}) {
    ASSERT_TRUE(WriteFileAtomically(options.checkpoint_folder + "/history.json", damaged).ok());
    EXPECT_THAT(Train(session, rows, {}, options).status().message(),
                HasSubstr("history.json is damaged"));
  }
}

}  // namespace
}  // namespace weft::cli
