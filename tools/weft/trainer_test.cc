#include "tools/weft/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <limits>
#include <memory>
#include <utility>

#include "proto/file.h"
#include "proto/safetensors.h"

namespace weft::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A session that learns the mean of y by a step of 1/10 towards each batch's mean: enough of a
// model to see what the loop does with it.
class FakeSession : public Session {
 public:
  float mean = 0;
  std::vector<int64_t> train_batches;
  float poison_after = std::numeric_limits<float>::infinity();  // steps, then NaN
  int interrupt_after = 0;                                      // steps, then Ctrl-C; 0: never
  bool interrupt_compile = false;
  std::vector<std::string> eval_dims = {"batch"}, predict_dims = {"batch"};

  class FakeCall : public Call {
   public:
    FakeCall(FakeSession* session, std::string signature)
        : session_(session), signature_(std::move(signature)) {
      outputs_[0] = signature_ == "predict" ? HostTensor() : HostTensor::Scalar<float>(0);
    }
    int num_inputs() const override { return 1; }
    int num_outputs() const override { return 1; }
    const std::string& input_name(int) const override { return input_; }
    const std::string& output_name(int) const override { return output_; }
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
        return absl::OkStatus();
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
    const HostTensor& Output(int) const override { return outputs_[0]; }
    int64_t peak_bytes() const override { return 4096; }

   private:
    FakeSession* session_;
    std::string signature_;
    std::string input_ = "y", output_ = "loss";
    HostTensor y_;
    HostTensor outputs_[1];
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
    if (std::exchange(interrupt_compile, false)) std::raise(SIGINT);
    return std::make_unique<FakeCall>(this, signature);
  }
  std::vector<SignatureInfo> Signatures() const override {
    const ValueInfo loss{"loss", DataType::kF32, {}};
    return {{"init", {}, {}},
            {"train_step", {{"y", DataType::kF32, {"batch"}}}, {loss}},
            {"eval_step", {{"y", DataType::kF32, eval_dims}}, {loss}},
            {"predict", {{"y", DataType::kF32, predict_dims}}, {loss}}};
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
  // In the first epoch, in the middle of one, and at the last step of one.
  for (const int steps : {1, 6, 8}) {
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
    FakeSession later;
    options.resume = true;
    const auto second = Train(later, rows, held_out, options);
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_EQ(second->signal, 0);
    EXPECT_EQ(second->steps, 12 - steps);
    EXPECT_EQ(later.mean, whole.mean);
    ASSERT_EQ(second->history.size(), 3u);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(second->history[i].training, expected->history[i].training) << i;
      EXPECT_EQ(second->history[i].validation, expected->history[i].validation) << i;
    }
    EXPECT_EQ(second->best_epoch, expected->best_epoch);
  }
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
  const auto metrics = Evaluate(session, {&data, {0}});
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  EXPECT_EQ(metrics->at("loss"), loss);
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

TEST(Predict, PutsRowsTogether) {
  FakeSession session;
  DataSet data;
  data.num_rows = 1100;  // more than are taken at once
  std::vector<float> y(1100);
  for (int i = 0; i < 1100; ++i) y[i] = static_cast<float>(i);
  data.arrays["y"] = HostTensor::Of<float>({1100}, y);
  const auto outputs = Predict(session, "predict", {&data, Shuffled(1100, 1)});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  const auto values = outputs->at("loss").values<float>();
  ASSERT_EQ(values.size(), 1100u);
  const std::vector<int64_t> order = Shuffled(1100, 1);
  for (int i = 0; i < 1100; ++i) ASSERT_EQ(values[i], 2.0f * static_cast<float>(order[i]));
}

TEST(Predict, FillsTheLastBatchOfAModelOfFixedSize) {
  FakeSession session;
  session.predict_dims = {"4"};
  const DataSet data = TenNumbers();
  const auto outputs = Predict(session, "predict", {&data, {0, 1, 2, 3, 4, 5}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT(outputs->at("loss").values<float>(), ElementsAre(2, 4, 6, 8, 10, 12));
  session.eval_dims = {"4"};
  EXPECT_THAT(Evaluate(session, {&data, {0, 1, 2}}).status().message(),
              HasSubstr("batches of 4 rows, but there are only 3"));
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
