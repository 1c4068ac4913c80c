// Writes the graph files that tools/gpu_check.sh measures: the same work as in gpu_peers.py. All
// that a signature "run" reads and writes is variables, which stay on the GPU, so that nothing but
// the work is timed.
//
//   gpu_workloads [--small] FOLDER       --small: the same graphs at sizes for an emulated GPU
#include <functional>
#include <string>
#include <string_view>
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

// Which of two sizes a workload has.
struct Sizes {
  bool small;
  int64_t operator()(int64_t large, int64_t emulated) const { return small ? emulated : large; }
};

using Function = std::function<Tensor(Layers&, const std::vector<Tensor>&)>;

// y = function of values in [-1, 1), each in a variable of its own; with `gradients`, those of all
// operands as well, for such values as y's gradient.
void Apply(Graph& graph, DataType dtype, const std::vector<Shape>& shapes, const Function& function,
           bool gradients = false) {
  Layers layers(graph, 1);
  std::vector<Tensor> operands;
  for (size_t i = 0; i < shapes.size(); ++i) {
    operands.push_back(Data(layers, absl::StrCat("x", i).c_str(), dtype, shapes[i]).Read());
  }
  std::vector<Tensor> results = {function(layers, operands)};
  if (gradients) {
    const Tensor dy = Data(layers, "dy", dtype, results[0].shape()).Read();
    for (const Tensor& dx : Gradients(results[0], operands, dy)) results.push_back(dx);
  }
  std::vector<Tensor> assigned;
  for (size_t i = 0; i < results.size(); ++i) {
    const Variable result = layers.Parameter(absl::StrCat("y", i), dtype, results[i].shape(),
                                             Initializer::Zeros(), /*trainable=*/false);
    assigned.push_back(result.Assign(results[i]));
  }
  graph.AddSignature("run", {}, assigned);
}

void MatMulOf(Graph& graph, DataType dtype, int64_t n) {
  Apply(graph, dtype, {{n, n}, {n, n}},
        [](Layers&, const std::vector<Tensor>& x) { return MatMul(x[0], x[1]); });
}

void Elementwise(Graph& graph, Sizes size) {
  Apply(graph, DataType::kF32, {{size(64 << 20, 4096)}}, [](Layers&, const std::vector<Tensor>& x) {
    return Tanh(Logistic(x[0] * x[0] + x[0])) * x[0];
  });
}

void SoftmaxRows(Graph& graph, Sizes size) {
  Apply(graph, DataType::kF32, {{size(16384, 16), size(4096, 256)}},
        [](Layers&, const std::vector<Tensor>& x) { return Softmax(x[0]); });
}

void LayerNormRows(Graph& graph, Sizes size) {
  Apply(
      graph, DataType::kF32, {{size(16384, 16), size(4096, 256)}},
      [](Layers& layers, const std::vector<Tensor>& x) { return layers.LayerNorm("norm", x[0]); });
}

// 8 texts of 1024 places, 16 heads of 64 features.
void Attention(Graph& graph, Sizes size, bool gradients) {
  const Shape shape = {size(8 * 16, 2), size(1024, 32), 64};
  Apply(
      graph, DataType::kBF16, {shape, shape, shape},
      [](Layers&, const std::vector<Tensor>& x) {
        const Tensor scores = MatMul(x[0], Transpose(x[1], {0, 2, 1})) * (1.0 / 8);
        return MatMul(Softmax(scores), x[2]);
      },
      gradients);
}

// A layer from the middle of a network for images.
void Convolution(Graph& graph, Sizes size, bool gradients) {
  const int64_t pixels = size(56, 8), channels = size(128, 16);
  Apply(
      graph, DataType::kBF16, {{size(64, 2), pixels, pixels, channels}, {3, 3, channels, channels}},
      [](Layers&, const std::vector<Tensor>& x) {
        return Conv2D(x[0], x[1], {1, 1}, {1, 1, 1, 1}, {1, 1});
      },
      gradients);
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

void TrainMlp(Graph& graph, DataType dtype, Sizes size) {
  const int64_t batch = size(1024, 16), wide = size(4096, 32);
  Layers layers(graph, 1);
  Tensor x = Data(layers, "x", dtype, {batch, size(784, 28)}).Read();
  x = Relu(layers.Dense("dense1", x, wide));
  x = Relu(layers.Dense("dense2", x, wide));
  Train(graph, layers.Dense("dense3", x, 10), Classes({batch}, 10));
}

void TrainTransformer(Graph& graph, DataType dtype, Sizes size) {
  const int64_t batch = size(16, 1), context = size(256, 8), features = size(512, 16),
                heads = size(8, 2), words_known = size(512, 16), blocks = size(4, 1);
  Layers layers(graph, 1);
  const Tensor words =
      graph.AddVariable("words", Classes({batch, context}, words_known), /*trainable=*/false)
          .Read();
  Tensor x = layers.Embedding("embedding", words, words_known, features, dtype);
  for (int64_t block = 0; block < blocks; ++block) {
    const ScopeGuard scope = graph.Scope(absl::StrCat("block", block));
    AttentionOptions attention;
    attention.causal = true;
    const Tensor h = layers.LayerNorm("norm1", x);
    x = x + layers.MultiHeadAttention("attention", h, h, heads, attention);
    const Tensor wide = layers.Dense("wide", layers.LayerNorm("norm2", x), 4 * features);
    x = x + layers.Dense("narrow", Gelu(wide, /*approximate=*/true), features);
  }
  Train(graph, layers.Dense("logits", layers.LayerNorm("norm", x), words_known),
        Classes({batch, context}, words_known));
}

}  // namespace

int main(int argc, char** argv) {
  const Sizes size{argc > 1 && std::string_view(argv[1]) == "--small"};
  if (size.small) {
    argv[1] = argv[0];
    --argc;
    ++argv;
  }
  std::vector<std::pair<std::string, std::function<void(Graph&)>>> workloads = {
      {"matmul_f32_4096", [&](Graph& g) { MatMulOf(g, DataType::kF32, size(4096, 64)); }},
      {"eltwise_64m", [&](Graph& g) { Elementwise(g, size); }},
      {"softmax_16384x4096", [&](Graph& g) { SoftmaxRows(g, size); }},
      {"layer_norm_16384x4096", [&](Graph& g) { LayerNormRows(g, size); }}};
  for (const bool gradients : {false, true}) {
    const std::string suffix = gradients ? "_gradients" : "";
    workloads.emplace_back("attention_bf16" + suffix,
                           [=](Graph& g) { Attention(g, size, gradients); });
    workloads.emplace_back("conv_bf16" + suffix,
                           [=](Graph& g) { Convolution(g, size, gradients); });
  }
  for (const DataType dtype : {DataType::kF32, DataType::kBF16}) {
    const std::string suffix = dtype == DataType::kBF16 ? "_bf16" : "";
    workloads.emplace_back("train_mlp" + suffix, [=](Graph& g) { TrainMlp(g, dtype, size); });
    workloads.emplace_back("train_transformer" + suffix,
                           [=](Graph& g) { TrainTransformer(g, dtype, size); });
  }
  for (const int64_t n : {1024, 2048, 4096, 8192}) {
    const int64_t side = size(n, n / 64);
    workloads.emplace_back(absl::StrCat("matmul_bf16_", n),
                           [=](Graph& g) { MatMulOf(g, DataType::kBF16, side); });
    // Of f32, for the compiler's option.
    workloads.emplace_back(absl::StrCat("matmul_tf32_", n),
                           [=](Graph& g) { MatMulOf(g, DataType::kF32, side); });
  }
  return WriteWorkloads(argc, argv, workloads);
}
