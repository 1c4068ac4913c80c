#include "tools/weft/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "proto/file.h"
#include "proto/safetensors.h"
#include "tools/common/exit_code.h"

namespace weft::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAreArray;

// A session that learns the mean of y by a step of 1/10 towards each batch's mean: enough of a
// model to see what the loop does with it.
class FakeSession : public Session {
 public:
  float mean = 0;
  std::vector<int64_t> train_batches;
  float poison_after = std::numeric_limits<float>::infinity();  // steps, then NaN
  int interrupt_after = 0;                                      // steps, then Ctrl-C; 0: never
  bool interrupt_compile = false, interrupt_validation = false;
  std::vector<std::string> eval_dims = {"batch"}, predict_dims = {"batch"};
  std::vector<std::string> row_dims;                      // of what predict says, besides
  std::vector<std::pair<std::string, int64_t>> prepared;  // signatures with rows
  std::optional<float> extra;                             // a second metric, which stays as it is
  // predict besides gives each row with each other one, and five numbers, whatever it is fed.
  bool more_predictions = false;
  bool predicts_what_it_declares = true;

  class FakeCall : public Call {
   public:
    FakeCall(FakeSession* session, std::string signature)
        : session_(session), signature_(std::move(signature)) {
      for (const SignatureInfo& info : session->Signatures()) {
        if (info.name != signature_) continue;
        for (const ValueInfo& output : info.outputs) names_.push_back(output.name);
      }
      outputs_.resize(names_.size());
      if (signature_ == "predict") return;
      outputs_[0] = HostTensor::Scalar<float>(0);
      if (session->extra) outputs_[1] = HostTensor::Scalar<float>(*session->extra);
    }
    int num_inputs() const override { return 1; }
    int num_outputs() const override { return static_cast<int>(names_.size()); }
    const std::string& input_name(int) const override { return input_; }
    const std::string& output_name(int i) const override { return names_[i]; }
    absl::Status Feed(int, const HostTensor& tensor) override {
      y_ = tensor;
      return absl::OkStatus();
    }
    absl::Status Run(const RunOptions&) override {
      const auto y = y_.values<float>();
      double mean = 0;
      for (const float v : y) mean += v / y.size();
      if (signature_ == "predict") {
        outputs_[0] = y_.Clone();
        for (float& v : outputs_[0].mutable_values<float>()) v *= 2;
        const int64_t rows = y_.shape()[0];
        if (!session_->predicts_what_it_declares) {
          outputs_[0] = HostTensor::Of<float>({rows, rows}, std::vector<float>(rows * rows));
        }
        if (outputs_.size() > 1) {
          outputs_[1] = HostTensor::Of<float>({rows, rows}, std::vector<float>(rows * rows));
          outputs_[2] = HostTensor::Of<float>({5}, std::vector<float>(5));
        }
        return absl::OkStatus();
      }
      if (signature_ == "eval_step" && std::exchange(session_->interrupt_validation, false)) {
        std::raise(SIGINT);
      }
      if (signature_ == "train_step") {
        session_->train_batches.push_back(y_.shape()[0]);
        session_->mean += 0.1f * static_cast<float>(mean - session_->mean);
        if (static_cast<int>(session_->train_batches.size()) == session_->interrupt_after) {
          std::raise(SIGINT);
        }
      }
      float loss = std::abs(static_cast<float>(mean) - session_->mean);
      if (session_->train_batches.size() > session_->poison_after) loss = NAN;
      outputs_[0].mutable_values<float>()[0] = loss;
      return absl::OkStatus();
    }
    const HostTensor& Output(int i) const override { return outputs_[i]; }
    int64_t peak_bytes() const override { return 4096; }

   private:
    FakeSession* session_;
    std::string signature_;
    std::string input_ = "y";
    std::vector<std::string> names_;
    HostTensor y_;
    std::vector<HostTensor> outputs_;
  };

  absl::StatusOr<NamedTensors> Run(const std::string& signature, const NamedTensors&,
                                   const RunOptions&) override {
    EXPECT_EQ(signature, "init");
    mean = 0;
    return NamedTensors{};
  }
  absl::StatusOr<std::vector<HostTensor>> Run(const NamedTensors&, const std::vector<std::string>&,
                                              const std::vector<std::string>&,
                                              const RunOptions&) override {
    return absl::UnimplementedError("not here");
  }
  absl::StatusOr<std::unique_ptr<Call>> Prepare(
      const std::string& signature, const std::vector<std::vector<int64_t>>& shapes) override {
    EXPECT_EQ(shapes.size(), 1u);
    prepared.emplace_back(signature, shapes[0][0]);
    if (std::exchange(interrupt_compile, false)) std::raise(SIGINT);
    return std::make_unique<FakeCall>(this, signature);
  }
  std::vector<SignatureInfo> Signatures() const override {
    std::vector<ValueInfo> metrics = {{"loss", DataType::kF32, {}}};
    if (extra) metrics.push_back({"extra", DataType::kF32, {}});
    std::vector<ValueInfo> predictions = {{"doubled", DataType::kF32, predict_dims}};
    predictions[0].dims.insert(predictions[0].dims.end(), row_dims.begin(), row_dims.end());
    if (more_predictions) {
      predictions.push_back({"pairs", DataType::kF32, {predict_dims[0], predict_dims[0]}});
      predictions.push_back({"five", DataType::kF32, {"5"}});
    }
    return {{"init", {}, {}},
            {"train_step", {{"y", DataType::kF32, {"batch"}}}, metrics},
            {"eval_step", {{"y", DataType::kF32, eval_dims}}, metrics},
            {"predict", {{"y", DataType::kF32, predict_dims}}, predictions}};
  }
  absl::StatusOr<NamedTensors> GetVariables() override {
    return NamedTensors{{"mean", HostTensor::Scalar<float>(mean)}};
  }
  absl::Status SetVariables(const NamedTensors& values) override {
    mean = values.at("mean").values<float>()[0];
    return absl::OkStatus();
  }
  absl::Status SaveCheckpoint(const std::string& path,
                              const std::map<std::string, std::string>& metadata) override {
    return WriteFileAtomically(path, WriteSafetensors(*GetVariables(), metadata));
  }
  absl::StatusOr<std::map<std::string, std::string>> RestoreCheckpoint(
      const std::string& path) override {
    auto bytes = Bytes::Map(path);
    if (!bytes.ok()) return bytes.status();
    auto file = ReadSafetensors((*bytes)->view(), *bytes);
    if (!file.ok()) return file.status();
    absl::Status status = SetVariables(file->tensors);
    if (!status.ok()) return status;
    return file->metadata;
  }
  void EnableProfiling(bool) override {}
  std::vector<StepProfile> Profile() const override { return {}; }
};

DataSet TenNumbers() {
  DataSet data;
  data.num_rows = 10;
  data.arrays["y"] = HostTensor::Of<float>({10}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  return data;
}

std::string Folder(const char* name) {
  const std::string folder = ::testing::TempDir() + "/" + name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

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
  const DataSet data = TenNumbers();
  const Rows rows = {&data, {0, 1, 2, 3, 4, 5, 6, 7}}, held_out = {&data, {8, 9}};
  TrainingOptions options;
  options.batch_size = 2;
  options.epochs = 3;
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

TEST(Train, InterruptedBeforeAnyStepLeavesTheFolderAlone) {
  const DataSet data = TenNumbers();
  const Rows rows = {&data, {0, 1, 2, 3, 4, 5, 6, 7}}, held_out = {&data, {8, 9}};
  TrainingOptions options;
  options.batch_size = 2;
  options.epochs = 3;
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
TEST(Train, AnEarlierRunIsWholeUntilTheFirstCheckpoint) {
  const DataSet data = TenNumbers();
  const Rows rows = {&data, {0, 1, 2, 3, 4, 5, 6, 7}}, held_out = {&data, {8, 9}};
  TrainingOptions options;
  options.batch_size = 2;
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

// A process that is killed in the middle of a write leaves a file beside its target.
TEST(Train, RemovesWhatKilledRunsLeft) {
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
    ASSERT_TRUE(WriteFileAtomically(options.checkpoint_folder + "/" + name, "part").ok());
  };
  for (const char* name : {"last.safetensors", "best.safetensors", "history.json", "model.weft"}) {
    write(name + of_dead);
    write(name + own);
  }
  const std::vector<std::string> others = {
      "last.safetensors" + alive,  "notes.txt" + of_dead,
      "last.safetensors.tmp.mine", "last.safetensors.tmp.1000000",
      "last.safetensors.tmp.-1.0", "last.safetensors" + of_dead + ".0"};
  for (const std::string& name : others) write(name);
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
TEST(Train, TellsTheHistoryOfAnotherRun) {
  const DataSet data = TenNumbers();
  const Rows rows = {&data, {0, 1, 2, 3, 4, 5, 6, 7}}, held_out = {&data, {8, 9}};
  TrainingOptions options;
  options.batch_size = 2;
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

TEST(Train, ResumesFromWholeFilesAlone) {
  const DataSet data = TenNumbers();
  const Rows rows = {&data, {0, 1, 2, 3, 4, 5, 6, 7}}, held_out = {&data, {8, 9}};
  TrainingOptions options;
  options.batch_size = 2;
  options.epochs = 3;
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

// A metric that is lost says nothing of the others.
TEST(Train, GoesOnWithMetricsThatAreNotFinite) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const DataSet data = TenNumbers();
  const Rows rows = {&data, {0, 1, 2, 3, 4, 5, 6, 7}}, held_out = {&data, {8, 9}};
  for (const float extra : {NAN, kInf, -kInf}) {
    TrainingOptions options;
    options.batch_size = 2;
    options.epochs = 3;
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

TEST(Train, ChecksTheBestBeforeItGoesOn) {
  const DataSet data = TenNumbers();
  const Rows rows = {&data, {0, 1, 2, 3, 4, 5, 6, 7}}, held_out = {&data, {8, 9}};
  TrainingOptions options;
  options.batch_size = 2;
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

TEST(Train, RefusesPlacesThatNoRunWasAt) {
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

absl::StatusOr<NamedTensors> Predict(Session& session, const Rows& rows) {
  absl::StatusOr<Prediction> prediction = Prediction::Create(session, "predict", rows);
  if (!prediction.ok()) return prediction.status();
  return prediction->Run();
}

// 0, 1, ...: more than are taken at once.
DataSet Numbers(int64_t count) {
  DataSet data;
  data.num_rows = count;
  std::vector<float> y(count);
  for (int64_t i = 0; i < count; ++i) y[i] = static_cast<float>(i);
  data.arrays["y"] = HostTensor::Of<float>({count}, y);
  return data;
}

TEST(Prediction, PutsRowsTogether) {
  FakeSession session;
  const DataSet data = Numbers(1100);
  const auto outputs = Predict(session, {&data, Shuffled(1100, 1)});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  const auto values = outputs->at("doubled").values<float>();
  ASSERT_EQ(values.size(), 1100u);
  const std::vector<int64_t> order = Shuffled(1100, 1);
  for (int i = 0; i < 1100; ++i) ASSERT_EQ(values[i], 2.0f * static_cast<float>(order[i]));
}

// A row whose size is that of the batch has another one in the last batch, and a first dimension
// can be as large as a batch by chance.
TEST(Prediction, LeavesOutWhatHasNoRowsOfOneSize) {
  FakeSession session;
  session.more_predictions = true;
  for (const int64_t rows : {5, 1031}) {  // in one batch of 5; in batches of 512 and one of 7
    const DataSet data = Numbers(rows);
    testing::internal::CaptureStderr();
    const auto outputs = Predict(session, {&data, Shuffled(rows, 1)});
    const std::string said = testing::internal::GetCapturedStderr();
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    ASSERT_EQ(outputs->size(), 1u);
    EXPECT_THAT(outputs->at("doubled").shape(), ElementsAre(rows));
    EXPECT_THAT(said, HasSubstr("output 'pairs' of predict is left out"));
    EXPECT_THAT(said, HasSubstr("f32[batch, batch]"));
    EXPECT_THAT(said, Not(HasSubstr("five")));
  }
  session.predicts_what_it_declares = false;
  const DataSet data = TenNumbers();
  EXPECT_THAT(Predict(session, {&data, {0, 1, 2}}).status().message(),
              HasSubstr("output 'doubled' of predict: expected f32[3], got f32[3, 3]"));
}

// Before hours of training, so that what cannot be compiled or held is known.
TEST(Prediction, CompilesEverySizeOfBatch) {
  FakeSession session;
  const DataSet data = Numbers(1031);
  const Rows rows = {&data, Shuffled(1031, 1)};
  auto evaluation = Evaluation::Create(session, rows);
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  ASSERT_TRUE(evaluation->Compile().ok());
  auto prediction = Prediction::Create(session, "predict", rows);
  ASSERT_TRUE(prediction.ok()) << prediction.status();
  ASSERT_TRUE(prediction->Compile().ok());
  EXPECT_THAT(session.prepared, ElementsAre(Pair("eval_step", 512), Pair("eval_step", 7),
                                            Pair("predict", 512), Pair("predict", 7)));
  session.row_dims = {"9223372036854775807"};
  EXPECT_THAT(
      Prediction::Create(session, "predict", {&data, {0, 1, 2}}).status().message(),
      HasSubstr("output 'doubled' of predict, f32[batch, 9223372036854775807], for 3 rows: "));
  session.row_dims = {"281474976710656"};
  EXPECT_THAT(Prediction::Create(session, "predict", {&data, {0, 1, 2}}).status().message(),
              HasSubstr("for 3 rows: a tensor of shape [3, 281474976710656] passes 2^48 bytes"));
}

TEST(Prediction, FillsTheLastBatchOfAModelOfFixedSize) {
  FakeSession session;
  session.predict_dims = {"4"};
  const DataSet data = TenNumbers();
  const auto outputs = Predict(session, {&data, {0, 1, 2, 3, 4, 5}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT(outputs->at("doubled").values<float>(), ElementsAre(2, 4, 6, 8, 10, 12));
  // Rows that are no rows are not made without end.
  session.predict_dims = {"1000000000000"};
  EXPECT_THAT(Predict(session, {&data, {0, 1, 2}}).status().message(),
              HasSubstr("batches of 1000000000000 rows, but there are only 3 to run predict on"));
  session.eval_dims = {"4"};
  EXPECT_THAT(Evaluation::Create(session, {&data, {0, 1, 2}, "test.npz"}).status().message(),
              HasSubstr("test.npz: the model takes batches of 4 rows, but there are only 3"));
}

TEST(GatherRows, KeepsTheOrder) {
  const DataSet data = TenNumbers();
  const auto rows = GatherRows(FakeSession(), "predict", {&data, {7, 0, 3}});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_THAT(rows->at("y").values<float>(), ElementsAre(8, 1, 4));
}

TEST(BatchInputsOf, WantsOneOpenDimension) {
  std::optional<int64_t> fixed;
  auto inputs = BatchInputsOf({"f", {{"x", DataType::kU8, {"n", "8", "8"}}}, {}}, &fixed);
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_THAT((*inputs)[0].row_shape, ElementsAre(8, 8));
  EXPECT_FALSE(fixed.has_value());
  ASSERT_TRUE(BatchInputsOf({"f", {{"x", DataType::kU8, {"32", "8"}}}, {}}, &fixed).ok());
  EXPECT_EQ(fixed, 32);
  EXPECT_THAT(
      BatchInputsOf({"f", {{"x", DataType::kF32, {"0", "2"}}}, {}}, &fixed).status().message(),
      HasSubstr("input 'x' of f is f32[0, 2], which takes no rows"));
  for (const std::vector<std::string>& dims :
       std::vector<std::vector<std::string>>{{}, {"n", "m"}}) {
    EXPECT_FALSE(BatchInputsOf({"f", {{"x", DataType::kU8, dims}}, {}}, &fixed).ok());
  }
  const Session::ValueInfo x{"x", DataType::kF32, {"n"}}, y{"y", DataType::kF32, {"m"}};
  EXPECT_THAT(BatchInputsOf({"f", {x, y}, {}}, &fixed).status().message(),
              HasSubstr("input 'y' of f is f32[m]"));
}

}  // namespace
}  // namespace weft::cli
