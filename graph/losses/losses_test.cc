#include "graph/losses/losses.h"

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

TEST(Losses, ShapesThatDoNotFitAreErrors) {
  Graph graph;
  MeanSquaredError(graph.Input("x", DataType::kF32, {"n", 4}),
                   graph.Input("y", DataType::kF32, {"n", 3}));
  EXPECT_FALSE(graph.status().ok());
}

}  // namespace
}  // namespace weft
