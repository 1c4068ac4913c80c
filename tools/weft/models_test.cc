#include "tools/weft/models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "graph/interpreter.h"

namespace weft::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// y = 3 a - b + 100 with features of very different sizes: what normalisation is for.
DataSet Line() {
  std::vector<float> x, y;
  for (int i = 0; i < 32; ++i) {
    const float a = static_cast<float>(i % 8), b = 1000.0f * static_cast<float>(i / 8);
    x.insert(x.end(), {a, b});
    y.push_back(3 * a - 0.01f * b + 100);
  }
  DataSet data;
  data.num_rows = 32;
  data.arrays["x"] = HostTensor::Of<float>({32, 2}, x);
  data.arrays["y"] = HostTensor::Of<float>({32, 1}, y);
  return data;
}

// Images of 8x8, bright in the left or the right half.
DataSet Halves() {
  std::vector<uint8_t> x, y;
  for (int i = 0; i < 16; ++i) {
    y.push_back(i % 2);
    for (int p = 0; p < 64; ++p) {
      x.push_back((p % 8 < 4) == (i % 2 == 0) ? static_cast<uint8_t>(100 + 5 * i) : 0);
    }
  }
  DataSet data;
  data.num_rows = 16;
  data.arrays["x"] = HostTensor::Of<uint8_t>({16, 8, 8}, x);
  data.arrays["y"] = HostTensor::Of<uint8_t>({16}, y);
  return data;
}

std::vector<int64_t> AllRows(const DataSet& data) {
  std::vector<int64_t> rows(data.num_rows);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

float Value(const TensorMap& outputs, const std::string& name) {
  return outputs.at(name).values<float>()[0];
}

TEST(StandardModel, MlpLearnsARegressionInItsOwnUnits) {
  const DataSet data = Line();
  StandardModelOptions options{.kind = "mlp", .hidden = {16}, .learning_rate = 0.02, .steps = 60};
  const auto graph = BuildStandardModel(options, data, AllRows(data), *TaskOf(data));
  ASSERT_TRUE(graph.ok()) << graph.status();
  Interpreter interpreter(*graph);
  ASSERT_TRUE(interpreter.Initialize().ok());
  const TensorMap feeds = {{"x", data.arrays.at("x")}, {"y", data.arrays.at("y")}};
  for (int i = 0; i < 60; ++i) {
    const auto step = interpreter.RunSignature("train_step", feeds);
    ASSERT_TRUE(step.ok()) << step.status();
  }
  const auto evaluated = interpreter.RunSignature("eval_step", feeds);
  ASSERT_TRUE(evaluated.ok()) << evaluated.status();
  EXPECT_LT(Value(*evaluated, "loss"), 0.05f);
  EXPECT_LT(Value(*evaluated, "mae"), 3.0f);
  const auto predicted = interpreter.RunSignature("predict", {{"x", data.arrays.at("x")}});
  ASSERT_TRUE(predicted.ok()) << predicted.status();
  EXPECT_EQ(predicted->at("y").TypeString(), "f32[32, 1]");
  EXPECT_NEAR(predicted->at("y").values<float>()[0], 100, 8);
}

TEST(StandardModel, CnnLearnsClasses) {
  const DataSet data = Halves();
  const auto task = TaskOf(data);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->classes, 2);
  StandardModelOptions options{.kind = "cnn", .hidden = {8}, .learning_rate = 0.01, .steps = 8};
  const auto graph = BuildStandardModel(options, data, AllRows(data), *task);
  ASSERT_TRUE(graph.ok()) << graph.status();
  Interpreter interpreter(*graph);
  ASSERT_TRUE(interpreter.Initialize().ok());
  const HostTensor x = data.arrays.at("x").Reshaped({16, 8, 8, 1});
  std::vector<int32_t> labels;
  for (const uint8_t y : data.arrays.at("y").values<uint8_t>()) labels.push_back(y);
  const TensorMap feeds = {{"x", x}, {"y", HostTensor::Of<int32_t>({16}, labels)}};
  float first = 0;
  for (int i = 0; i < 8; ++i) {
    const auto step = interpreter.RunSignature("train_step", feeds);
    ASSERT_TRUE(step.ok()) << step.status();
    if (i == 0) first = Value(*step, "loss");
  }
  const auto evaluated = interpreter.RunSignature("eval_step", feeds);
  ASSERT_TRUE(evaluated.ok()) << evaluated.status();
  EXPECT_LT(Value(*evaluated, "loss"), 0.5f * first);
  EXPECT_EQ(Value(*evaluated, "accuracy"), 1.0f);
  const auto predicted = interpreter.RunSignature("predict", {{"x", x}});
  ASSERT_TRUE(predicted.ok()) << predicted.status();
  EXPECT_EQ(predicted->at("class").TypeString(), "i64[16]");
  EXPECT_EQ(predicted->at("probabilities").TypeString(), "f32[16, 2]");
}

TEST(TaskOf, TellsClassesFromNumbers) {
  DataSet data = Line();
  EXPECT_EQ(TaskOf(data)->classes, 0);
  data.arrays["y"] = HostTensor::Of<int64_t>({3}, {0, 4, 1});
  EXPECT_EQ(TaskOf(data)->classes, 5);
  data.arrays["y"] = HostTensor::Of<int64_t>({2}, {0, -1});
  EXPECT_THAT(TaskOf(data).status().message(), HasSubstr("got -1"));
  data.arrays["y"] = HostTensor::Of<int64_t>({1, 2}, {0, 1});
  EXPECT_THAT(TaskOf(data).status().message(), HasSubstr("one class per row"));
  data.arrays.erase("y");
  EXPECT_THAT(TaskOf(data).status().message(), HasSubstr("expected an array 'y'"));
}

TEST(StandardModel, Errors) {
  DataSet data = Line();
  StandardModelOptions options{.kind = "cnn"};
  EXPECT_THAT(BuildStandardModel(options, data, {0}, {}).status().message(),
              HasSubstr("a cnn wants images"));
  EXPECT_FALSE(BuildStandardModel(options, data, {}, {}).ok());
  data.arrays.erase("x");
  EXPECT_THAT(BuildStandardModel(options, data, {0}, {}).status().message(),
              HasSubstr("'x' and 'y'"));
}

}  // namespace
}  // namespace weft::cli
