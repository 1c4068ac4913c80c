#include "tools/weft/train_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>

namespace weft::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// A session that predicts what it is fed.
class Echo : public Session {
 public:
  // What predict gives for x of [batch, dims...].
  Echo(DataType dtype, std::vector<std::string> dims) : info_{"x", dtype, {"batch"}} {
    info_.dims.insert(info_.dims.end(), dims.begin(), dims.end());
  }

  absl::StatusOr<std::unique_ptr<Call>> Prepare(const std::string&,
                                                const std::vector<std::vector<int64_t>>&) override {
    return std::make_unique<EchoCall>();
  }
  std::vector<SignatureInfo> Signatures() const override { return {{"predict", {info_}, {info_}}}; }
  absl::StatusOr<NamedTensors> Run(const std::string&, const NamedTensors&,
                                   const RunOptions&) override {
    return absl::UnimplementedError("not here");
  }
  absl::StatusOr<std::vector<HostTensor>> Run(const NamedTensors&, const std::vector<std::string>&,
                                              const std::vector<std::string>&,
                                              const RunOptions&) override {
    return absl::UnimplementedError("not here");
  }
  absl::StatusOr<NamedTensors> GetVariables() override { return NamedTensors{}; }
  absl::Status SetVariables(const NamedTensors&) override { return absl::OkStatus(); }
  absl::Status SaveCheckpoint(const std::string&,
                              const std::map<std::string, std::string>&) override {
    return absl::UnimplementedError("not here");
  }
  absl::StatusOr<std::map<std::string, std::string>> RestoreCheckpoint(
      const std::string&) override {
    return absl::UnimplementedError("not here");
  }
  void EnableProfiling(bool) override {}
  std::vector<StepProfile> Profile() const override { return {}; }

 private:
  class EchoCall : public Call {
   public:
    int num_inputs() const override { return 1; }
    int num_outputs() const override { return 1; }
    const std::string& input_name(int) const override { return name_; }
    const std::string& output_name(int) const override { return name_; }
    absl::Status Feed(int, const HostTensor& tensor) override {
      x_ = tensor.Clone();
      return absl::OkStatus();
    }
    absl::Status Run(const RunOptions&) override { return absl::OkStatus(); }
    const HostTensor& Output(int) const override { return x_; }
    int64_t peak_bytes() const override { return 0; }

   private:
    std::string name_ = "x";
    HostTensor x_;
  };
  ValueInfo info_;
};

DataSet Of(HostTensor x, HostTensor y) {
  DataSet data;
  data.num_rows = y.shape()[0];
  data.arrays = {{"x", std::move(x)}, {"y", std::move(y)}};
  return data;
}

TrainingReport Report(const DataSet& data, const Rows& rows, const Judgement& judgement) {
  LearningTask task;
  task.classes = 2;
  TrainingResult result;
  result.history.push_back({1, {{"loss", 1}}, {}});
  ReportFacts facts;
  facts.judged = "all";
  return MakeReport(result, judgement, task, {&data, {0}}, rows, facts);
}

absl::StatusOr<Judgement> Judge(Session& session, const Rows& rows) {
  absl::StatusOr<Prediction> prediction = PredictionToJudge(session, rows);
  if (!prediction.ok()) return prediction.status();
  return Judge(*prediction, rows);
}

TEST(Judge, LeavesOutWhatIsNoClass) {
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const DataSet data = Of(HostTensor::Of<int64_t>({7}, {0, 1, 1, -5, 0, 1, kMost}),
                          HostTensor::Of<int64_t>({7}, {0, 1, -100000, 0, kLeast, 0, 1}));
  const Rows rows = {&data, {0, 1, 2, 3, 4, 5, 6}};
  Echo session(DataType::kI64, {});
  const auto judgement = Judge(session, rows);
  ASSERT_TRUE(judgement.ok()) << judgement.status();
  EXPECT_THAT(judgement->rows, ElementsAre(0, 1, 5));
  EXPECT_THAT(judgement->truth, ElementsAre(0, 1, 0));
  EXPECT_THAT(judgement->predicted, ElementsAre(0, 1, 1));
  EXPECT_EQ(judgement->left_out, 4);
  const TrainingReport report = Report(data, rows, *judgement);
  EXPECT_THAT(report.confusion, ElementsAre(ElementsAre(1, 1), ElementsAre(0, 1)));
  EXPECT_THAT(report.judged, HasSubstr("; 4 of them left out, which have no class"));
}

TEST(Judge, KeepsProbabilitiesBesideTheirRows) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  // Images of 1 by 2, which are the probabilities of two classes.
  const DataSet data =
      Of(HostTensor::Of<float>({5, 1, 2}, {.9f, .1f, .4f, .6f, .3f, .7f, .2f, .8f, .5f, .5f}),
         HostTensor::Of<float>({5}, {0, kNan, 1, kInf, 0.5f}));
  Echo session(DataType::kF32, {"2"});
  const Rows rows = {&data, {4, 3, 2, 1, 0}};
  const auto judgement = Judge(session, rows);
  ASSERT_TRUE(judgement.ok()) << judgement.status();
  EXPECT_THAT(judgement->rows, ElementsAre(2, 0));
  EXPECT_THAT(judgement->predicted, ElementsAre(1, 0));
  ASSERT_EQ(judgement->probability.size(), 2u);
  EXPECT_FLOAT_EQ(judgement->probability[0], 0.7f);
  const TrainingReport report = Report(data, rows, *judgement);
  ASSERT_EQ(report.samples.size(), 2u);
  // The least certain first; from .1 to .9, black to white.
  EXPECT_EQ(report.samples[0].truth, "1");
  EXPECT_THAT(report.samples[0].pixels, ElementsAre(63, 191));
}

TEST(Judge, LeavesOutNumbersThatAreNotFinite) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const DataSet data = Of(HostTensor::Of<float>({3}, {1, 2, kInf}),
                          HostTensor::Of<float>({3}, {1, std::nanf(""), 3}));
  Echo session(DataType::kF32, {});
  const auto judgement = Judge(session, {&data, {0, 1, 2}});
  ASSERT_TRUE(judgement.ok()) << judgement.status();
  EXPECT_FALSE(judgement->classification);
  EXPECT_THAT(judgement->values, ElementsAre(Pair(1, 1)));
  EXPECT_EQ(judgement->left_out, 2);
}

}  // namespace
}  // namespace weft::cli
