// Writes the graph files that tools/bench.sh measures: the same work as in peers.py.
//
//   workloads FOLDER
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"
#include "tests/benchmarks/write_workloads.h"
#include "tools/data/random.h"

namespace {

using namespace weft;  // NOLINT: short graphs

// Weights that never change are constants, as they are for the peers.
Tensor Weights(Graph& graph, const std::vector<int64_t>& shape, double scale) {
  int64_t size = 1;
  for (const int64_t dim : shape) size *= dim;
  std::vector<float> values(size);
  SplitMix64 random(static_cast<uint64_t>(size));
  for (float& value : values) {
    value = static_cast<float>(scale * (static_cast<double>(random.Below(2001)) / 1000 - 1));
  }
  return graph.Constant(HostTensor::Of<float>(shape, values));
}

Tensor Input(Graph& graph, const char* name, const std::vector<Graph::Dim>& shape) {
  return graph.Input(name, DataType::kF32, shape);
}

void MatMul1024(Graph& graph) {
  graph.AddSignature(
      "predict", {{"y", MatMul(Input(graph, "a", {1024, 1024}), Input(graph, "b", {1024, 1024}))}});
}

void Conv3(Graph& graph) {
  const Tensor x = Input(graph, "x", {1, 56, 56, 64});
  const Tensor filter = Weights(graph, {3, 3, 64, 64}, 0.1);
  graph.AddSignature("predict", {{"y", Conv2D(x, filter, {1, 1}, {1, 1, 1, 1}, {1, 1})}});
}

void Elementwise16M(Graph& graph) {
  const Tensor x = Input(graph, "x", {16 << 20});
  graph.AddSignature("predict", {{"y", Tanh(Logistic(x * x + x)) * x}});
}

void Softmax4096(Graph& graph) {
  graph.AddSignature("predict", {{"y", Softmax(Input(graph, "x", {4096, 4096}))}});
}

void Mlp(Graph& graph) {
  Tensor x = Input(graph, "x", {"batch", 784});
  const int64_t sizes[] = {784, 512, 512, 10};
  for (int layer = 0; layer < 3; ++layer) {
    x = MatMul(x, Weights(graph, {sizes[layer], sizes[layer + 1]}, 0.05)) +
        Weights(graph, {sizes[layer + 1]}, 0.05);
    if (layer < 2) x = Relu(x);
  }
  graph.AddSignature("predict", {{"y", x}});
}

void Train(Graph& graph, const std::vector<Graph::Dim>& shape,
           const std::function<Tensor(Layers&, Tensor)>& model) {
  Layers layers(graph);
  const Tensor x = Input(graph, "x", shape);
  const Tensor y = graph.Input("y", DataType::kI32, {"batch"});
  const Tensor loss = Mean(SoftmaxCrossEntropy(model(layers, x), y));
  graph.AddSignature("train_step", {{"loss", loss}}, Adam(graph).Minimize(loss));
}

void TrainMlp(Graph& graph) {
  Train(graph, {"batch", 784}, [](Layers& layers, Tensor x) {
    x = Relu(layers.Dense("dense1", x, 512));
    x = Relu(layers.Dense("dense2", x, 512));
    return layers.Dense("dense3", x, 10);
  });
}

void TrainCnn(Graph& graph) {
  Train(graph, {"batch", 28, 28, 1}, [](Layers& layers, Tensor x) {
    x = Relu(layers.Conv2D("conv1", x, 32, {3, 3}));
    x = Relu(layers.Conv2D("conv2", x, 64, {3, 3}));
    x = Flatten(MaxPool2D(x, {2, 2}));
    return layers.Dense("dense2", Relu(layers.Dense("dense1", x, 128)), 10);
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::pair<std::string, std::function<void(Graph&)>>> workloads = {
      {"matmul_1024", MatMul1024},   {"conv3_64_56", Conv3}, {"eltwise_16m", Elementwise16M},
      {"softmax_4096", Softmax4096}, {"mlp", Mlp},           {"train_mlp", TrainMlp},
      {"train_cnn", TrainCnn}};
  return WriteWorkloads(argc, argv, workloads);
}
