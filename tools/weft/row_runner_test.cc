#include "tools/weft/row_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tools/weft/fake_session.h"

namespace weft::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

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
