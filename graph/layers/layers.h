// Layers: functions with parameters.
#ifndef WEFT_GRAPH_LAYERS_LAYERS_H_
#define WEFT_GRAPH_LAYERS_LAYERS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "graph/layers/functions.h"
#include "graph/layers/initializers.h"

namespace weft {

struct DenseOptions {
  bool use_bias = true;
  Initializer kernel = Initializer::GlorotUniform();
  Initializer bias = Initializer::Zeros();
};

// What surrounds the image. kSame: so much that the output has ceil(size / stride) pixels, the
// larger half at the end; a stride above 1 needs a known size for that.
enum class Padding { kValid, kSame };

struct Conv2DOptions {
  std::array<int64_t, 2> strides = {1, 1};
  std::array<int64_t, 2> dilations = {1, 1};
  Padding padding = Padding::kSame;
  int64_t groups = 1;
  bool use_bias = true;
  Initializer kernel = Initializer::HeNormal();
  Initializer bias = Initializer::Zeros();
};

struct NormOptions {
  // Added to the variance; > 0.
  double epsilon = 1e-5;
  bool use_scale = true;
  bool use_offset = true;
  // Batch normalisation: the moving statistics keep this share of themselves at each step, in
  // [0, 1).
  double momentum = 0.9;
};

struct AttentionOptions {
  // A query sees no key after its own place.
  bool causal = false;
  // Where it is valid: a bool tensor that can be repeated to [n, heads, t, s]; a query sees only
  // the keys for which it holds, [n, 1, 1, s] for keys that are padding, say. A query that sees
  // none gets the mean of all values.
  Tensor mask = {};
  // Size of each head; 0: the query's features divided by the number of heads.
  int64_t head_size = 0;
  bool use_bias = true;
  Initializer kernel = Initializer::GlorotUniform();
};

// Targets of a signature: the first and then the second, such as an optimizer's assignments and
// Layers::Updates.
std::vector<Tensor> JoinTargets(std::vector<Tensor> first, const std::vector<Tensor>& second);

// Makes layers over a graph and keeps their variables by name: the second layer of the same name in
// scopes of the same names (Graph::Scope) uses the variables of the first, so a model written as
// one function can be built for training and for prediction in one graph:
//
//   Graph graph("digits");
//   Layers layers(graph);
//   auto model = [&](Tensor image, bool training) {
//     layers.SetTraining(training);
//     Tensor x = Relu(layers.Conv2D("conv", image, 16, {3, 3}));
//     x = layers.Dropout(Flatten(MaxPool2D(x, {2, 2})), 0.2);
//     return layers.Dense("logits", x, 10);
//   };
//   Tensor loss = Mean(SoftmaxCrossEntropy(model(image, true), label));
//   graph.AddSignature("train_step", {{"loss", loss}},
//                      JoinTargets(Adam(graph).Minimize(loss), layers.Updates()));
//   graph.AddSignature("predict", {{"class", ArgMax(model(image, false), -1)}});
//
// Variables are "<name>/kernel", "<name>/bias", ... in the scope that is open at the first call,
// have the dtype of the layer's input, and begin with random numbers that depend on `seed` and on
// how many variables the graph had before. Layers over images expect [n, h, w, c]. Sizes that
// parameters depend on must be known; errors go to Graph::status(). The graph must outlive this;
// not thread-safe.
//
// Normalisation of bf16 and f16 is computed in f32, in which moving statistics are kept as well.
class Layers {
 public:
  explicit Layers(Graph& graph, uint32_t seed = 0) : graph_(graph), seed_(seed) {}
  Layers(const Layers&) = delete;
  Layers& operator=(const Layers&) = delete;

  // Whether batch normalisation uses the batch's statistics, and dropout drops, from here on.
  void SetTraining(bool training) { training_ = training; }
  bool training() const { return training_; }

  // x [..., in], of rank 2 or more, times kernel [in, units], plus bias [units].
  Tensor Dense(std::string_view name, Operand x, int64_t units, const DenseOptions& options = {});
  // x [n, h, w, in], kernel [size, in / groups, filters], bias [filters].
  Tensor Conv2D(std::string_view name, Operand x, int64_t filters, std::array<int64_t, 2> size,
                const Conv2DOptions& options = {});
  // Normalises each feature (last dimension) over all others (Ioffe and Szegedy, 2015):
  //   y = (x - mean) / sqrt(variance + epsilon) * scale + offset.
  // Training: with the batch's mean and biased variance, which also move "moving_mean" and
  // "moving_variance" (see Updates): moving = momentum * moving + (1 - momentum) * batch.
  // Otherwise: with the moving ones.
  Tensor BatchNorm(std::string_view name, Operand input, const NormOptions& options = {});
  // Normalises each position over its features (last dimension) (Ba, Kiros, Hinton, 2016); the
  // formula is that of BatchNorm.
  Tensor LayerNorm(std::string_view name, Operand input, const NormOptions& options = {});
  // Training: zero with probability `rate`, in [0, 1), else x / (1 - rate) (Srivastava et al.,
  // 2014), by random numbers that depend on the seed, the call, and a counter variable, which moves
  // at each step (see Updates). Otherwise: x.
  Tensor Dropout(Operand x, double rate);
  // Rows of table [size, features] at the indices, which are i32 or i64: [...] -> [..., features].
  // An index out of range gives zeros.
  Tensor Embedding(std::string_view name, Operand indices, int64_t size, int64_t features,
                   DataType dtype = DataType::kF32,
                   const Initializer& table = Initializer::Normal(0.02));
  // Scaled dot-product attention with several heads (Vaswani et al., 2017): query [n, t, d] looks
  // at key_value [n, s, e]; the result is [n, t, d]:
  //   head_i = softmax(q_i k_i^T / sqrt(head_size)) v_i,  y = [head_1, ..., head_h] W_out.
  Tensor MultiHeadAttention(std::string_view name, Operand query, Operand key_value, int64_t heads,
                            const AttentionOptions& options = {});

  // The assignments that a training step makes besides the optimizer's: moving statistics and the
  // dropout counter of all layers applied in training so far. Name them as targets; call once.
  std::vector<Tensor> Updates(SourceLocation location = SourceLocation::current());

  // The variable "<name>" in the open scope, made at the first call with this name in scopes of
  // these names.
  Variable Parameter(std::string_view name, DataType dtype, const Shape& shape,
                     const Initializer& initializer, bool trainable = true,
                     SourceLocation location = SourceLocation::current());

 private:
  // (x - mean) * rsqrt(variance + epsilon) * scale + offset in `dtype`, which the parameters have.
  Tensor Normalize(std::string_view name, Tensor x, Tensor mean, Tensor variance, DataType dtype,
                   const NormOptions& options, SourceLocation location);

  Graph& graph_;
  uint32_t seed_;
  bool training_ = false;
  std::map<std::string, Variable> variables_;  // by path of scopes and name
  // Values that variables have after the step, in the order in which they came up.
  std::vector<std::pair<Variable, Tensor>> moved_;
  Variable dropout_step_;
  bool has_dropout_ = false;  // since the last Updates()
  uint32_t dropout_calls_ = 0;
};

// Largest element, and mean, of each window; strides {0, 0} stand for the window's size.
Tensor MaxPool2D(Operand x, std::array<int64_t, 2> window, std::array<int64_t, 2> strides = {0, 0},
                 Padding padding = Padding::kValid);
Tensor AvgPool2D(Operand x, std::array<int64_t, 2> window, std::array<int64_t, 2> strides = {0, 0},
                 Padding padding = Padding::kValid);
// Mean over h and w: [n, h, w, c] -> [n, c].
Tensor GlobalAvgPool2D(Operand x);

}  // namespace weft

#endif  // WEFT_GRAPH_LAYERS_LAYERS_H_
