#include "graph/interpreter.h"

#include "graph/graph.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

HostTensor Floats(std::vector<float> values) {
  return HostTensor::Of<float>({static_cast<int64_t>(values.size())},
                               absl::Span<const float>(values));
}

bool Mentions(const absl::Status& status, const std::string& part) {
  return std::string(status.message()).find(part) != std::string::npos;
}

TEST(Interpreter, EvaluatesWhatIsFetchedAlone) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  Tensor y = x + 1.0;
  Assert(Less(ReduceSum(x, {0}), 0.0), x, "never fetched");
  const auto values = EvaluateGraph(graph, {{"x", Floats({1, 2})}}, {y, x, y});
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_EQ((*values)[0].ToString(), "f32[2] [2, 3]");
  EXPECT_EQ((*values)[1].ToString(), "f32[2] [1, 2]");
  EXPECT_EQ((*values)[2].ToString(), "f32[2] [2, 3]");
}

TEST(Interpreter, OpenDimensionsMustAgree) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"}), y = graph.Input("y", DataType::kF32, {"n"});
  Tensor twice = graph.Input("twice", DataType::kF32, {"2*n"});
  Tensor sum = x + y, both = Concat({sum, twice}, 0);
  TensorMap feeds = {{"x", Floats({1, 2})}, {"y", Floats({1, 2, 3})}, {"twice", Floats({1, 2})}};
  auto result = EvaluateGraph(graph, feeds, {sum});
  EXPECT_TRUE(Mentions(result.status(), "n = 2")) << result.status();
  feeds["y"] = Floats({5, 6});
  EXPECT_TRUE(EvaluateGraph(graph, feeds, {sum}).ok());
  result = EvaluateGraph(graph, feeds, {both});
  EXPECT_TRUE(Mentions(result.status(), "input 'twice'")) << result.status();
  feeds["twice"] = Floats({1, 2, 3, 4});
  EXPECT_EQ((*EvaluateGraph(graph, feeds, {both}))[0].num_elements(), 6);
}

TEST(Interpreter, FeedsAreChecked) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {2});
  auto result = EvaluateGraph(graph, {}, {x});
  EXPECT_TRUE(Mentions(result.status(), "a feed for input 'x'")) << result.status();
  EXPECT_TRUE(Mentions(result.status(), "interpreter_test.cc")) << result.status();
  result = EvaluateGraph(graph, {{"x", HostTensor::Of<double>({2}, {1, 2})}}, {x});
  EXPECT_TRUE(Mentions(result.status(), "f64[2]")) << result.status();
  EXPECT_FALSE(EvaluateGraph(graph, {{"x", Floats({1, 2, 3})}}, {x}).ok());
}

TEST(Interpreter, ReadsSeeTheValueFromBeforeTheRun) {
  Graph graph;
  Variable a = graph.AddVariable("a", HostTensor::Scalar<float>(1));
  Variable b = graph.AddVariable("b", HostTensor::Scalar<float>(10));
  Tensor new_a = a.Assign(b + 1.0), new_b = b.Assign(a * 2.0);
  graph.AddSignature("swap", {{"a", new_a}}, {new_b});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  Interpreter interpreter(graph);
  EXPECT_FALSE(interpreter.RunSignature("swap", {}).ok()) << "before the variables have values";
  ASSERT_TRUE(interpreter.Initialize().ok());
  const auto outputs = interpreter.RunSignature("swap", {});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(outputs->at("a").values<float>()[0], 11);
  EXPECT_EQ(interpreter.variables()["a"].values<float>()[0], 11);
  EXPECT_EQ(interpreter.variables()["b"].values<float>()[0], 2);
  EXPECT_FALSE(interpreter.RunSignature("other", {}).ok());
}

TEST(Interpreter, AFailedRunChangesNothing) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {});
  Variable v = graph.AddVariable("v", HostTensor::Scalar<float>(1));
  Tensor assigned = v.Assign(x);
  Tensor checked = CheckNumerics(Log(x), "logarithm").Named("checked");
  Interpreter interpreter(graph);
  ASSERT_TRUE(interpreter.Initialize().ok());
  const auto result = interpreter.Run({{"x", HostTensor::Scalar<float>(-1)}}, {assigned, checked});
  EXPECT_TRUE(Mentions(result.status(), "logarithm")) << result.status();
  EXPECT_TRUE(Mentions(result.status(), "checked")) << result.status();
  EXPECT_EQ(interpreter.variables()["v"].values<float>()[0], 1);
}

TEST(Interpreter, AssertionsStopTheRun) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {});
  Tensor y = Assert(Greater(x, 0.0), x, "x must be positive");
  EXPECT_TRUE(EvaluateGraph(graph, {{"x", HostTensor::Scalar<float>(1)}}, {y}).ok());
  const auto result = EvaluateGraph(graph, {{"x", HostTensor::Scalar<float>(0)}}, {y});
  EXPECT_TRUE(Mentions(result.status(), "x must be positive")) << result.status();
}

TEST(Interpreter, PrintsAndConstantsPassThrough) {
  Graph graph;
  Tensor c = graph.Constant(Floats({1, 2, 3}));
  testing::internal::CaptureStderr();
  const auto values = EvaluateGraph(graph, {}, {Print(c, "c is", 2), c});
  EXPECT_NE(testing::internal::GetCapturedStderr().find("c is"), std::string::npos);
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_EQ((*values)[0].ToString(), (*values)[1].ToString());
}

TEST(Interpreter, RunsLoopsAndBranches) {
  Graph graph;
  Tensor n = graph.Input("n", DataType::kI64, {});
  Tensor step = graph.Constant(HostTensor::Scalar<int64_t>(1));
  // Collatz: steps until n is 1.
  Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  Tensor steps = While(
      {n, zero}, [](const std::vector<Tensor>& v) { return NotEqual(v[0], 1.0); },
      [&](const std::vector<Tensor>& v) {
        Tensor next = Cond(
            Equal(Rem(v[0], 2.0), 0.0), [&] { return std::vector<Tensor>{v[0] / 2.0}; },
            [&] { return std::vector<Tensor>{v[0] * 3.0 + step}; })[0];
        return std::vector<Tensor>{next, v[1] + step};
      },
      200)[1];
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const auto result = EvaluateGraph(graph, {{"n", HostTensor::Scalar<int64_t>(27)}}, {steps});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ((*result)[0].values<int64_t>()[0], 111);
  const auto too_long =
      EvaluateGraph(graph, {{"n", HostTensor::Scalar<int64_t>(9780657630)}}, {steps});
  EXPECT_TRUE(Mentions(too_long.status(), "max_iterations = 200")) << too_long.status();
}

TEST(Interpreter, FetchesOfAnotherGraphAreErrors) {
  Graph graph, other;
  Tensor x = other.Input("x", DataType::kF32, {});
  EXPECT_FALSE(EvaluateGraph(graph, {}, {x}).ok());
  EXPECT_FALSE(EvaluateGraph(graph, {}, {Tensor()}).ok());
}

}  // namespace
}  // namespace weft
