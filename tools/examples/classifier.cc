// The ten lines of the README, as a program: declares a classifier with everything that training,
// validation and prediction need, and writes its graph to ./classifier.weft. tests/cli/readme_test
// compares the two and goes on as the README does.
#include <cstdio>
#include <string>

#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"

using namespace weft;  // NOLINT: an example

int main() {
  Graph graph("classifier");
  Layers layers(graph);
  Tensor x = graph.Input("x", DataType::kF32, {"batch", 784});
  Tensor y = graph.Input("y", DataType::kI32, {"batch"});
  Tensor logits = layers.Dense("logits", Relu(layers.Dense("hidden", x, 128)), 10);
  Tensor loss = Mean(SoftmaxCrossEntropy(logits, y));
  graph.AddSignature("train_step", {{"loss", loss}}, Adam(graph).Minimize(loss));
  graph.AddSignature("eval_step", {{"loss", loss}, {"accuracy", Accuracy(logits, y)}});
  graph.AddSignature("predict", {{"class", ArgMax(logits, -1)}});
  absl::Status status = graph.Save("classifier.weft");
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
