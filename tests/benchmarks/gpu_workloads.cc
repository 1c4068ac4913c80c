// Writes the graph files that tools/gpu_check.sh measures: the same work as in gpu_peers.py. All
// that a signature "run" reads and writes is variables, which stay on the GPU, so that nothing but
// the work is timed.
//
//   gpu_workloads FOLDER
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"
#include "tests/benchmarks/write_workloads.h"
#include "tools/data/random.h"

namespace {

using namespace weft;  // NOLINT: short graphs

Variable Data(Layers& layers, const char* name, DataType dtype, const Shape& shape) {
  return layers.Parameter(name, dtype, shape, Initializer::Uniform(1), /*trainable=*/false);
}

// y = function of values in [-1, 1), each in a variable of its own.
void Apply(Graph& graph, DataType dtype, const std::vector<Shape>& shapes,
           const std::function<Tensor(Layers&, const std::vector<Tensor>&)>& function) {
  Layers layers(graph, 1);
  std::vector<Tensor> operands;
  for (size_t i = 0; i < shapes.size(); ++i) {
    operands.push_back(Data(layers, absl::StrCat("x", i).c_str(), dtype, shapes[i]).Read());
  }
  const Tensor y = function(layers, operands);
  const Variable result =
      layers.Parameter("y", dtype, y.shape(), Initializer::Zeros(), /*trainable=*/false);
  graph.AddSignature("run", {}, {result.Assign(y)});
}

void MatMulOf(Graph& graph, DataType dtype, int64_t n) {
  Apply(graph, dtype, {{n, n}, {n, n}},
        [](Layers&, const std::vector<Tensor>& x) { return MatMul(x[0], x[1]); });
}

void Elementwise(Graph& graph) {
  Apply(graph, DataType::kF32, {{64 << 20}}, [](Layers&, const std::vector<Tensor>& x) {
    return Tanh(Logistic(x[0] * x[0] + x[0])) * x[0];
  });
}

void SoftmaxRows(Graph& graph) {
  Apply(graph, DataType::kF32, {{16384, 4096}},
        [](Layers&, const std::vector<Tensor>& x) { return Softmax(x[0]); });
}

void LayerNormRows(Graph& graph) {
  Apply(graph, DataType::kF32, {{16384, 4096}}, [](Layers& layers, const std::vector<Tensor>& x) {
    return layers.LayerNorm("norm", x[0]);
  });
}

// 8 texts of 1024 places, 16 heads of 64 features.
void Attention(Graph& graph) {
  const Shape shape = {8 * 16, 1024, 64};
  Apply(graph, DataType::kBF16, {shape, shape, shape}, [](Layers&, const std::vector<Tensor>& x) {
    const Tensor scores = MatMul(x[0], Transpose(x[1], {0, 2, 1})) * (1.0 / 8);
    return MatMul(Softmax(scores), x[2]);
  });
}

HostTensor Classes(const std::vector<int64_t>& shape, int64_t classes) {
  HostTensor tensor = *HostTensor::Create(DataType::kI32, shape);
  SplitMix64 random(static_cast<uint64_t>(classes));
  for (int32_t& value : tensor.mutable_values<int32_t>()) {
    value = static_cast<int32_t>(random.Below(static_cast<uint64_t>(classes)));
  }
  return tensor;
}

void Train(Graph& graph, Tensor logits, const HostTensor& classes) {
  const Tensor y = graph.AddVariable("classes", classes, /*trainable=*/false).Read();
  const Tensor loss = Mean(SoftmaxCrossEntropy(Cast(logits, DataType::kF32), y));
  graph.AddSignature("run", {{"loss", loss}}, Adam(graph).Minimize(loss));
}

void TrainMlp(Graph& graph, DataType dtype) {
  constexpr int64_t kBatch = 1024;
  Layers layers(graph, 1);
  Tensor x = Data(layers, "x", dtype, {kBatch, 784}).Read();
  x = Relu(layers.Dense("dense1", x, 4096));
  x = Relu(layers.Dense("dense2", x, 4096));
  Train(graph, layers.Dense("dense3", x, 10), Classes({kBatch}, 10));
}

void TrainTransformer(Graph& graph, DataType dtype) {
  constexpr int64_t kBatch = 16, kContext = 256, kFeatures = 512, kHeads = 8, kWords = 512;
  Layers layers(graph, 1);
  const Tensor words =
      graph.AddVariable("words", Classes({kBatch, kContext}, kWords), /*trainable=*/false).Read();
  Tensor x = layers.Embedding("embedding", words, kWords, kFeatures, dtype);
  for (int block = 0; block < 4; ++block) {
    const ScopeGuard scope = graph.Scope(absl::StrCat("block", block));
    AttentionOptions attention;
    attention.causal = true;
    const Tensor h = layers.LayerNorm("norm1", x);
    x = x + layers.MultiHeadAttention("attention", h, h, kHeads, attention);
    const Tensor wide = layers.Dense("wide", layers.LayerNorm("norm2", x), 4 * kFeatures);
    x = x + layers.Dense("narrow", Gelu(wide, /*approximate=*/true), kFeatures);
  }
  Train(graph, layers.Dense("logits", layers.LayerNorm("norm", x), kWords),
        Classes({kBatch, kContext}, kWords));
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::pair<std::string, std::function<void(Graph&)>>> workloads = {
      {"matmul_f32_4096", [](Graph& g) { MatMulOf(g, DataType::kF32, 4096); }},
      {"eltwise_64m", Elementwise},
      {"softmax_16384x4096", SoftmaxRows},
      {"layer_norm_16384x4096", LayerNormRows},
      {"attention_bf16", Attention},
      {"train_mlp", [](Graph& g) { TrainMlp(g, DataType::kF32); }},
      {"train_mlp_bf16", [](Graph& g) { TrainMlp(g, DataType::kBF16); }},
      {"train_transformer", [](Graph& g) { TrainTransformer(g, DataType::kF32); }},
      {"train_transformer_bf16", [](Graph& g) { TrainTransformer(g, DataType::kBF16); }}};
  for (const int64_t n : {1024, 2048, 4096, 8192}) {
    workloads.emplace_back(absl::StrCat("matmul_bf16_", n),
                           [n](Graph& g) { MatMulOf(g, DataType::kBF16, n); });
    // Of f32, for the compiler's option.
    workloads.emplace_back(absl::StrCat("matmul_tf32_", n),
                           [n](Graph& g) { MatMulOf(g, DataType::kF32, n); });
  }
  return WriteWorkloads(argc, argv, workloads);
}
