// What a run leaves in the folder of its checkpoints, and what it goes on from.
#include "tools/weft/checkpoint_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proto/file.h"
#include "proto/safetensors.h"
#include "tools/weft/fake_session.h"
#include "tools/weft/trainer.h"

namespace weft::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;

TEST(CheckpointFolder, InterruptedBeforeAnyStepLeavesTheFolderAlone) {
  SmallRun run;
  auto& [data, rows, held_out, options] = run;
  options.checkpoint_folder = Folder("before_any_step");
  FakeSession first;
  ASSERT_TRUE(Train(first, rows, held_out, options).ok());
  const auto bytes = [&](const char* file) {
    return std::string((*Bytes::Map(options.checkpoint_folder + file))->view());
  };
  const std::string last = bytes("/last.safetensors"), history = bytes("/history.json");
  // Whoever forgot --resume and notices.
  FakeSession second;
  second.interrupt_compile = true;
  const auto result = Train(second, rows, held_out, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->signal, SIGINT);
  EXPECT_EQ(result->steps, 0);
  EXPECT_EQ(result->checkpoint, "");
  EXPECT_EQ(bytes("/last.safetensors"), last);
  EXPECT_EQ(bytes("/history.json"), history);
}

// A run that dies before its first checkpoint has not touched what was there; one that lives writes
// the model right before last.safetensors, which says of which model it is.
TEST(CheckpointFolder, AnEarlierRunIsWholeUntilTheFirstCheckpoint) {
  SmallRun run;
  auto& [data, rows, held_out, options] = run;
  options.checkpoint_folder = Folder("earlier") + "/deep";
  const auto bytes = [&](const char* file) {
    return std::string((*Bytes::Map(options.checkpoint_folder + file))->view());
  };
  FakeSession first;
  options.epochs = 3;
  ASSERT_TRUE(Train(first, rows, held_out, options).ok());
  const std::string last = bytes("/last.safetensors"), best = bytes("/best.safetensors"),
                    history = bytes("/history.json");
  int saved = 0;
  options.save_model = [&] {
    ++saved;
    EXPECT_EQ(bytes("/last.safetensors"), last);
    EXPECT_NE(bytes("/best.safetensors"), best);
    EXPECT_NE(bytes("/history.json"), history);
    return absl::OkStatus();
  };
  options.epochs = 4;
  FakeSession dies;
  dies.poison_after = 0;
  ASSERT_FALSE(Train(dies, rows, held_out, options).ok());
  EXPECT_EQ(saved, 0);
  EXPECT_EQ(bytes("/last.safetensors"), last);
  EXPECT_EQ(bytes("/best.safetensors"), best);
  EXPECT_EQ(bytes("/history.json"), history);
  // Nor does one that has a best epoch by then.
  FakeSession fails_later;
  fails_later.poison_after = 5;
  ASSERT_FALSE(Train(fails_later, rows, held_out, options).ok());
  EXPECT_EQ(saved, 0);
  EXPECT_EQ(bytes("/last.safetensors"), last);
  EXPECT_EQ(bytes("/best.safetensors"), best);
  FakeSession lives;
  ASSERT_TRUE(Train(lives, rows, held_out, options).ok());
  EXPECT_EQ(saved, 1);
  EXPECT_NE(bytes("/last.safetensors"), last);
  // What was best before a run failed is worth having, and so is its model.
  options.checkpoint_folder = Folder("best_of_a_failure");
  options.save_model = [&] {
    ++saved;
    return absl::OkStatus();
  };
  FakeSession fails;
  fails.poison_after = 5;
  ASSERT_FALSE(Train(fails, rows, held_out, options).ok());
  EXPECT_EQ(saved, 2);
  EXPECT_TRUE(std::filesystem::exists(options.checkpoint_folder + "/best.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(options.checkpoint_folder + "/last.safetensors"));
  // A model that cannot be written ends the run.
  options.save_model = [] { return absl::ResourceExhaustedError("no room"); };
  options.checkpoint_folder = Folder("no_room");
  FakeSession session;
  EXPECT_THAT(Train(session, rows, held_out, options).status().message(), HasSubstr("no room"));
  EXPECT_FALSE(std::filesystem::exists(options.checkpoint_folder + "/last.safetensors"));
}

// That there is no place for checkpoints is known before hours of work, not after.
TEST(CheckpointFolder, IsMadeBeforeTheFirstStep) {
  SmallRun run;
  const std::string folder = Folder("made_first");
  FakeSession session;
  run.options.checkpoint_folder = folder + "/" + std::string(300, 'n');  // no name is so long
  const absl::Status status = Train(session, run.rows, run.held_out, run.options).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot make the folder"));
  EXPECT_TRUE(session.train_batches.empty());
  // There, and empty, when the first step fails.
  run.options.checkpoint_folder = folder + "/new";
  FakeSession fails;
  fails.poison_after = 0;
  EXPECT_FALSE(Train(fails, run.rows, run.held_out, run.options).ok());
  EXPECT_TRUE(std::filesystem::is_empty(run.options.checkpoint_folder));
}

// A process that is killed in the middle of a write leaves a file beside its target.
TEST(CheckpointFolder, RemovesWhatKilledRunsLeft) {
  const DataSet data = TenNumbers();
  TrainingOptions options;
  options.epochs = 1;
  options.checkpoint_folder = Folder("killed");
  const pid_t dead = fork();
  if (dead == 0) _exit(0);
  ASSERT_EQ(waitpid(dead, nullptr, 0), dead);
  const std::string of_dead = ".tmp." + std::to_string(dead) + ".0";
  const std::string own = ".tmp." + std::to_string(getpid()) + ".12";
  const std::string alive = ".tmp." + std::to_string(getppid()) + ".0";
  const auto write = [&](const std::string& name) {
    const std::string path = options.checkpoint_folder + "/" + name;
    ASSERT_TRUE(WriteFileAtomically(path, "part").ok());
    const auto now = std::filesystem::file_time_type::clock::now();
    std::filesystem::last_write_time(path, now - std::chrono::hours(2));
  };
  for (const char* name : {"last.safetensors", "best.safetensors", "history.json", "model.weft"}) {
    write(name + of_dead);
    write(name + own);
  }
  std::vector<std::string> others = {
      "last.safetensors" + alive,  "notes.txt" + of_dead,
      "last.safetensors.tmp.mine", "last.safetensors.tmp.1000000",
      "last.safetensors.tmp.-1.0", "last.safetensors" + of_dead + ".0"};
  for (const std::string& name : others) write(name);
  // Somebody elsewhere may be at it.
  others.push_back("best.safetensors.tmp." + std::to_string(dead) + ".7");
  ASSERT_TRUE(WriteFileAtomically(options.checkpoint_folder + "/" + others.back(), "part").ok());
  FakeSession session;
  ASSERT_TRUE(Train(session, {&data, {0, 1, 2, 3}}, {&data, {8, 9}}, options).ok());
  std::vector<std::string> expected = others, names;
  for (const char* name : {"last.safetensors", "best.safetensors", "history.json"}) {
    expected.push_back(name);
  }
  for (const auto& entry : std::filesystem::directory_iterator(options.checkpoint_folder)) {
    names.push_back(entry.path().filename());
  }
  EXPECT_THAT(names, UnorderedElementsAreArray(expected));
}

// Between two files of its first checkpoint a run may die: history.json is its own then, and
// last.safetensors that of the run before, of the same model.
TEST(CheckpointFolder, TellsTheHistoryOfAnotherRun) {
  SmallRun run;
  auto& [data, rows, held_out, options] = run;
  options.epochs = 2;
  options.checkpoint_folder = Folder("earlier_history");
  FakeSession earlier;
  ASSERT_TRUE(Train(earlier, rows, held_out, options).ok());
  TrainingOptions other = options;
  other.checkpoint_folder = Folder("later_history");
  other.epochs = 5;
  other.batch_size = 4;
  FakeSession later;
  ASSERT_TRUE(Train(later, rows, held_out, other).ok());
  std::filesystem::copy_file(other.checkpoint_folder + "/history.json",
                             options.checkpoint_folder + "/history.json",
                             std::filesystem::copy_options::overwrite_existing);
  options.resume = true;
  options.epochs = 6;
  FakeSession session;
  EXPECT_THAT(Train(session, rows, held_out, options).status().message(),
              HasSubstr("history.json is of another run than " + options.checkpoint_folder +
                        "/last.safetensors"));
}

TEST(CheckpointFolder, ResumesFromWholeFilesAlone) {
  SmallRun run;
  auto& [data, rows, held_out, options] = run;
  options.checkpoint_folder = Folder("damaged");
  FakeSession first;
  ASSERT_TRUE(Train(first, rows, held_out, options).ok());
  options.resume = true;
  options.epochs = 4;
  for (const char* history :
       {"", "[]", "{}", "[1]", R"([{"epoch": 2, "training": {}, "validation": {}}])",
        R"([{"epoch": 1, "training": {}, "validation": {}}])", R"([{"epoch": 1}])"}) {
    ASSERT_TRUE(WriteFileAtomically(options.checkpoint_folder + "/history.json", history).ok());
    FakeSession session;
    EXPECT_THAT(Train(session, rows, held_out, options).status().message(),
                HasSubstr("history.json is damaged"))
        << history;
  }
}

TEST(CheckpointFolder, ChecksTheBestBeforeItGoesOn) {
  SmallRun run;
  auto& [data, rows, held_out, options] = run;
  options.checkpoint_folder = Folder("best");
  options.epochs = 1;
  FakeSession first;
  ASSERT_TRUE(Train(first, rows, held_out, options).ok());
  const std::string best = options.checkpoint_folder + "/best.safetensors";
  options.resume = true;
  options.epochs = 2;
  const auto with = [&](const std::string& bytes) {
    EXPECT_TRUE(WriteFileAtomically(best, bytes).ok());
    FakeSession session;
    return std::string(Train(session, rows, held_out, options).status().message());
  };
  const std::shared_ptr<const Bytes> written = Bytes::Map(best).value();
  std::map<std::string, std::string> metadata =
      ReadSafetensors(written->view(), written).value().metadata;
  EXPECT_EQ(metadata["epoch"], "1");
  EXPECT_THAT(with("damaged"), HasSubstr(best));
  EXPECT_THAT(with(WriteSafetensors({}, metadata)),
              HasSubstr(best + ": has no value for variable 'mean'"));
  EXPECT_THAT(with(WriteSafetensors({{"mean", HostTensor::Of<float>({2}, {1, 2})}}, metadata)),
              HasSubstr(best + ": variable 'mean': expected f32[], got f32[2]"));
  EXPECT_THAT(with(WriteSafetensors({{"mean", HostTensor::Scalar<double>(1)}}, metadata)),
              HasSubstr("expected f32[], got f64[]"));
  // What the session has no use for does no harm.
  EXPECT_EQ(with(WriteSafetensors(
                {{"mean", HostTensor::Scalar<float>(1)}, {"other", HostTensor::Scalar<float>(1)}},
                metadata)),
            "");
  // That of another run, whose best epoch had the same number, is not taken for this one's.
  metadata["metrics"] = "[]";
  EXPECT_EQ(with(WriteSafetensors({}, metadata)), "");
}

TEST(CheckpointFolder, RefusesPlacesThatNoRunWasAt) {
  const DataSet data = TenNumbers();
  const Rows rows = {&data, {0, 1, 2, 3}};
  TrainingOptions options;
  options.batch_size = 2;
  options.checkpoint_folder = Folder("places");
  FakeSession session;
  session.interrupt_after = 1;
  ASSERT_TRUE(Train(session, rows, {}, options).ok());
  session.interrupt_after = 0;
  options.resume = true;
  const std::string last = options.checkpoint_folder + "/last.safetensors";
  const auto good = session.RestoreCheckpoint(last);
  ASSERT_TRUE(good.ok()) << good.status();
  ASSERT_EQ(good->at("batches"), "1");
  const auto with = [&](const char* key, const char* value) {
    auto metadata = *good;
    metadata[key] = value;
    EXPECT_TRUE(session.SaveCheckpoint(last, metadata).ok());
    const auto result = Train(session, rows, {}, options);
    return std::string(result.status().message());
  };
  EXPECT_THAT(with("batches", "999999999999999"), HasSubstr("2 batches of an epoch at most"));
  EXPECT_THAT(with("batches", "-1"), HasSubstr("expected a number of batches, got '-1'"));
  EXPECT_THAT(with("batches", "many"), HasSubstr("expected a number of batches"));
  for (const char* epoch : {"9223372036854775808", "-1", ""}) {
    EXPECT_THAT(with("epoch", epoch), HasSubstr("does not say which epoch")) << epoch;
  }
  // Which the history has not.
  EXPECT_THAT(with("epoch", "9223372036854775807"), HasSubstr("history.json is damaged"));
  EXPECT_EQ(with("batches", "2"), "");
}

}  // namespace
}  // namespace weft::cli
