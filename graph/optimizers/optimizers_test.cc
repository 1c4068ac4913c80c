#include "graph/optimizers/optimizers.h"

#include <cmath>
#include <functional>
#include <memory>

#include "graph/interpreter.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_file.h"

namespace weft {
namespace {

using MakeOptimizer = std::function<std::unique_ptr<Optimizer>(Graph&)>;

// Four steps on sum a (w - b)^2 / 2 against NumPy's.
void ExpectTrajectory(const std::string& name, const MakeOptimizer& make) {
  SCOPED_TRACE(name);
  Graph graph;
  Tensor a = graph.Constant(Composite("optimizers/a")),
         b = graph.Constant(Composite("optimizers/b"));
  Variable w = graph.AddVariable("w", Composite("optimizers/w"));
  Tensor error = w - b;
  Tensor loss = ReduceSum(a * error * error * 0.5, {0});
  const std::vector<Tensor> targets = make(graph)->Minimize(loss);
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  Interpreter interpreter(graph);
  ASSERT_TRUE(interpreter.Initialize().ok());
  const HostTensor expected = Composite("optimizers/" + name);
  for (int64_t step = 0; step < 4; ++step) {
    const auto run = interpreter.Run({}, {}, targets);
    ASSERT_TRUE(run.ok()) << run.status();
    const auto row = expected.values<double>().subspan(step * 5, 5);
    ExpectNear(interpreter.variables()["w"],
               HostTensor::Of<double>({5}, absl::Span<const double>(row)));
  }
}

TEST(Optimizers, MakeNumPysSteps) {
  ExpectTrajectory(
      "sgd", [](Graph& g) { return std::make_unique<Sgd>(g, SgdOptions{.learning_rate = 0.1}); });
  ExpectTrajectory("momentum", [](Graph& g) {
    return std::make_unique<Sgd>(
        g, SgdOptions{.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.01});
  });
  ExpectTrajectory("nesterov", [](Graph& g) {
    return std::make_unique<Sgd>(
        g, SgdOptions{.learning_rate = 0.1, .momentum = 0.9, .nesterov = true});
  });
  ExpectTrajectory("adam", [](Graph& g) {
    return std::make_unique<Adam>(g, AdamOptions{.learning_rate = 0.1});
  });
  ExpectTrajectory("adamw", [](Graph& g) {
    return std::make_unique<AdamW>(
        g, AdamWOptions{.adam = {.learning_rate = 0.1}, .weight_decay = 0.05});
  });
  ExpectTrajectory("adam_schedule", [](Graph& g) {
    return std::make_unique<Adam>(
        g, AdamOptions{.learning_rate = WarmUp(3, CosineDecay(0.1, 8, 0.2))});
  });
  ExpectTrajectory("adam_clip_norm", [](Graph& g) {
    return std::make_unique<Adam>(g, AdamOptions{.learning_rate = 0.1, .clipping = {.norm = 0.5}});
  });
  ExpectTrajectory("adam_clip_value", [](Graph& g) {
    return std::make_unique<Adam>(g, AdamOptions{.learning_rate = 0.1, .clipping = {.value = 0.3}});
  });
}

TEST(Schedules, GiveNumPysRates) {
  const std::pair<const char*, Schedule> schedules[] = {
      {"cosine", CosineDecay(0.1, 10, 0.1)},
      {"step", StepDecay(0.1, 0.5, 4)},
      {"step_to_zero", StepDecay(0.1, 0, 4)},
      {"warm_up", WarmUp(3, CosineDecay(0.1, 8, 0.2))}};
  for (const auto& [name, schedule] : schedules) {
    SCOPED_TRACE(name);
    Graph graph;
    Tensor step = graph.Input("step", DataType::kF64, {});
    Tensor rate = schedule.At(step);
    const HostTensor expected = Composite(std::string("schedules/") + name);
    for (int64_t i = 0; i < expected.num_elements(); ++i) {
      const auto value = EvaluateGraph(
          graph, {{"step", HostTensor::Scalar<double>(static_cast<double>(i))}}, {rate});
      ASSERT_TRUE(value.ok()) << value.status();
      EXPECT_NEAR((*value)[0].values<double>()[0], expected.values<double>()[i], 1e-12) << i;
    }
  }
}

// The step of a narrow variable is that of f32, rounded; its state is f32. A gradient of zeros
// moves nothing, though Adam's epsilon is 0 in f16.
TEST(Optimizers, NarrowVariablesKeepStateInF32) {
  for (DataType dtype : {DataType::kBF16, DataType::kF16}) {
    Graph graph;
    Variable narrow = graph.AddVariable("narrow", Full(graph, dtype, {2}, 1));
    Variable wide = graph.AddVariable("wide", Full(graph, DataType::kF32, {2}, 1));
    Tensor gradient = graph.Constant(HostTensor::Of<float>({2}, {0, 0.5}));
    const std::vector<Tensor> targets =
        Adam(graph, {.learning_rate = 0.25})
            .Apply({narrow, wide}, {Cast(gradient, dtype), gradient});
    ASSERT_TRUE(graph.status().ok()) << graph.status();
    Interpreter interpreter(graph);
    ASSERT_TRUE(interpreter.Initialize().ok());
    for (int step = 0; step < 3; ++step) {
      const auto run = interpreter.Run({}, {}, targets);
      ASSERT_TRUE(run.ok()) << run.status();
    }
    const TensorMap& state = interpreter.variables();
    EXPECT_EQ(state.at("narrow").dtype(), dtype);
    EXPECT_EQ(state.at("adam/v/narrow").values<float>(), state.at("adam/v/wide").values<float>());
    ExpectNear(state.at("narrow"), state.at("wide"), 4e-3);
    EXPECT_EQ(state.at("wide").values<float>()[0], 1);
  }
}

TEST(Optimizers, ClippingLeavesGradientsOfZero) {
  Graph graph;
  Tensor zeros = Full(graph, DataType::kF32, {DimExpr(3)}, 0);
  const auto values = EvaluateGraph(graph, {}, {ClipByGlobalNorm({zeros, zeros}, 1)[1]});
  ASSERT_TRUE(values.ok()) << values.status();
  for (float v : (*values)[0].values<float>()) EXPECT_EQ(v, 0);
}

TEST(Optimizers, NumbersThatMakeNoSenseAreErrors) {
  auto expect = [](const char* part, const std::function<void(Graph&, Variable)>& use) {
    Graph graph;
    use(graph, graph.AddVariable("w", HostTensor::Of<float>({2}, {1, 2})));
    EXPECT_NE(graph.status().message().find(part), std::string::npos) << graph.status();
    EXPECT_NE(graph.status().message().find("optimizers_test.cc"), std::string::npos);
  };
  auto step = [](const AdamOptions& options) {
    return [options](Graph& g, Variable w) { Adam(g, options).Minimize(ReduceSum(w, {0})); };
  };
  expect("limit > 0", step({.clipping = {.norm = -1}}));
  expect("limit > 0", step({.clipping = {.value = std::nan("")}}));
  expect("beta", step({.beta2 = 1}));
  expect("steps > 0", step({.learning_rate = CosineDecay(0.1, 0)}));
  expect("steps > 0", step({.learning_rate = WarmUp(-1, 0.1)}));
  expect("every > 0", step({.learning_rate = StepDecay(0.1, 0.5, 0)}));
  expect("factor >= 0", step({.learning_rate = StepDecay(0.1, -0.5, 2)}));
}

// y = 2 x - 1 from 16 points, with an open batch.
TEST(Training, FitsALine) {
  Graph graph("line");
  Layers layers(graph);
  Tensor x = graph.Input("x", DataType::kF32, {"batch", 1});
  Tensor y = graph.Input("y", DataType::kF32, {"batch", 1});
  Tensor loss = MeanSquaredError(layers.Dense("fc", x, 1), y);
  graph.AddSignature("train_step", {{"loss", loss}},
                     Adam(graph, {.learning_rate = 0.1}).Minimize(loss));
  ASSERT_TRUE(graph.status().ok()) << graph.status();

  HostTensor xs = *HostTensor::Create(DataType::kF32, {16, 1}), ys = xs.Clone();
  for (int i = 0; i < 16; ++i) {
    xs.mutable_values<float>()[i] = static_cast<float>(i) / 8 - 1;
    ys.mutable_values<float>()[i] = 2 * xs.values<float>()[i] - 1;
  }
  Interpreter interpreter(graph);
  ASSERT_TRUE(interpreter.Initialize().ok());
  float last = 1;
  for (int step = 0; step < 200; ++step) {
    const auto result = interpreter.RunSignature("train_step", {{"x", xs}, {"y", ys}});
    ASSERT_TRUE(result.ok()) << result.status();
    last = result->at("loss").values<float>()[0];
  }
  EXPECT_LT(last, 1e-6);
  EXPECT_NEAR(interpreter.variables()["fc/kernel"].values<float>()[0], 2, 2e-3);
  EXPECT_NEAR(interpreter.variables()["fc/bias"].values<float>()[0], -1, 2e-3);
}

// A small convolutional network with every kind of layer that training treats specially learns to
// tell a bright upper half from a bright lower one.
TEST(Training, ConvolutionalNetworkLearns) {
  Graph graph("halves");
  Layers layers(graph, 3);
  Tensor image = graph.Input("image", DataType::kF32, {"batch", 4, 4, 1});
  Tensor label = graph.Input("label", DataType::kI32, {"batch"});
  auto model = [&](bool training) {
    layers.SetTraining(training);
    Tensor h = Relu(layers.BatchNorm("norm", layers.Conv2D("conv", image, 4, {3, 3})));
    h = layers.Dropout(Flatten(MaxPool2D(h, {2, 2})), 0.1);
    return layers.Dense("logits", h, 2);
  };
  Tensor loss = Mean(SoftmaxCrossEntropy(model(true), label));
  Sgd sgd(graph, {.learning_rate = 0.2, .momentum = 0.9});
  graph.AddSignature("train_step", {{"loss", loss}},
                     JoinTargets(sgd.Minimize(loss), layers.Updates()));
  graph.AddSignature("eval_step", {{"accuracy", Accuracy(model(false), label)}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();

  TensorMap feeds = {{"image", *HostTensor::Create(DataType::kF32, {8, 4, 4, 1})},
                     {"label", *HostTensor::Create(DataType::kI32, {8})}};
  for (int i = 0; i < 8 * 16; ++i) {
    const bool lower = (i / 8) % 2 == 1;
    const bool bright = lower == ((i / 16) % 2 == 1);
    feeds["image"].mutable_values<float>()[i] = (bright ? 1.0f : 0.0f) + 0.01f * (i % 7);
    feeds["label"].mutable_values<int32_t>()[i / 16] = (i / 16) % 2;
  }
  Interpreter interpreter(graph);
  ASSERT_TRUE(interpreter.Initialize().ok());
  for (int step = 0; step < 40; ++step) {
    const auto result = interpreter.RunSignature("train_step", feeds);
    ASSERT_TRUE(result.ok()) << result.status();
  }
  const auto result = interpreter.RunSignature("eval_step", feeds);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->at("accuracy").values<float>()[0], 1);
}

// A small causal transformer with an open batch, in f64: its gradients against finite differences
// through the whole model, then training until it has learned to repeat a pattern.
TEST(Training, TransformerLearns) {
  constexpr int64_t kLength = 4, kFeatures = 6, kWords = 5;
  Graph graph("transformer");
  Layers layers(graph, 5);
  Tensor tokens = graph.Input("tokens", DataType::kI32, {"batch", kLength});
  Tensor next = graph.Input("next", DataType::kI32, {"batch", kLength});
  Tensor x = layers.Embedding("words", tokens, kWords, kFeatures, DataType::kF64);
  Tensor places = Iota(graph, {DimExpr(kLength)}, 0, DataType::kI32);
  x = x + layers.Embedding("places", places, kLength, kFeatures, DataType::kF64);
  Tensor normed = layers.LayerNorm("norm1", x);
  x = x + layers.MultiHeadAttention("attention", normed, normed, 2, {.causal = true});
  Tensor hidden = layers.Dense("mlp1", layers.LayerNorm("norm2", x), 12);
  x = x + layers.Dense("mlp2", Gelu(hidden), kFeatures);
  Tensor loss = Mean(SoftmaxCrossEntropy(layers.Dense("logits", x, kWords), next));

  const std::vector<Variable> variables = graph.Variables(true);
  std::vector<Tensor> values;
  for (const Variable& v : variables) values.push_back(v.Read());
  const std::vector<Tensor> gradients = Gradients(loss, values);
  Adam adam(graph, {.learning_rate = 0.03, .clipping = {.norm = 1}});
  graph.AddSignature("train_step", {{"loss", loss}}, adam.Apply(variables, gradients));
  ASSERT_TRUE(graph.status().ok()) << graph.status();

  TensorMap feeds = {
      {"tokens", HostTensor::Of<int32_t>({3, 4}, {0, 1, 2, 3, 4, 0, 1, 2, 2, 3, 4, 0})},
      {"next", HostTensor::Of<int32_t>({3, 4}, {1, 2, 3, 4, 0, 1, 2, 3, 3, 4, 0, 1})}};
  Interpreter interpreter(graph);
  ASSERT_TRUE(interpreter.Initialize().ok());
  const auto analytic = interpreter.Run(feeds, gradients);
  ASSERT_TRUE(analytic.ok()) << analytic.status();
  for (size_t i = 0; i < variables.size(); ++i) {
    HostTensor& value = interpreter.variables()[variables[i].name()];
    const HostTensor kept = value;
    const int64_t element = value.num_elements() / 2;
    auto at = [&](double step) {
      value = kept.Clone();
      value.mutable_values<double>()[element] += step;
      return (*interpreter.Run(feeds, {loss}))[0].values<double>()[0];
    };
    const double numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
    value = kept;
    EXPECT_NEAR((*analytic)[i].values<double>()[element], numeric, 1e-6) << variables[i].name();
  }
  double last = 9;
  for (int step = 0; step < 60; ++step) {
    const auto result = interpreter.RunSignature("train_step", feeds);
    ASSERT_TRUE(result.ok()) << result.status();
    last = result->at("loss").values<double>()[0];
  }
  EXPECT_LT(last, 0.05);
}

}  // namespace
}  // namespace weft
