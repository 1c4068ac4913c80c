// The compiler as a whole: graphs compiled and run, against the reference evaluator.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "compiler/api.h"
#include "compiler/pass_runner.h"
#include "graph/graph.h"
#include "graph/interpreter.h"
#include "graph/layers/functions.h"
#include "gtest/gtest.h"
#include "proto/container.h"
#include "proto/plan.pb.h"
#include "runtime/session.h"

namespace weft {
namespace {

HostTensor Random(DataType dtype, const std::vector<int64_t>& shape, uint32_t seed) {
  HostTensor tensor = *HostTensor::Create(dtype, shape);
  std::mt19937 random(seed);
  WithType(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (T& value : tensor.mutable_values<T>()) {
      value = static_cast<T>(static_cast<float>(random() % 2000) / 1000.0f - 1.0f);
    }
  });
  return tensor;
}

void ExpectNear(const HostTensor& actual, const HostTensor& expected, double tolerance) {
  ASSERT_EQ(actual.TypeString(), expected.TypeString());
  WithType(actual.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (size_t i = 0; i < actual.values<T>().size(); ++i) {
      const double a = static_cast<double>(actual.values<T>()[i]);
      const double e = static_cast<double>(expected.values<T>()[i]);
      ASSERT_NEAR(a, e, tolerance * (1 + std::abs(e))) << "element " << i;
    }
  });
}

// Runs the signature `f` by the interpreter and by a package for this machine.
void ExpectAgrees(const Graph& graph, const TensorMap& feeds, CompileOptions options = {},
                  double tolerance = 1e-5) {
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  Interpreter interpreter(graph);
  absl::StatusOr<TensorMap> expected = interpreter.RunSignature("f", feeds);
  ASSERT_TRUE(expected.ok()) << expected.status();
  options.signatures = {"f"};
  absl::StatusOr<std::string> package = CompilePackage(graph, options);
  ASSERT_TRUE(package.ok()) << package.status();
  auto session = Session::FromPackage(*package);
  ASSERT_TRUE(session.ok()) << session.status();
  absl::StatusOr<NamedTensors> actual = (*session)->Run("f", feeds);
  ASSERT_TRUE(actual.ok()) << actual.status();
  ASSERT_EQ(actual->size(), expected->size());
  for (auto& [name, value] : *expected) {
    SCOPED_TRACE(name);
    ExpectNear(actual->at(name), value, tolerance);
  }
}

TEST(CompilerTest, Elementwise) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", 5});
  graph.AddSignature("f", {{"y", Exp(Add(x, 1.0))}, {"z", Neg(x)}});
  for (const int64_t n : {0, 1, 7, 100}) {
    ExpectAgrees(graph, {{"x", Random(DataType::kF32, {n, 5}, 1)}});
  }
}

TEST(CompilerTest, ReshapesAndFills) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", 6});
  const DimExpr n = DimExpr::Symbol("n");
  Tensor y = Reshape(Exp(x), {n * 2, 3});
  graph.AddSignature("f", {{"y", y},
                           {"x", x},
                           {"same", Reshape(x, {n * 6})},
                           {"c", graph.Constant(HostTensor::Of<float>({3}, {1, 2, 3}))},
                           {"fill", Full(graph, DataType::kI32, {n, 2}, 7)},
                           {"again", y}});
  ExpectAgrees(graph, {{"x", Random(DataType::kF32, {5, 6}, 1)}});
}

TEST(CompilerTest, FusionsAcrossReshapes) {
  Graph graph;
  const DimExpr n = DimExpr::Symbol("n");
  Tensor x = graph.Input("x", DataType::kF32, {"n", 4, 6});
  Tensor bias = graph.Input("bias", DataType::kF32, {6});
  Tensor rows = Add(Reshape(Exp(x), {n * 4, 6}), bias);
  Tensor scores = Softmax(Reshape(Tanh(rows), {n, 2, 12}));
  Tensor sums = Reshape(Exp(Reshape(ReduceSum(x, {-1}), {n * 4, 1})), {n, 4, 1});
  graph.AddSignature(
      "f", {{"rows", Reshape(Tanh(rows), {n, 2, 12})},
            {"scores", Mul(Reshape(scores, {n, 2, 3, 4}), 3.0)},
            {"largest", ArgMax(scores, -1)},
            {"ratio", Div(x, sums)},
            {"by_row", ReduceSum(Reshape(Exp(x), {n * 2, 12}), {1})},
            {"columns", Reshape(Exp(ReduceSum(Reshape(Mul(x, 0.1), {n * 4, 6}), {0})), {2, 3})},
            {"turned", Add(Reshape(Transpose(x, {1, 0, 2}), {4, n * 6}), 1.0)}});
  for (const int64_t size : {0, 1, 5, 40}) {
    ExpectAgrees(graph, {{"x", Random(DataType::kF32, {size, 4, 6}, 1)},
                         {"bias", Random(DataType::kF32, {6}, 2)}});
  }
}

// Each shape's products are short expressions, but not what lies between boundaries of several.
TEST(CompilerTest, ShapesThatNoKernelCanJoin) {
  for (const size_t length : {size_t{1}, size_t{100}}) {
    const DimExpr a = DimExpr::Symbol(std::string(length, 'a')), k = DimExpr::Symbol("k");
    const DimExpr b = DimExpr::Min(a, k);
    const DimExpr A = a - b, B = a + b, C = a * a + b * b, D = a * a * a * a + b * b * b * b;
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {D, 1, 1, 1});
    Tensor row = graph.Input("row", DataType::kF32, {B, 1});
    Tensor turned = Transpose(Reshape(Broadcast(x, {D, B, A, C}), {B * D, A, C}), {2, 1, 0});
    graph.AddSignature("f", {{"y", Add(row, Reshape(turned, {C, A, B, D}))},
                             {"a", Neg(graph.Input("a", DataType::kF32, {a}))},
                             {"k", Neg(graph.Input("k", DataType::kF32, {k}))}});
    for (const std::vector<std::string>& disabled : {std::vector<std::string>(), {"fuse"}}) {
      CompileOptions options;
      options.disabled_passes = disabled;
      if (length == 1) {
        ExpectAgrees(graph,
                     {{"x", Random(DataType::kF32, {17, 1, 1, 1}, 1)},
                      {"row", Random(DataType::kF32, {3, 1}, 2)},
                      {"a", Random(DataType::kF32, {2}, 3)},
                      {"k", Random(DataType::kF32, {1}, 4)}},
                     options);
        continue;
      }
      for (const char* target : {"cpu:x86-64-v3", "cuda:sm_80"}) {
        options.targets = {target};
        const absl::Status status = CompilePackage(graph, options).status();
        EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << target << status;
        for (const char* part : {"compiler_test.cc:", "give them shorter names"}) {
          EXPECT_NE(status.message().find(part), std::string::npos) << target << status;
        }
      }
    }
  }
}

TEST(CompilerTest, EpiloguesWithOddOperands) {
  Graph graph;
  Tensor a = graph.Input("a", DataType::kF32, {6, 4}), b = graph.Input("b", DataType::kF32, {4, 4});
  Tensor c = graph.Input("c", DataType::kF32, {3}), d = graph.Input("d", DataType::kF32, {6});
  Tensor product = MatMul(a, b);
  graph.AddSignature(
      "f",
      {{"counted", Add(product, Iota(graph, {6, 4}, 1, DataType::kF32))},
       {"odd", Add(MatMul(a, b), Reshape(Broadcast(c, {8, 3}), {6, 4}))},
       {"rows", Mul(MatMul(a, b), Broadcast(Reshape(d, {6, 1}), {6, 4}))},
       {"reshaped", Add(Reshape(MatMul(a, Exp(b)), {2, 3, 4}), Reshape(a, {2, 3, 4}))},
       {"size", Add(MatMul(a, b),
                    Broadcast(Cast(DimSize(graph, 7, DataType::kI32), DataType::kF32), {6, 4}))}});
  ExpectAgrees(graph, {{"a", Random(DataType::kF32, {6, 4}, 1)},
                       {"b", Random(DataType::kF32, {4, 4}, 2)},
                       {"c", Random(DataType::kF32, {3}, 3)},
                       {"d", Random(DataType::kF32, {6}, 4)}});
}

// Variables: read, assigned in place, swapped, assigned from each other, fetched old and new.
Graph VariablesGraph() {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4});
  Variable a = graph.AddVariable("a", HostTensor::Of<float>({4}, {1, 2, 3, 4}));
  Variable b = graph.AddVariable("b", HostTensor::Of<float>({4}, {5, 6, 7, 8}));
  Variable c = graph.AddVariable("c", HostTensor::Of<float>({4}, {0, 0, 0, 0}));
  Tensor old_a = a.Read(), old_b = b.Read(), old_c = c.Read();
  Tensor sum = Add(old_c, x);
  graph.AddSignature("step", {{"old_c", old_c}, {"new_c", sum}, {"twice", Mul(sum, 2.0)}},
                     {a.Assign(old_b), b.Assign(old_a), c.Assign(sum)});
  graph.AddSignature("get", {{"a", old_a}, {"b", old_b}, {"c", old_c}});
  return graph;
}

TEST(CompilerTest, Variables) {
  const Graph graph = VariablesGraph();
  for (const std::vector<std::string>& disabled :
       {std::vector<std::string>{}, {"in_place"}, {"reuse"}, {"schedule"}}) {
    CompileOptions options;
    options.disabled_passes = disabled;
    absl::StatusOr<std::string> package = CompilePackage(graph, options);
    ASSERT_TRUE(package.ok()) << package.status();
    auto session = Session::FromPackage(*package);
    ASSERT_TRUE(session.ok()) << session.status();
    ASSERT_TRUE((*session)->Run("init", {}).ok());
    Interpreter interpreter(graph);
    ASSERT_TRUE(interpreter.Initialize().ok());
    for (uint32_t i = 0; i < 3; ++i) {
      const NamedTensors feeds = {{"x", Random(DataType::kF32, {4}, i)}};
      for (const auto& [signature, fed] :
           {std::pair<std::string, NamedTensors>{"step", feeds}, {"get", {}}}) {
        auto actual = (*session)->Run(signature, fed);
        auto expected = interpreter.RunSignature(signature, fed);
        ASSERT_TRUE(actual.ok() && expected.ok()) << actual.status() << expected.status();
        for (auto& [name, value] : *expected) {
          SCOPED_TRACE(signature + " " + name);
          ExpectNear(actual->at(name), value, 1e-6);
        }
      }
    }
  }
}

TEST(CompilerTest, ControlFlow) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {});
  Tensor k = graph.Input("k", DataType::kF32, {});
  // A swap in the body, a captured value, a nested loop.
  std::vector<Tensor> y = While(
      {x, k, Mul(x, 0.0)}, [&](const std::vector<Tensor>& v) { return Less(v[2], 5.0); },
      [&](const std::vector<Tensor>& v) {
        std::vector<Tensor> inner = While(
            {v[0], Mul(k, 0.0)}, [&](const auto& w) { return Less(w[1], 2.0); },
            [&](const auto& w) {
              return std::vector<Tensor>{Add(w[0], Mul(k, 0.5)), Add(w[1], 1.0)};
            });
        return std::vector<Tensor>{v[1], inner[0], Add(v[2], 1.0)};
      },
      100);
  std::vector<Tensor> z = Cond(
      Greater(y[0], 1.0), [&] { return std::vector<Tensor>{Add(y[0], y[1]), y[1]}; },
      [&] { return std::vector<Tensor>{y[0], Sub(y[0], y[1])}; });
  graph.AddSignature("f",
                     {{"y0", y[0]}, {"y1", y[1]}, {"count", y[2]}, {"z0", z[0]}, {"z1", z[1]}});
  for (const std::vector<std::string>& disabled : {std::vector<std::string>{}, {"in_place"}}) {
    for (const float start : {-20.0f, 3.0f}) {
      CompileOptions options;
      options.disabled_passes = disabled;
      ExpectAgrees(graph,
                   {{"x", HostTensor::Scalar<float>(start)}, {"k", HostTensor::Scalar<float>(2)}},
                   options);
    }
  }
}

TEST(CompilerTest, AssertionsNameTheNodeAndChangeNothing) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {});
  Variable v = graph.AddVariable("v", HostTensor::Of<float>({}, {1}));
  Tensor checked = Assert(Greater(x, 0.0), x, "x must be positive").Named("check");
  graph.AddSignature("step", {{"y", checked}}, {v.Assign(Add(v, x))});
  auto session = Session::FromPackage(*CompilePackage(graph, {}));
  ASSERT_TRUE(session.ok()) << session.status();
  ASSERT_TRUE((*session)->Run("init", {}).ok());
  EXPECT_TRUE((*session)->Run("step", {{"x", HostTensor::Scalar<float>(2)}}).ok());
  const auto failed = (*session)->Run("step", {{"x", HostTensor::Scalar<float>(-2)}});
  ASSERT_FALSE(failed.ok());
  EXPECT_NE(failed.status().message().find("x must be positive"), std::string::npos);
  EXPECT_NE(failed.status().message().find("check"), std::string::npos) << failed.status();
  EXPECT_NE(failed.status().message().find("compiler_test.cc"), std::string::npos);
  EXPECT_EQ((*session)->GetVariables()->at("v").values<float>()[0], 3);
}

// Sums in f32 of what is in f16, and of the places that padding made.
TEST(CompilerTest, GradientsInHalfPrecision) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF16, {"n", 3}), v = graph.Input("v", DataType::kF16, {});
  Tensor i = graph.Input("i", DataType::kI32, {"m"});
  Tensor rows = Gather(Pad(x, v, {1, 0}, {0, 2}, {1, 0}), i, 0);
  Tensor y = ReduceSum(Atan2(rows, rows * 200.0) / (rows + 2.0), {0, 1});
  const std::vector<Tensor> gradients = Gradients(y, {x, v});
  graph.AddSignature("f", {{"dx", gradients[0]}, {"dv", gradients[1]}});
  HostTensor indices = *HostTensor::Create(DataType::kI32, {3000});
  for (int32_t k = 0; k < 3000; ++k) indices.mutable_values<int32_t>()[k] = k % 5;
  ExpectAgrees(graph,
               {{"x", Random(DataType::kF16, {2, 3}, 1)},
                {"v", Random(DataType::kF16, {}, 2)},
                {"i", indices}},
               {}, 2e-3);
}

// Whatever is merged, a loop that prints or asserts does so as often as it runs.
TEST(CompilerTest, LoopsHaveTheirEffectsOnce) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {});
  Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  auto loop = [&](const std::function<void(Tensor)>& effect) {
    return While(
        {zero, x}, [](const std::vector<Tensor>& v) { return Less(v[0], 3.0); },
        [&](const std::vector<Tensor>& v) {
          if (effect) effect(v[0]);
          return std::vector{v[0] + 1.0, v[1] * x};
        },
        3)[1];
  };
  Tensor printed = loop([](Tensor i) { Print(i, "at"); });
  Tensor asserted = loop([](Tensor i) { Assert(Less(i, 1.0), i, "one turn"); });
  graph.AddSignature("twice", {{"a", printed}, {"b", loop(nullptr)}});
  graph.AddSignature("gradient", {{"a", printed}, {"dx", Gradients(printed, {x})[0]}});
  graph.AddSignature("fails", {{"a", asserted}, {"b", loop(nullptr)}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const TensorMap feeds = {{"x", HostTensor::Scalar<float>(2)}};
  for (const std::vector<std::string>& disabled :
       {std::vector<std::string>(), {"merge_loops"}, OptionalPasses()}) {
    CompileOptions options;
    options.disabled_passes = disabled;
    absl::StatusOr<std::string> package = CompilePackage(graph, options);
    ASSERT_TRUE(package.ok()) << package.status();
    auto session = Session::FromPackage(*package);
    ASSERT_TRUE(session.ok()) << session.status();
    for (const char* signature : {"twice", "gradient"}) {
      testing::internal::CaptureStderr();
      const auto run = (*session)->Run(signature, feeds);
      const std::string printed_lines = testing::internal::GetCapturedStderr();
      ASSERT_TRUE(run.ok()) << run.status();
      EXPECT_EQ(std::count(printed_lines.begin(), printed_lines.end(), '\n'), 3) << printed_lines;
      EXPECT_EQ(run->at("a").values<float>()[0], 16);
      if (run->contains("dx")) EXPECT_EQ(run->at("dx").values<float>()[0], 4 * 8);
    }
    const auto fails = (*session)->Run("fails", feeds);
    EXPECT_NE(std::string(fails.status().message()).find("one turn"), std::string::npos)
        << fails.status();
  }
}

TEST(CompilerTest, FreezesAndCarriesVariables) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {3});
  Variable w = graph.AddVariable("w", HostTensor::Of<float>({3}, {0, 0, 0}));
  graph.AddSignature("f", {{"y", Mul(x, w)}});
  for (const bool freeze : {false, true}) {
    CompileOptions options;
    options.signatures = {"f"};
    options.variables = {{"w", HostTensor::Of<float>({3}, {1, 2, 3})}};
    options.freeze = freeze;
    auto session = Session::FromPackage(*CompilePackage(graph, options));
    ASSERT_TRUE(session.ok()) << session.status();
    const auto y = (*session)->Run("f", {{"x", HostTensor::Of<float>({3}, {2, 2, 2})}});
    ASSERT_TRUE(y.ok()) << y.status();
    ExpectNear(y->at("y"), HostTensor::Of<float>({3}, {2, 4, 6}), 0);
    EXPECT_EQ((*session)->GetVariables()->size(), freeze ? 0u : 1u);
  }
}

// Weights that lie outside of the IR, as every pass finds them and as none does.
TEST(CompilerTest, FrozenWeightsWithoutEachPass) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", 64});
  Variable w = graph.AddVariable("w", Full(graph, DataType::kF32, {64, 48}, 0));
  Variable v = graph.AddVariable("v", Full(graph, DataType::kF32, {48, 64}, 0));
  Tensor both = MatMul(x, w) + MatMul(x, Transpose(v, {1, 0}));
  graph.AddSignature("f",
                     {{"y", Tanh(both) * ReduceSum(Reshape(w, {48, 64}), {1})}, {"w", w.Read()}});
  CompileOptions options;
  options.signatures = {"f"};
  options.variables = {{"w", Random(DataType::kF32, {64, 48}, 1)},
                       {"v", Random(DataType::kF32, {48, 64}, 2)}};
  const NamedTensors feeds = {{"x", Random(DataType::kF32, {5, 64}, 3)}};
  auto run = [&] {
    auto package = CompilePackage(graph, options);
    EXPECT_TRUE(package.ok()) << package.status();
    auto session = Session::FromPackage(*package);
    EXPECT_TRUE(session.ok()) << session.status();
    auto results = (*session)->Run("f", feeds);
    EXPECT_TRUE(results.ok()) << results.status();
    return *results;
  };
  const NamedTensors expected = run();
  options.freeze = true;
  std::vector<std::vector<std::string>> choices = {{}, OptionalPasses()};
  for (const std::string& pass : OptionalPasses()) choices.push_back({pass});
  for (const std::vector<std::string>& disabled : choices) {
    SCOPED_TRACE(disabled.empty() ? "all passes" : "without " + disabled[0]);
    options.disabled_passes = disabled;
    const NamedTensors actual = run();
    ExpectNear(actual.at("y"), expected.at("y"), 1e-5);
    ExpectNear(actual.at("w"), expected.at("w"), 0);
  }
}

TEST(CompilerTest, SpecializedPlansGiveTheSame) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", "m"});
  graph.AddSignature("f", {{"y", Mul(Tanh(x), x)}});
  CompileOptions options;
  options.specialize = {{"n", {1, 8}}, {"m", {3}}, {"other", {5}}};
  for (const int64_t n : {1, 8, 9}) {
    for (const int64_t m : {3, 4}) {
      ExpectAgrees(graph, {{"x", Random(DataType::kF32, {n, m}, 1)}}, options);
    }
  }
}

// Plans for sizes of their own read the weights that the plan for all sizes has, as it has them.
TEST(CompilerTest, SpecializedPlansShareWeights) {
  constexpr size_t kWeight = 512 * 512 * sizeof(float);
  for (const bool frozen : {false, true}) {
    SCOPED_TRACE(frozen ? "frozen variables" : "constants");
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {"batch", 512});
    CompileOptions options;
    for (int layer = 0; layer < 3; ++layer) {
      const std::string name = "w" + std::to_string(layer);
      const HostTensor value = Random(DataType::kF32, {512, 512}, layer);
      if (frozen) options.variables[name] = value;
      Tensor w = frozen ? graph.AddVariable(name, Full(graph, DataType::kF32, {512, 512}, 0)).Read()
                        : graph.Constant(value);
      x = Tanh(MatMul(x, w));
    }
    graph.AddSignature("f", {{"y", x}});
    options.signatures = {"f"};
    options.freeze = frozen;
    for (const char* target : {"cpu:x86-64-v3", "cpu:x86-64-v4"}) {
      SCOPED_TRACE(target);
      options.targets = {target};
      options.specialize.clear();
      const absl::StatusOr<std::string> open = CompilePackage(graph, options);
      ASSERT_TRUE(open.ok()) << open.status();
      EXPECT_GT(open->size(), 3 * kWeight);
      options.specialize = {{"batch", {1, 32, 200}}};
      const absl::StatusOr<std::string> closed = CompilePackage(graph, options);
      ASSERT_TRUE(closed.ok()) << closed.status();
      EXPECT_LT(closed->size(), open->size() + kWeight / 2);
      auto general = Session::FromPackage(*open), special = Session::FromPackage(*closed);
      // Not every machine has what the target needs.
      if (!general.ok()) continue;
      ASSERT_TRUE(special.ok()) << special.status();
      for (const int64_t batch : {1, 32, 33}) {
        const NamedTensors feeds = {{"x", Random(DataType::kF32, {batch, 512}, 9)}};
        auto expected = (*general)->Run("f", feeds), actual = (*special)->Run("f", feeds);
        ASSERT_TRUE(expected.ok() && actual.ok()) << actual.status();
        ExpectNear(actual->at("y"), expected->at("y"), 1e-4);
      }
    }
  }
}

TEST(CompilerTest, SessionWithPlanner) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  Tensor k = graph.Input("k", DataType::kF32, {"n"});
  Tensor e = Exp(x).Named("exponential");
  Variable v = graph.AddVariable("v", HostTensor::Of<float>({}, {1}));
  v.Assign(Add(v, 1.0)).Named("step");
  graph.AddSignature("f", {{"y", Add(e, k)}});
  absl::StatusOr<Planner> planner = MakePlanner(graph);
  ASSERT_TRUE(planner.ok()) << planner.status();
  auto session = Session::WithPlanner(*planner);
  ASSERT_TRUE(session.ok()) << session.status();
  ASSERT_TRUE((*session)->Run("init", {}).ok());
  for (const int64_t n : {3, 5, 3}) {
    const HostTensor tensor = Random(DataType::kF32, {n}, 2);
    const auto y = (*session)->Run("f", {{"x", tensor}, {"k", tensor}});
    ASSERT_TRUE(y.ok()) << y.status();
    EXPECT_EQ(y->at("y").num_elements(), n);
    const auto fetched = (*session)->Run({{"x", tensor}}, {"exponential"}, {"step"});
    ASSERT_TRUE(fetched.ok()) << fetched.status();
    EXPECT_NEAR((*fetched)[0].values<float>()[0], std::exp(tensor.values<float>()[0]), 1e-5);
  }
  EXPECT_EQ((*session)->GetVariables()->at("v").values<float>()[0], 4);
  const auto missing = (*session)->Run({}, {"exponential"});
  EXPECT_NE(missing.status().message().find("'x'"), std::string::npos) << missing.status();
  const auto unknown = (*session)->Run({}, {"exponental"});
  EXPECT_NE(unknown.status().message().find("did you mean 'exponential'"), std::string::npos)
      << unknown.status();
  const auto far = (*session)->Run({}, {"nothing like it"});
  EXPECT_EQ(far.status().message().find("did you mean"), std::string::npos) << far.status();
  const auto result = (*session)->Run({}, {"exponential:1"});
  EXPECT_NE(result.status().message().find("'exponential' has 1 result"), std::string::npos)
      << result.status();
}

// One text for a wrong feed, be it found before a plan is compiled or by a plan that is there.
TEST(CompilerTest, WrongFeedsReadTheSameFromPlannerAndPackage) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", 3});
  Tensor y = graph.Input("y", DataType::kF32, {"n"});
  Tensor z = graph.Input("z", DataType::kF32, {DimExpr::Symbol("n") * 2 + 1});
  graph.AddSignature("f", {{"x", Exp(x)}, {"y", Exp(y)}, {"z", Exp(z)}});
  absl::StatusOr<Planner> planner = MakePlanner(graph);
  ASSERT_TRUE(planner.ok()) << planner.status();
  absl::StatusOr<std::string> package = CompilePackage(graph, {});
  ASSERT_TRUE(package.ok()) << package.status();
  const auto planning = Session::WithPlanner(*planner), packaged = Session::FromPackage(*package);
  ASSERT_TRUE(planning.ok() && packaged.ok());
  const auto expect = [&](const HostTensor& x, const HostTensor& y, const HostTensor& z,
                          const std::string& message) {
    for (Session* session : {planning->get(), packaged->get()}) {
      const auto status = session->Run("f", {{"x", x}, {"y", y}, {"z", z}}).status();
      EXPECT_EQ(status.message(), message);
      EXPECT_TRUE(absl::IsInvalidArgument(status));
    }
    if (x.dtype() != DataType::kF32) return;
    for (Session* session : {planning->get(), packaged->get()}) {
      EXPECT_EQ(session->Prepare("f", {x.shape(), y.shape(), z.shape()}).status().message(),
                message);
    }
  };
  const auto floats = [](const std::vector<int64_t>& shape) {
    return Random(DataType::kF32, shape, 1);
  };
  const HostTensor good_x = floats({2, 3}), good_y = floats({2}), good_z = floats({5});
  ASSERT_TRUE((*packaged)->Run("f", {{"x", good_x}, {"y", good_y}, {"z", good_z}}).ok());
  expect(Random(DataType::kF64, {2, 3}, 1), good_y, good_z,
         "input 'x' of 'f': expected f32[n, 3], got f64[2, 3]");
  expect(floats({3}), good_y, good_z,
         "input 'x' of 'f': expected f32[n, 3], got f32[3] (rank 1 instead of 2)");
  expect(floats({2, 4}), good_y, good_z,
         "input 'x' of 'f': expected f32[n, 3], got f32[2, 4] (dimension 1 has to be 3)");
  expect(good_x, floats({4}), good_z,
         "signature 'f': n is 2 from x (dimension 0) but 4 from y (dimension 0)");
  expect(good_x, good_y, floats({6}),
         "input 'z' of 'f': expected f32[2*n+1], got f32[6] (dimension 0 has to be 5)");
}

// A request does not wait for another one to be compiled: here the first cannot end before the
// second has.
TEST(CompilerTest, PlannersCompileAtOnce) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  graph.AddSignature("slow", {{"y", Exp(x)}});
  graph.AddSignature("quick", {{"y", Sin(x)}});
  std::promise<void> slow_began, quick_ended;
  std::future<void> ended = quick_ended.get_future();
  std::atomic<bool> first = true, waited_in_vain = false;
  CompileOptions options;
  options.timing = [&](const std::string& pass, double) {
    if (pass != "slow/fuse" || !first.exchange(false)) return;
    slow_began.set_value();
    waited_in_vain = ended.wait_for(std::chrono::seconds(60)) != std::future_status::ready;
  };
  absl::StatusOr<Planner> planner = MakePlanner(graph, options);
  ASSERT_TRUE(planner.ok()) << planner.status();
  std::thread slow([&] {
    PlanRequest request;
    request.set_signature("slow");
    EXPECT_TRUE((*planner)(request).ok());
  });
  slow_began.get_future().wait();
  PlanRequest request;
  request.set_signature("quick");
  EXPECT_TRUE((*planner)(request).ok());
  quick_ended.set_value();
  slow.join();
  EXPECT_FALSE(waited_in_vain);
}

// Compilers share nothing that changes.
TEST(CompilerTest, ManyAtOnce) {
  const Graph graph = VariablesGraph();
  const absl::StatusOr<std::string> alone = CompilePackage(graph, {});
  ASSERT_TRUE(alone.ok()) << alone.status();
  Graph softmax;
  Tensor x = softmax.Input("x", DataType::kF32, {"n", "m"});
  softmax.AddSignature("f", {{"y", Softmax(x)}});
  absl::StatusOr<Planner> planner = MakePlanner(softmax);
  ASSERT_TRUE(planner.ok()) << planner.status();
  auto session = Session::WithPlanner(*planner);
  ASSERT_TRUE(session.ok()) << session.status();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      CompileOptions options;
      options.threads = 2;
      const absl::StatusOr<std::string> package = CompilePackage(VariablesGraph(), options);
      EXPECT_TRUE(package.ok() && *package == *alone) << package.status();
      for (int64_t n = 1; n < 4; ++n) {
        const auto y = (*session)->Run("f", {{"x", Random(DataType::kF32, {n, 3 + t}, 1)}});
        EXPECT_TRUE(y.ok()) << y.status();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// A planner that serves ever new shapes does not take ever more memory.
TEST(CompilerTest, PlannersForgetWhatTheyMade) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", "m"});
  graph.AddSignature("f", {{"y", Exp(ReduceSum(Tanh(x) * x, {1}))}});
  absl::StatusOr<Planner> planner = MakePlanner(graph);
  ASSERT_TRUE(planner.ok()) << planner.status();
  SessionOptions few;
  few.max_cached_plans = 2;
  auto session = Session::WithPlanner(*planner, few);
  ASSERT_TRUE(session.ok()) << session.status();
  auto resident = [] {
    long pages = 0, all = 0;
    std::ifstream("/proc/self/statm") >> all >> pages;
    return pages * sysconf(_SC_PAGESIZE);
  };
  long before = 0;
  for (int64_t n = 1; n <= 300; ++n) {
    const auto y = (*session)->Run("f", {{"x", Random(DataType::kF32, {n, 2 * n + 1}, 1)}});
    ASSERT_TRUE(y.ok()) << y.status();
    if (n == 100) before = resident();
  }
  EXPECT_LT(resident() - before, 48 << 20);
}

TEST(CompilerTest, SameBytesWhateverTheThreads) {
  const Graph graph = VariablesGraph();
  CompileOptions one, four;
  one.threads = 1;
  four.threads = 4;
  const absl::StatusOr<std::string> a = CompilePackage(graph, one);
  const absl::StatusOr<std::string> b = CompilePackage(graph, four);
  const absl::StatusOr<std::string> c = CompilePackage(VariablesGraph(), one);
  ASSERT_TRUE(a.ok() && b.ok() && c.ok());
  EXPECT_TRUE(*a == *b);
  EXPECT_TRUE(*a == *c);
}

TEST(CompilerTest, SeveralTargets) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  graph.AddSignature("f", {{"y", Tanh(x)}});
  CompileOptions options;
  options.targets = {"cpu:x86-64-v3", "cpu:x86-64-v4"};
  ExpectAgrees(graph, {{"x", Random(DataType::kF32, {100}, 1)}}, options);
}

// What a target is called is not always what a section may be called.
TEST(CompilerTest, TargetsThatDifferInACacheAlone) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  graph.AddSignature("f", {{"y", Tanh(x)}});
  const std::string long_name = "cpu:x86-64-v3+l1=32K+l2=1024K+l3=16384K";
  CompileOptions options;
  options.targets = {"cpu:x86-64-v3+l2=1M", "cpu:x86-64-v3+l2=2M", "cpu:native+l1=48K", long_name,
                     long_name + "+l1=64K"};
  const auto package = CompilePackage(graph, options);
  ASSERT_TRUE(package.ok()) << package.status();
  const auto container = Container::Open(Bytes::Of(*package));
  ASSERT_TRUE(container.ok()) << container.status();
  PackageManifest manifest;
  ASSERT_TRUE(manifest.ParseFromString(std::string(*container->Section("manifest"))));
  std::vector<std::string> sections;
  for (const TargetPlans& target : manifest.targets()) {
    sections.push_back(target.code_section());
    EXPECT_TRUE(container->Has(target.code_section())) << target.code_section();
  }
  EXPECT_EQ(sections, (std::vector<std::string>{"code.x86-64-v3+l2_1M", "code.x86-64-v3+l2_2M",
                                                "code.native+l1_48K", "code.3", "code.4"}));
  ExpectAgrees(graph, {{"x", Random(DataType::kF32, {100}, 1)}}, options);
}

// tf32 is for those who ask for it, where the target has it.
TEST(CompilerTest, MatmulPrecision) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {64, 32}),
         w = graph.Input("w", DataType::kF32, {32, 64});
  graph.AddSignature("f", {{"y", MatMul(x, w)}});
  CompileOptions options;
  auto text = [&](const std::string& target, MatmulPrecision precision) {
    options.targets = {target};
    options.matmul_precision = precision;
    const auto ptx = CompileToText(graph, options, "asm");
    EXPECT_TRUE(ptx.ok()) << ptx.status();
    return ptx.ok() ? *ptx : "";
  };
  for (const char* target : {"cuda:sm_80", "cuda:sm_90a"}) {
    EXPECT_NE(text(target, MatmulPrecision::kTf32).find(".tf32"), std::string::npos);
    const std::string strict = text(target, MatmulPrecision::kF32);
    EXPECT_EQ(strict.find("tf32"), std::string::npos);
    EXPECT_NE(strict.find("fma.rn.f32"), std::string::npos);
  }
  // Other targets of the package compute as without.
  options.targets = {"cpu:x86-64-v3", "cuda:sm_80"};
  options.matmul_precision = MatmulPrecision::kTf32;
  ExpectAgrees(
      graph,
      {{"x", Random(DataType::kF32, {64, 32}, 1)}, {"w", Random(DataType::kF32, {32, 64}, 2)}},
      options);
}

TEST(CompilerTest, DumpsTimesAndExplains) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4});
  graph.AddSignature("f", {{"y", Exp(Neg(x))}});
  std::vector<std::string> dumped, timed, lines;
  CompileOptions options;
  options.dump = [&](const std::string& pass, const std::string& ir) {
    dumped.push_back(pass);
    EXPECT_NE(ir.find("func.func"), std::string::npos);
  };
  options.timing = [&](const std::string& pass, double) { timed.push_back(pass); };
  options.explain = [&](const std::string& line) { lines.push_back(line); };
  ASSERT_TRUE(CompilePackage(graph, options).ok());
  EXPECT_EQ(dumped, timed);
  EXPECT_NE(std::find(dumped.begin(), dumped.end(), "f/fuse"), dumped.end());
  EXPECT_EQ(lines.size(), 1u);
  for (const std::string stage : {"mlir", "llvm", "asm"}) {
    const auto text = CompileToText(graph, {}, stage);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_NE(text->find(stage == "mlir"   ? "plan.fusion"
                         : stage == "llvm" ? "define"
                                           : "ret"),
              std::string::npos);
  }
  EXPECT_TRUE(absl::IsInvalidArgument(CompileToText(graph, {}, "wasm").status()));
}

TEST(CompilerTest, WrongOptionsAreNamed) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  graph.AddSignature("f", {{"y", Exp(x)}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  CompileOptions options;
  auto message = [&] {
    const auto package = CompilePackage(graph, options);
    EXPECT_FALSE(package.ok());
    return std::string(package.status().message());
  };
  options.signatures = {"g"};
  EXPECT_NE(message().find("there is f"), std::string::npos);
  options = CompileOptions();
  options.disabled_passes = {"fused"};
  EXPECT_NE(message().find("'fuse'"), std::string::npos);
  options = CompileOptions();
  options.targets = {"cpu:x86-64-v3", "cpu:x86-64-v4", "cpu:x86-64-v3"};
  EXPECT_NE(message().find("'cpu:x86-64-v3' twice"), std::string::npos);
  options.targets = {"cpu:z80"};
  EXPECT_NE(message().find("z80"), std::string::npos);
  options.targets = {"cuda:sm_20"};
  EXPECT_NE(message().find("expected cuda:sm_70"), std::string::npos);
  options.matmul_precision = MatmulPrecision::kTf32;
  options.targets = {"cpu:x86-64-v3", "cuda:sm_70"};
  EXPECT_NE(message().find("tf32, got cpu:x86-64-v3, cuda:sm_70; leave it at f32"),
            std::string::npos);
  options.targets.clear();
  for (int i = 0; i <= 256; ++i) {
    options.targets.push_back("cpu:x86-64-v3+l2=" + std::to_string(64 + i) + "K");
  }
  EXPECT_NE(message().find("at most 256 targets, got 257"), std::string::npos);
}

}  // namespace
}  // namespace weft
