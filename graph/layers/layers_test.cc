#include "graph/layers/layers.h"

#include <cmath>
#include <limits>
#include <set>

#include "graph/interpreter.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_file.h"

namespace weft {
namespace {

// A constant with a golden value.
Tensor Given(Graph& graph, const std::string& name) { return graph.Constant(Composite(name)); }

// The value of a tensor, with the variables' golden values where `folder` has them: the variable
// "fc/kernel" takes "<folder>/fc/kernel".
HostTensor Value(const Graph& graph, Tensor y, const std::string& folder = "") {
  Interpreter interpreter(graph);
  EXPECT_TRUE(interpreter.Initialize().ok());
  for (auto& [name, value] : interpreter.variables()) {
    if (!folder.empty() && value.dtype() == DataType::kF64 && name.find("moving") == name.npos) {
      value = Composite(folder + "/" + name);
    }
  }
  auto values = interpreter.Run({}, {y});
  EXPECT_TRUE(values.ok()) << values.status();
  return values.ok() ? (*values)[0] : HostTensor();
}

TEST(Functions, GiveNumPysValues) {
  Graph graph;
  Tensor x = Given(graph, "functions/x");
  const std::pair<const char*, Tensor> functions[] = {
      {"relu", Relu(x)},
      {"leaky_relu", LeakyRelu(x)},
      {"elu", Elu(x)},
      {"gelu", Gelu(x)},
      {"gelu_tanh", Gelu(x, true)},
      {"silu", Silu(x)},
      {"softplus", Softplus(x)},
      {"softmax", Softmax(x)},
      {"log_softmax", LogSoftmax(x)},
      {"log_sum_exp", LogSumExp(x)},
      {"mean0", Mean(x, {0})},
      {"variance1", Variance(x, {-1}, true)},
  };
  for (const auto& [name, y] : functions) {
    SCOPED_TRACE(name);
    ExpectNear(Value(graph, y), Composite(std::string("functions/") + name));
  }
}

// At 0 and far out, where a careless formula gives NaN.
TEST(Functions, GradientsAreFinite) {
  Graph graph;
  Tensor x = graph.Constant(HostTensor::Of<double>({5}, {0, -800, 800, 1e-9, -1e-9}));
  for (Tensor y : {Relu(x), LeakyRelu(x), Elu(x), Gelu(x), Gelu(x, true), Silu(x), Softplus(x),
                   Softmax(x), LogSoftmax(x), LogSumExp(x)}) {
    const HostTensor dx = Value(graph, Gradients(y, {x})[0]);
    for (double value : dx.values<double>()) EXPECT_TRUE(std::isfinite(value)) << y.name();
  }
}

// Where a formula of two pieces meets, both derivatives are those of the smooth function.
TEST(Functions, SoftplusAndEluHaveTheirGradientsAtZero) {
  Graph graph;
  Tensor x = graph.Constant(HostTensor::Of<double>({1}, {0}));
  Tensor first = Gradients(Softplus(x), {x})[0];
  EXPECT_EQ(Value(graph, first).values<double>()[0], 0.5);
  EXPECT_EQ(Value(graph, Gradients(first, {x})[0]).values<double>()[0], 0.25);
  EXPECT_EQ(Value(graph, Gradients(Elu(x), {x})[0]).values<double>()[0], 1);
}

TEST(Functions, LogSumExpOfInfinities) {
  Graph graph;
  const double inf = std::numeric_limits<double>::infinity();
  Tensor x = graph.Constant(
      HostTensor::Of<double>({4, 2}, {-inf, -inf, -inf, 3, inf, 3, std::nan(""), 3}));
  const HostTensor y = Value(graph, LogSumExp(x));
  EXPECT_EQ(y.values<double>()[0], -inf);
  EXPECT_EQ(y.values<double>()[1], 3);
  EXPECT_EQ(y.values<double>()[2], inf);
  EXPECT_TRUE(std::isnan(y.values<double>()[3]));
}

// The cube in the approximation is out of f16's range from 41 on.
TEST(Functions, GeluOfLargeHalvesHasAGradient) {
  Graph graph;
  Tensor x =
      Cast(graph.Constant(HostTensor::Of<double>({4}, {-1000, -50, 50, 1000})), DataType::kF16);
  const HostTensor dx = Value(graph, Gradients(Gelu(x, true), {x})[0]);
  const float expected[] = {0, 0, 1, 1};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(static_cast<float>(dx.values<F16>()[i]), expected[i]) << i;
}

TEST(Functions, MeanCountsOpenDimensions) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"batch", 2});
  Tensor mean = Mean(x);
  for (int64_t batch : {1, 3}) {
    HostTensor value = *HostTensor::Create(DataType::kF32, {batch, 2});
    for (float& v : value.mutable_values<float>()) v = 3;
    const auto result = EvaluateGraph(graph, {{"x", value}}, {mean});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ((*result)[0].values<float>()[0], 3);
  }
}

TEST(Functions, MeanOfHalfPrecisionDoesNotOverflow) {
  Graph graph;
  Tensor x = Full(graph, DataType::kF16, {DimExpr(1000)}, 1000);
  EXPECT_EQ(static_cast<float>(Value(graph, Mean(x)).values<F16>()[0]), 1000);
}

TEST(Layers, Dense) {
  Graph graph;
  Layers layers(graph);
  Tensor y = layers.Dense("fc", Given(graph, "dense/x"), 5);
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  ExpectNear(Value(graph, y, "dense"), Composite("dense/y"));
}

TEST(Layers, Conv2D) {
  Graph graph;
  Layers layers(graph);
  Tensor x = Given(graph, "conv/x");
  Tensor same = layers.Conv2D("c", x, 3, {3, 3});
  Tensor strided = layers.Conv2D("c", x, 3, {3, 3}, {.strides = {2, 2}});
  Tensor valid = layers.Conv2D("c", x, 3, {3, 3}, {.padding = Padding::kValid});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  EXPECT_EQ(graph.Variables().size(), 2u) << "one name, one set of variables";
  ExpectNear(Value(graph, same, "conv"), Composite("conv/same"));
  ExpectNear(Value(graph, strided, "conv"), Composite("conv/same_stride2"));
  ExpectNear(Value(graph, valid, "conv"), Composite("conv/valid"));
}

TEST(Layers, Pooling) {
  Graph graph;
  Tensor x = Given(graph, "conv/x");
  Tensor even = Slice(x, {0, 0, 0, 0}, {1, 4, 6, 2}, {1, 1, 1, 1});
  ExpectNear(Value(graph, MaxPool2D(even, {2, 2})), Composite("pool/max"));
  ExpectNear(Value(graph, AvgPool2D(even, {2, 2})), Composite("pool/avg"));
  ExpectNear(Value(graph, GlobalAvgPool2D(x)), Composite("pool/global"));
}

TEST(Layers, LayerNorm) {
  Graph graph;
  Layers layers(graph);
  Tensor y = layers.LayerNorm("n", Given(graph, "norm/x"));
  Interpreter interpreter(graph);
  interpreter.variables() = {{"n/scale", Composite("norm/scale")},
                             {"n/offset", Composite("norm/offset")}};
  ExpectNear((*interpreter.Run({}, {y}))[0], Composite("norm/layer"));
}

TEST(Layers, BatchNormMovesItsStatistics) {
  Graph graph;
  Layers layers(graph);
  Tensor x = Given(graph, "norm/x");
  layers.SetTraining(true);
  Tensor training = layers.BatchNorm("n", x);
  layers.SetTraining(false);
  Tensor inference = layers.BatchNorm("n", x);
  const std::vector<Tensor> updates = layers.Updates();
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  Interpreter interpreter(graph);
  ASSERT_TRUE(interpreter.Initialize().ok());
  interpreter.variables()["n/scale"] = Composite("norm/scale");
  interpreter.variables()["n/offset"] = Composite("norm/offset");
  ExpectNear((*interpreter.Run({}, {training}, updates))[0], Composite("norm/batch"));
  ExpectNear(interpreter.variables()["n/moving_mean"], Composite("norm/moving_mean"));
  ExpectNear(interpreter.variables()["n/moving_variance"], Composite("norm/moving_variance"));
  ExpectNear((*interpreter.Run({}, {inference}))[0], Composite("norm/inference"));
  for (const Variable& v : graph.Variables(true))
    EXPECT_EQ(v.name().find("moving"), std::string::npos);
}

// In 16 bits a moving mean of 0.999 would stand still, and a variance of large values overflow.
TEST(Layers, NormsOfHalfPrecisionComputeInF32) {
  for (DataType dtype : {DataType::kF16, DataType::kBF16}) {
    Graph graph;
    Layers layers(graph);
    layers.SetTraining(true);
    Tensor x = Cast(graph.Constant(HostTensor::Of<double>({2, 1, 2}, {-600, 2, 600, 4})), dtype);
    Tensor batch = layers.BatchNorm("b", x, {.momentum = 0.999});
    Tensor layer = layers.LayerNorm("l", x);
    EXPECT_EQ(batch.dtype(), dtype);
    EXPECT_EQ(layer.dtype(), dtype);
    const std::vector<Tensor> updates = layers.Updates();
    ASSERT_TRUE(graph.status().ok()) << graph.status();
    Interpreter interpreter(graph);
    ASSERT_TRUE(interpreter.Initialize().ok());
    const auto values = interpreter.Run({}, {batch, layer}, updates);
    ASSERT_TRUE(values.ok()) << values.status();
    ExpectNear((*values)[0], HostTensor::Of<double>({2, 1, 2}, {-1, -1, 1, 1}), 1e-5);
    ExpectNear((*values)[1], HostTensor::Of<double>({2, 1, 2}, {-1, 1, 1, -1}), 1e-5);
    EXPECT_EQ(interpreter.variables()["b/scale"].dtype(), dtype);
    ExpectNear(interpreter.variables()["b/moving_mean"], HostTensor::Of<double>({2}, {0, 0.003}),
               1e-6);
    ExpectNear(interpreter.variables()["b/moving_variance"],
               HostTensor::Of<double>({2}, {360.999, 1}), 1e-6);
  }
}

TEST(Layers, Embedding) {
  Graph graph;
  Layers layers(graph);
  Tensor y = layers.Embedding("words", Given(graph, "embedding/ids"), 7, 4, DataType::kF64);
  ExpectNear(Value(graph, y, "embedding"), Composite("embedding/y"));
}

TEST(Layers, MultiHeadAttention) {
  Graph graph;
  Layers layers(graph);
  Tensor x = Given(graph, "attention/x");
  Tensor full = layers.MultiHeadAttention("mha", x, x, 3);
  Tensor causal = layers.MultiHeadAttention("mha", x, x, 3, {.causal = true});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  ExpectNear(Value(graph, full, "attention"), Composite("attention/full"));
  ExpectNear(Value(graph, causal, "attention"), Composite("attention/causal"));
}

// A mask that hides nothing, one that hides what `causal` hides, and one that hides the last key,
// which then may be anything.
TEST(Layers, AttentionSeesWhatTheMaskLetsIt) {
  Graph graph;
  Layers layers(graph);
  Tensor x = Given(graph, "attention/x");
  const Shape pairs = {x.dim(1), x.dim(1)};
  Tensor rows = Iota(graph, pairs, 0, DataType::kI32),
         columns = Iota(graph, pairs, 1, DataType::kI32);
  auto attend = [&](Tensor keys, Tensor mask) {
    return layers.MultiHeadAttention("mha", x, keys, 3, {.mask = mask});
  };
  Tensor all = attend(x, Full(graph, DataType::kBool, {}, 1));
  Tensor causal = attend(x, GreaterEqual(rows, columns));
  Tensor not_last = Less(Iota(graph, {x.dim(1)}, 0, DataType::kI32), 3.0);
  Tensor a = attend(x, not_last);
  Tensor hidden = Reshape(not_last, {DimExpr(1), x.dim(1), DimExpr(1)});
  Tensor b = attend(Select(hidden, x, 77.0), not_last);
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  ExpectNear(Value(graph, all, "attention"), Composite("attention/full"));
  ExpectNear(Value(graph, causal, "attention"), Composite("attention/causal"));
  ExpectNear(Value(graph, a, "attention"), Value(graph, b, "attention"));
  layers.MultiHeadAttention("mha", x, x, 3,
                            {.mask = Full(graph, DataType::kBool, {2, 2, 3, 4, 4}, 1)});
  EXPECT_NE(graph.status().message().find("mask"), std::string::npos) << graph.status();
}

// Blocks of one function in scopes of their own have parameters of their own, and share them with
// what the same function builds again.
TEST(Layers, ScopesHaveTheirOwnVariables) {
  Graph graph;
  Layers layers(graph);
  Tensor x = graph.Input("x", DataType::kF32, {"n", 4});
  auto model = [&] {
    Tensor y = x;
    for (const char* block : {"first", "second"}) {
      const ScopeGuard scope = graph.Scope(block);
      y = layers.Dense("fc", y, 4);
    }
    return y;
  };
  model();
  EXPECT_EQ(graph.Variables().size(), 4u);
  model();
  EXPECT_EQ(graph.Variables().size(), 4u);
  EXPECT_EQ(graph.Variables()[2].name(), "second/fc/kernel");
  ASSERT_TRUE(graph.status().ok()) << graph.status();
}

TEST(Layers, DropoutDropsInTrainingOnly) {
  Graph graph;
  Layers layers(graph);
  Tensor ones = Full(graph, DataType::kF32, {DimExpr(40), DimExpr(50)}, 1);
  EXPECT_EQ(layers.Dropout(ones, 0.25).value(), ones.value());
  layers.SetTraining(true);
  Tensor a = layers.Dropout(ones, 0.25), b = layers.Dropout(ones, 0.25);
  const std::vector<Tensor> updates = layers.Updates();
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  Interpreter interpreter(graph);
  ASSERT_TRUE(interpreter.Initialize().ok());
  const auto first = *interpreter.Run({}, {a, b}, updates);
  const auto second = *interpreter.Run({}, {a}, updates);
  int kept = 0;
  for (float v : first[0].values<float>()) {
    if (v == 0) continue;
    EXPECT_FLOAT_EQ(v, 1 / 0.75f);
    ++kept;
  }
  EXPECT_NEAR(kept / 2000.0, 0.75, 0.04);
  EXPECT_NE(first[0].values<float>(), first[1].values<float>()) << "two calls, one mask";
  EXPECT_NE(first[0].values<float>(), second[0].values<float>()) << "two steps, one mask";
}

TEST(Layers, InitializersHaveTheirSpread) {
  Graph graph;
  const Shape shape = {DimExpr(3), DimExpr(3), DimExpr(40), DimExpr(60)};
  const double in = 360, out = 540;
  const std::pair<Initializer, double> expected[] = {{Initializer::GlorotUniform(), 2 / (in + out)},
                                                     {Initializer::GlorotNormal(), 2 / (in + out)},
                                                     {Initializer::HeUniform(), 2 / in},
                                                     {Initializer::HeNormal(), 2 / in},
                                                     {Initializer::LecunNormal(), 1 / in},
                                                     {Initializer::LecunUniform(), 1 / in},
                                                     {Initializer::Normal(0.3), 0.09},
                                                     {Initializer::Uniform(0.6), 0.12},
                                                     {Initializer::Constant(2), 0}};
  for (const auto& [initializer, variance] : expected) {
    const HostTensor value = Value(graph, initializer.Make(graph, DataType::kF64, shape, 1, 2));
    double mean = 0, square = 0;
    for (double v : value.values<double>()) mean += v / value.num_elements();
    for (double v : value.values<double>())
      square += (v - mean) * (v - mean) / value.num_elements();
    EXPECT_NEAR(square, variance, 0.03 * variance + 1e-15);
  }
}

// Drawn in 8 bits, a bf16 variable could have no more than 256 values.
TEST(Layers, InitializersOfHalfPrecisionAreFine) {
  Graph graph;
  const HostTensor value =
      Value(graph, Initializer::Uniform(1).Make(graph, DataType::kBF16, {DimExpr(20000)}, 1, 2));
  std::set<float> values;
  for (BF16 v : value.values<BF16>()) values.insert(static_cast<float>(v));
  EXPECT_GT(values.size(), 1000u);
}

TEST(Layers, ErrorsNameWhatIsWrong) {
  const Conv2DOptions bad[] = {{.strides = {0, 1}},
                               {.strides = {1, -1}},
                               {.dilations = {1, 0}},
                               {.strides = {int64_t{1} << 40, 1}}};
  for (const Conv2DOptions& options : bad) {
    Graph graph;
    Layers layers(graph);
    layers.Conv2D("c", graph.Input("x", DataType::kF32, {"n", 8, 8, 3}), 4, {3, 3}, options);
    EXPECT_NE(graph.status().message().find("strides"), std::string::npos) << graph.status();
  }
  {
    Graph graph;
    MaxPool2D(graph.Input("x", DataType::kF32, {"n", 8, 8, 3}), {0, 2}, {}, Padding::kSame);
    EXPECT_NE(graph.status().message().find("window"), std::string::npos) << graph.status();
  }
  {
    Graph graph;
    Layers layers(graph);
    layers.SetTraining(true);
    layers.BatchNorm("b", graph.Input("x", DataType::kF32, {4}));
    EXPECT_NE(graph.status().message().find("rank 2"), std::string::npos) << graph.status();
  }
  {
    Graph graph;
    Layers layers(graph);
    layers.Dense("fc", graph.Input("x", DataType::kF32, {4}), 2);
    EXPECT_NE(graph.status().message().find("rank 2"), std::string::npos) << graph.status();
    EXPECT_NE(graph.status().message().find("layers_test.cc"), std::string::npos);
  }
  {
    Graph graph;
    Layers layers(graph);
    layers.Dense("fc", graph.Input("x", DataType::kF32, {"n", 4}), 2);
    layers.Dense("fc", graph.Input("z", DataType::kF32, {"n", 5}), 2);
    EXPECT_NE(graph.status().message().find("share the name"), std::string::npos) << graph.status();
  }
  {
    Graph graph;
    Layers layers(graph);
    layers.Conv2D("c", graph.Input("x", DataType::kF32, {"n", "h", 8, 3}), 4, {3, 3},
                  {.strides = {2, 2}});
    EXPECT_NE(graph.status().message().find("known height"), std::string::npos) << graph.status();
  }
}

// A layer's nodes belong to the line of the model.
TEST(Layers, NodesNameTheModelsLine) {
  Graph graph;
  Layers layers(graph);
  Tensor x = graph.Input("x", DataType::kF32, {"n", 4});
  Tensor y = layers.Dense("fc", x, 3);
  Concat({y, x}, 1).Named("wrong");
  Add(y, graph.Input("z", DataType::kF32, {"n", 5}));
  EXPECT_FALSE(graph.status().ok());
  EXPECT_EQ(graph.ToMlir().find("layers.cc"), std::string::npos);
}

}  // namespace
}  // namespace weft
