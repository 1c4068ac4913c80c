#include "graph/losses/losses.h"

#include <cmath>
#include <functional>
#include <limits>

#include "graph/interpreter.h"
#include "graph/layers/functions.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_file.h"

namespace weft {
namespace {

Tensor Given(Graph& graph, const std::string& name) {
  return graph.Constant(Composite("losses/" + name));
}

void Expect(const Graph& graph, Tensor y, const std::string& name) {
  const auto values = EvaluateGraph(graph, {}, {y});
  ASSERT_TRUE(values.ok()) << values.status();
  SCOPED_TRACE(name);
  ExpectNear((*values)[0], Composite("losses/" + name));
}

TEST(Losses, GiveNumPysValues) {
  Graph graph;
  Tensor logits = Given(graph, "logits"), labels = Given(graph, "labels");
  Tensor prediction = Given(graph, "prediction"), target = Given(graph, "target");
  Expect(graph, SoftmaxCrossEntropy(logits, labels), "softmax_cross_entropy");
  Expect(graph, SigmoidCrossEntropy(logits, Given(graph, "targets")), "sigmoid_cross_entropy");
  Expect(graph, MeanSquaredError(prediction, target), "mse");
  Expect(graph, MeanAbsoluteError(prediction, target), "mae");
  Expect(graph, HuberLoss(prediction, target, 0.7), "huber");
  Expect(graph, Accuracy(logits, labels), "accuracy");
}

// softmax - onehot, also where a logit is 1000 above the others.
TEST(Losses, SoftmaxCrossEntropyHasItsGradient) {
  Graph graph;
  Tensor logits = Given(graph, "logits");
  Tensor loss = Mean(SoftmaxCrossEntropy(logits, Given(graph, "labels")));
  Expect(graph, Gradients(loss, {logits})[0], "softmax_cross_entropy_gradient");
}

std::vector<double> ValuesOf(const Graph& graph, Tensor y) {
  const auto values = EvaluateGraph(graph, {}, {y});
  EXPECT_TRUE(values.ok()) << values.status();
  if (!values.ok()) return {};
  return std::vector<double>((*values)[0].values<double>().begin(),
                             (*values)[0].values<double>().end());
}

// A class that is masked by -inf neither counts nor spoils the loss or its gradient.
TEST(Losses, SoftmaxCrossEntropyTakesMaskedClasses) {
  Graph graph;
  const double inf = std::numeric_limits<double>::infinity();
  Tensor logits = graph.Constant(HostTensor::Of<double>({1, 3}, {1, -inf, 3}));
  Tensor label = graph.Constant(HostTensor::Of<int32_t>({1}, {2}));
  Tensor loss = SoftmaxCrossEntropy(logits, label);
  const double p = 1 / (1 + std::exp(2.0));
  EXPECT_NEAR(ValuesOf(graph, loss)[0], -std::log(1 - p), 1e-15);
  const std::vector<double> gradient = ValuesOf(graph, Gradients(loss, {logits})[0]);
  EXPECT_NEAR(gradient[0], p, 1e-15);
  EXPECT_EQ(gradient[1], 0);
  EXPECT_NEAR(gradient[2], -p, 1e-15);
}

// sigmoid(x) - t, and sigmoid'(x) once more; logits are 0 where a model begins with zeros.
TEST(Losses, SigmoidCrossEntropyHasItsGradientsAtZero) {
  Graph graph;
  Tensor logits = graph.Constant(HostTensor::Of<double>({4}, {0, 0, -800, 800}));
  Tensor targets = graph.Constant(HostTensor::Of<double>({4}, {0, 1, 1, 0.25}));
  Tensor first = Gradients(SigmoidCrossEntropy(logits, targets), {logits})[0];
  EXPECT_EQ(ValuesOf(graph, first), (std::vector<double>{0.5, -0.5, -1, 0.75}));
  EXPECT_EQ(ValuesOf(graph, Gradients(first, {logits})[0]),
            (std::vector<double>{0.25, 0.25, 0, 0}));
}

TEST(Losses, HuberHasItsGradientsAtZeroAndAtDelta) {
  Graph graph;
  Tensor x = graph.Constant(HostTensor::Of<double>({4}, {0, 2, -2, 5}));
  Tensor first = Gradients(HuberLoss(x, 0.0, 2.0) * 4.0, {x})[0];
  EXPECT_EQ(ValuesOf(graph, first), (std::vector<double>{0, 2, -2, 2}));
  EXPECT_EQ(ValuesOf(graph, Gradients(first, {x})[0])[0], 1);
}

void ExpectError(const char* part, const std::function<void(Tensor x, Tensor y)>& loss,
                 const std::vector<Graph::Dim>& y_shape, DataType y_dtype = DataType::kF32) {
  Graph graph;
  loss(graph.Input("x", DataType::kF32, {"n", 4}), graph.Input("y", y_dtype, y_shape));
  EXPECT_NE(graph.status().message().find(part), std::string::npos) << graph.status();
  EXPECT_NE(graph.status().message().find("losses_test.cc"), std::string::npos) << graph.status();
}

// Also those that an op would repeat: a loss over all pairs of a batch is nobody's wish.
TEST(Losses, ShapesThatDoNotFitAreErrors) {
  const std::vector<Graph::Dim> wrong[] = {{"n", 3}, {"n", 1}, {"n"}, {}};
  for (const auto& shape : wrong) {
    ExpectError("one shape", [](Tensor x, Tensor y) { MeanSquaredError(x, y); }, shape);
    ExpectError("one shape", [](Tensor x, Tensor y) { MeanAbsoluteError(x, y); }, shape);
    ExpectError("one shape", [](Tensor x, Tensor y) { HuberLoss(x, y); }, shape);
    ExpectError("one shape", [](Tensor x, Tensor y) { SigmoidCrossEntropy(x, y); }, shape);
  }
  const std::vector<Graph::Dim> wrong_labels[] = {{"n", 1}, {"m"}, {}, {"n", 4}};
  for (const auto& shape : wrong_labels) {
    ExpectError(
        "labels", [](Tensor x, Tensor y) { SoftmaxCrossEntropy(x, y); }, shape, DataType::kI32);
    ExpectError("labels", [](Tensor x, Tensor y) { Accuracy(x, y); }, shape, DataType::kI32);
  }
  ExpectError("delta", [](Tensor x, Tensor y) { HuberLoss(x, y, 0); }, {"n", 4});
}

}  // namespace
}  // namespace weft
