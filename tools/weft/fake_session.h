// For tests of training: a model that is no graph, and data for it.
#ifndef WEFT_TOOLS_WEFT_FAKE_SESSION_H_
#define WEFT_TOOLS_WEFT_FAKE_SESSION_H_

#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/file.h"
#include "proto/safetensors.h"
#include "runtime/session.h"
#include "tools/data/dataset.h"
#include "tools/weft/trainer.h"

namespace weft::cli {

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

inline DataSet TenNumbers() {
  DataSet data;
  data.num_rows = 10;
  data.arrays["y"] = HostTensor::Of<float>({10}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  return data;
}

// A run over eight of the numbers that is validated on the other two.
struct SmallRun {
  SmallRun() {
    options.batch_size = 2;
    options.epochs = 3;
  }
  SmallRun(const SmallRun&) = delete;

  DataSet data = TenNumbers();
  Rows rows = {&data, {0, 1, 2, 3, 4, 5, 6, 7}}, held_out = {&data, {8, 9}};
  TrainingOptions options;
};

// An empty folder for a test.
inline std::string Folder(const char* name) {
  const std::string folder = ::testing::TempDir() + "/" + name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_FAKE_SESSION_H_
