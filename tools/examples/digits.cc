// A convolutional network for 8x8 handwritten digits: declares it once, and writes the graph with
// everything that training, validation and prediction need.
//
//   digits OUT.weft
//   weft train OUT.weft --data images.idx.gz --data labels.idx.gz --epochs 40 --batch 32 ...
#include <cstdio>

#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"

namespace {

// 40 epochs of 42 batches of 32 out of 1,348 images: where the learning rate reaches 0.
constexpr double kSteps = 40 * 42;

weft::Graph DigitsGraph() {
  using namespace weft;  // NOLINT: an example
  Graph graph("digits");
  Layers layers(graph, /*seed=*/1);
  const Tensor image = graph.Input("x", DataType::kU8, {"batch", 8, 8, 1});
  const Tensor label = graph.Input("y", DataType::kI32, {"batch"});

  auto model = [&](bool training) {
    layers.SetTraining(training);
    Tensor x = Cast(image, DataType::kF32) * (1.0 / 16);  // pixels are 0 to 16
    x = Relu(layers.Conv2D("conv1", x, 32, {3, 3}));
    x = Relu(layers.Conv2D("conv2", x, 64, {3, 3}));
    x = layers.Dropout(Flatten(MaxPool2D(x, {2, 2})), 0.4);
    x = Relu(layers.Dense("hidden", x, 128));
    return layers.Dense("logits", layers.Dropout(x, 0.5), 10);
  };

  Tensor logits = model(/*training=*/true);
  const Tensor loss = Mean(SoftmaxCrossEntropy(logits, label));
  Adam adam(graph, {.learning_rate = CosineDecay(2e-3, kSteps)});
  graph.AddSignature("train_step", {{"loss", loss}, {"accuracy", Accuracy(logits, label)}},
                     JoinTargets(adam.Minimize(loss), layers.Updates()));

  logits = model(/*training=*/false);
  graph.AddSignature("eval_step", {{"loss", Mean(SoftmaxCrossEntropy(logits, label))},
                                   {"accuracy", Accuracy(logits, label)}});
  graph.AddSignature("predict",
                     {{"class", ArgMax(logits, -1)}, {"probabilities", Softmax(logits)}});
  return graph;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || argv[1][0] == '-') {
    std::fprintf(stderr, "usage: digits OUT.weft\n");
    return 2;
  }
  const weft::Graph graph = DigitsGraph();
  absl::Status status = graph.status();
  if (status.ok()) status = graph.Save(argv[1]);
  if (!status.ok()) {
    std::fprintf(stderr, "digits: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}
