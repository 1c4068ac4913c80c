// Computing again instead of keeping: the same results in less memory.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "compiler/api.h"
#include "graph/graph.h"
#include "graph/interpreter.h"
#include "graph/layers/layers.h"
#include "gtest/gtest.h"
#include "runtime/session.h"

namespace weft {
namespace {

HostTensor Random(const std::vector<int64_t>& shape, unsigned seed) {
  HostTensor tensor = *HostTensor::Create(DataType::kF32, shape);
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (float& value : tensor.mutable_values<float>()) value = uniform(random);
  return tensor;
}

SessionOptions OneThread() {
  SessionOptions options;
  options.threads = 1;
  return options;
}

// What some steps of training give, and the certificate of one.
struct Trained {
  NamedTensors outputs, variables;
  int64_t peak = 0;
};

Trained Train(const Graph& graph, const NamedTensors& feeds, CompileOptions options = {}) {
  Trained trained;
  // Scratch follows the target's caches: the same bytes on every machine.
  options.targets = {"cpu:x86-64-v3"};
  EXPECT_TRUE(graph.status().ok()) << graph.status();
  const absl::StatusOr<std::string> package = CompilePackage(graph, options);
  EXPECT_TRUE(package.ok()) << package.status();
  if (!package.ok()) return trained;
  auto session = Session::FromPackage(*package, OneThread());
  EXPECT_TRUE(session.ok() && (*session)->Run("init", {}).ok());
  std::vector<std::vector<int64_t>> shapes;
  for (const auto& signature : (*session)->Signatures()) {
    if (signature.name != "step") continue;
    for (const auto& input : signature.inputs) shapes.push_back(feeds.at(input.name).shape());
  }
  auto call = (*session)->Prepare("step", shapes);
  EXPECT_TRUE(call.ok()) << call.status();
  trained.peak = (*call)->peak_bytes();
  for (int step = 0; step < 3; ++step) {
    auto outputs = (*session)->Run("step", feeds);
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    trained.outputs = *outputs;
  }
  trained.variables = *(*session)->GetVariables();
  return trained;
}

void ExpectSame(const NamedTensors& a, const NamedTensors& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, value] : a) {
    const HostTensor& other = b.at(name);
    ASSERT_EQ(value.TypeString(), other.TypeString());
    if (tolerance == 0 || value.dtype() != DataType::kF32) {
      EXPECT_EQ(std::memcmp(value.data(), other.data(), value.size_bytes()), 0) << name;
      continue;
    }
    for (int64_t i = 0; i < value.num_elements(); ++i) {
      const float x = value.values<float>()[static_cast<size_t>(i)],
                  y = other.values<float>()[static_cast<size_t>(i)];
      ASSERT_NEAR(x, y, tolerance * (1 + std::abs(x))) << name << " " << i;
    }
  }
}

void ExpectSame(const Trained& a, const Trained& b, double tolerance) {
  ExpectSame(a.outputs, b.outputs, tolerance);
  ExpectSame(a.variables, b.variables, tolerance);
}

CompileOptions Without(std::vector<std::string> passes) {
  CompileOptions options;
  options.disabled_passes = std::move(passes);
  return options;
}

using Block = std::function<Tensor(Graph&, Layers&, Tensor)>;

// A tower of equal blocks and a step of gradient descent, with each block in a scope to recompute
// or in one that is not.
Graph Tower(int depth, bool recompute, const Block& block) {
  Graph graph;
  Layers layers(graph);
  layers.SetTraining(true);
  Tensor x = graph.Input("x", DataType::kF32, {256, 32}), h = x;
  for (int i = 0; i < depth; ++i) {
    const std::string name = "block" + std::to_string(i);
    auto scope = recompute ? graph.Recompute(name) : graph.Scope(name);
    h = block(graph, layers, h);
  }
  Tensor loss = Mean(h * h);
  std::vector<Tensor> xs, targets;
  const std::vector<Variable> variables = graph.Variables(/*trainable_only=*/true);
  for (const Variable& variable : variables) xs.push_back(variable.Read());
  const std::vector<Tensor> gradients = Gradients(loss, xs);
  for (size_t i = 0; i < xs.size(); ++i) {
    targets.push_back(variables[i].Assign(xs[i] - gradients[i] * 0.1));
  }
  graph.AddSignature("step", {{"loss", loss}}, JoinTargets(targets, layers.Updates()));
  return graph;
}

Tensor Mlp(Graph&, Layers& layers, Tensor x) {
  Tensor h = Gelu(layers.Dense("wide", x, 64));
  return Tanh(layers.Dense("narrow", h, 32)) + x;
}

Tensor DropoutMlp(Graph&, Layers& layers, Tensor x) {
  Tensor h = layers.Dropout(Silu(layers.Dense("wide", x, 64)), 0.3);
  return layers.LayerNorm("norm", layers.Dense("narrow", h, 32)) + x;
}

Tensor Attention(Graph&, Layers& layers, Tensor x) {
  Tensor tokens = layers.LayerNorm("norm", Reshape(x, {4, 64, 32}));
  Tensor y = layers.MultiHeadAttention("attention", tokens, tokens, 4);
  return x + Reshape(y, {256, 32});
}

TEST(RematerializeTest, MarkedBlocksOfATowerTakeLessMemory) {
  const NamedTensors feeds = {{"x", Random({256, 32}, 1)}};
  for (const auto& [name, block, depth] :
       {std::tuple{"mlp", Block(Mlp), 12}, std::tuple{"dropout", Block(DropoutMlp), 8},
        std::tuple{"attention", Block(Attention), 6}}) {
    SCOPED_TRACE(name);
    const Graph marked = Tower(depth, true, block);
    const Trained again = Train(marked, feeds), kept = Train(Tower(depth, false, block), feeds);
    std::printf("%s: %ld bytes, without marks %ld\n", name, static_cast<long>(again.peak),
                static_cast<long>(kept.peak));
    EXPECT_LT(again.peak, kept.peak / 2);
    ExpectSame(again, kept, 1e-5);
    // Each op in a kernel of its own: the same bits, whether it ran once or twice.
    ExpectSame(Train(marked, feeds, Without({"fuse"})),
               Train(marked, feeds, Without({"fuse", "rematerialize"})), 0);
    // The mark alone changes nothing.
    const Trained unmarked = Train(marked, feeds, Without({"rematerialize"}));
    EXPECT_GT(unmarked.peak, again.peak);
    ExpectSame(unmarked, again, 1e-5);
  }
}

// What a file holds is compiled to the same package.
TEST(RematerializeTest, MarksSurviveSaveAndLoad) {
  const Graph graph = Tower(3, true, Mlp);
  absl::StatusOr<std::string> text = graph.ToText();
  ASSERT_TRUE(text.ok()) << text.status();
  absl::StatusOr<Graph> loaded = Graph::FromText(*text);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const auto a = CompilePackage(graph, {}), b = CompilePackage(*loaded, {});
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  EXPECT_TRUE(*a == *b);
}

TEST(RematerializeTest, EveryPassMayBeLeftOut) {
  const NamedTensors feeds = {{"x", Random({256, 32}, 1)}};
  const Graph graph = Tower(3, true, DropoutMlp);
  const Trained all = Train(graph, feeds);
  for (const char* pass : {"cse", "dce", "fold", "fuse", "in_place", "pack", "rematerialize",
                           "reuse", "schedule", "simplify", "split_reductions"}) {
    SCOPED_TRACE(pass);
    ExpectSame(Train(graph, feeds, Without({pass})), all, 1e-5);
  }
}

TEST(RematerializeTest, GradientsOfGradients) {
  for (const bool recompute : {false, true}) {
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {64, 16}), h = x;
    Variable w = graph.AddVariable("w", Random({16, 16}, 3));
    for (int i = 0; i < 4; ++i) {
      auto scope = recompute ? graph.Recompute("layer") : graph.Scope("layer");
      h = Tanh(MatMul(Exp(h * 0.1), w));
    }
    // The penalty on the size of a gradient, as adversarial training has it.
    Tensor dx = Gradients(h, {x})[0];
    Tensor dw = Gradients(ReduceSum(dx * dx, {0, 1}), {w.Read()})[0];
    graph.AddSignature("step", {{"dx", dx}, {"dw", dw}});
    const NamedTensors feeds = {{"x", Random({64, 16}, 1)}};
    const Trained trained = Train(graph, feeds);
    Interpreter interpreter(graph);
    ASSERT_TRUE(interpreter.Initialize().ok());
    auto expected = interpreter.RunSignature("step", {{"x", feeds.at("x")}});
    ASSERT_TRUE(expected.ok()) << expected.status();
    ExpectSame(trained.outputs, NamedTensors(expected->begin(), expected->end()), 1e-4);
    if (recompute) ExpectSame(trained, Train(graph, feeds, Without({"rematerialize"})), 1e-5);
  }
}

// A loop in the scope runs again for its gradient: its stacks do not wait for it.
TEST(RematerializeTest, Loops) {
  auto build = [](bool recompute) {
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {64, 64});
    Variable w = graph.AddVariable("w", Random({64, 64}, 3));
    Tensor h = x;
    for (int i = 0; i < 4; ++i) {
      auto scope = recompute ? graph.Recompute("loop") : graph.Scope("loop");
      Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
      h = While(
          {zero, h}, [](auto& c) { return Less(c[0], 8.0); },
          [&](auto& c) { return std::vector<Tensor>{c[0] + 1.0, Tanh(MatMul(c[1], w))}; }, 8)[1];
    }
    Tensor dw = Gradients(h, {w.Read()})[0];
    graph.AddSignature("step", {{"dw", dw}}, {w.Assign(w.Read() - dw * 0.001)});
    return graph;
  };
  const NamedTensors feeds = {{"x", Random({64, 64}, 1)}};
  const Trained again = Train(build(true), feeds), kept = Train(build(false), feeds);
  ExpectSame(again, kept, 1e-5);
  // Four stacks of 8 before, one of them at a time now.
  EXPECT_LT(again.peak, kept.peak / 2);
}

// A value that becomes known after the first folding has a barrier as its user then.
TEST(RematerializeTest, BarriersOfWhatBecomesKnown) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {8}) * graph.AddVariable("w", Random({8}, 3));
  Tensor known = graph.Constant(HostTensor::Of<float>({8}, std::vector<float>(8, 0.5f)));
  Tensor one = graph.Constant(HostTensor::Scalar<float>(1));
  Tensor two = graph.Constant(HostTensor::Scalar<float>(2));
  Tensor z = Exp(Select(Broadcast(Less(one, two), {8}), known, x));
  Tensor t, u;
  {
    auto scope = graph.Recompute("a");
    t = z * x;
    u = Tanh(t);
  }
  Tensor v = Gradients(ReduceSum(CumSum(Sin(u), 0) * u, {0}), {x})[0];
  graph.AddSignature("step", {{"v", v}});
  const NamedTensors feeds = {
      {"x", HostTensor::Of<float>({8}, std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8})}};
  ExpectSame(Train(graph, feeds), Train(graph, feeds, Without({"rematerialize"})), 1e-6);
}

// A variable that the step writes to is read, by what runs late, as it was before.
TEST(RematerializeTest, VariablesKeepTheirOldValue) {
  Graph graph;
  Variable v = graph.AddVariable("v", Random({128, 128}, 1));
  Tensor x = graph.Input("x", DataType::kF32, {128, 128}), y;
  {
    auto scope = graph.Recompute("layer");
    y = Exp(v * x) * 0.5;
  }
  Tensor dx = Gradients(Tanh(y), {x})[0];
  Tensor next = v.Assign(ReduceSum(y, {1}) * 1e-3 + v.Read() * 0.5);
  graph.AddSignature("step", {{"dx", dx}, {"v", next}});
  const NamedTensors feeds = {{"x", Random({128, 128}, 2)}};
  ExpectSame(Train(graph, feeds), Train(graph, feeds, Without({"rematerialize"})), 1e-6);
}

TEST(RematerializeTest, MeetsABudget) {
  const NamedTensors feeds = {{"x", Random({256, 32}, 1)}};
  const Graph graph = Tower(12, false, Mlp);
  const Trained free = Train(graph, feeds);
  for (const double share : {0.8, 0.6, 0.45}) {
    SCOPED_TRACE(share);
    CompileOptions options;
    options.memory_budget = static_cast<int64_t>(share * static_cast<double>(free.peak));
    std::vector<std::string> lines;
    options.explain = [&](const std::string& line) { lines.push_back(line); };
    const Trained within = Train(graph, feeds, options);
    std::printf("budget %ld of %ld: %ld\n", static_cast<long>(options.memory_budget),
                static_cast<long>(free.peak), static_cast<long>(within.peak));
    EXPECT_LE(within.peak, options.memory_budget);
    ExpectSame(within, free, 1e-5);
    EXPECT_TRUE(std::any_of(lines.begin(), lines.end(), [](const std::string& line) {
      return line.find("computed again: node 'block") == 0;
    }));
  }
  CompileOptions enough;
  enough.memory_budget = free.peak;
  EXPECT_EQ(Train(graph, feeds, enough).peak, free.peak);
}

// Of a chain of cheap values, of which some alone save nothing: nearly all are computed again.
TEST(RematerializeTest, MeetsABudgetOfAChain) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {64, 64});
  Variable v = graph.AddVariable("v", Random({64, 64}, 2));
  Tensor value = v.Read(), y = Tanh(MatMul(x, x)) + value;
  for (int i = 0; i < 6; ++i) y = Tanh(Exp(Tanh(y) * 0.1)) * 0.5;
  Tensor loss = ReduceSum(MatMul(y, y), {0, 1}) * 1e-3;
  graph.AddSignature("step", {{"loss", loss}, {"dv", Gradients(loss, {value})[0]}});
  const NamedTensors feeds = {{"x", Random({64, 64}, 1)}};
  const Trained free = Train(graph, feeds);
  for (const double share : {0.7, 0.6, 0.5}) {
    SCOPED_TRACE(share);
    CompileOptions options;
    options.memory_budget = static_cast<int64_t>(share * static_cast<double>(free.peak));
    const Trained within = Train(graph, feeds, options);
    EXPECT_LE(within.peak, options.memory_budget);
    ExpectSame(within, free, 1e-5);
  }
}

// Each thread has scratch of its own, and the budget is for as many as were said.
TEST(RematerializeTest, ABudgetIsForSoManyThreads) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {512, 512});
  Tensor w = graph.Input("w", DataType::kF32, {512, 512});
  graph.AddSignature("step", {{"y", MatMul(Exp(x), Tanh(w))}});
  CompileOptions options;
  const auto package = CompilePackage(graph, options);
  ASSERT_TRUE(package.ok()) << package.status();
  const auto peak = [&](int threads) {
    SessionOptions with;
    with.threads = threads;
    auto session = Session::FromPackage(*package, with);
    EXPECT_TRUE(session.ok()) << session.status();
    auto call = (*session)->Prepare("step", {{512, 512}, {512, 512}});
    EXPECT_TRUE(call.ok()) << call.status();
    return (*call)->peak_bytes();
  };
  const int64_t one = peak(1), eight = peak(8);
  ASSERT_GT(eight, one);
  options.memory_budget = one;
  EXPECT_TRUE(CompilePackage(graph, options).ok()) << CompilePackage(graph, options).status();
  options.memory_budget_threads = 8;
  const absl::Status status = CompilePackage(graph, options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_NE(status.message().find("needs " + std::to_string(eight) + ", "), std::string::npos)
      << status;
  EXPECT_NE(status.message().find("with the scratch of 8 threads"), std::string::npos) << status;
  options.memory_budget = eight;
  EXPECT_TRUE(CompilePackage(graph, options).ok()) << CompilePackage(graph, options).status();
  for (const int threads : {0, -1, 1025}) {
    options.memory_budget_threads = threads;
    EXPECT_EQ(CompilePackage(graph, options).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(RematerializeTest, SaysByHowMuchABudgetIsMissed) {
  const Graph graph = Tower(2, false, Mlp);
  CompileOptions options;
  options.signatures = {"step"};
  options.memory_budget = 4096;
  const absl::Status status = CompilePackage(graph, options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  const std::string message(status.message());
  for (const char* part : {"signature 'step'", "expected at most 4096 bytes (the memory budget)",
                           "at the peak are held ", " by node 'block", "rematerialize_test.cc:"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
  }
  // The figures are parts of one another: what is held and scratch make what is needed.
  const auto figure = [&](const std::string& before) {
    const size_t at = message.find(before);
    return at == std::string::npos ? -1 : std::atoll(message.c_str() + at + before.size());
  };
  const int64_t needed = figure("needs "), held = figure("at the peak are held ");
  EXPECT_EQ(figure(" bytes (the memory budget), needs " + std::to_string(needed) + ", "),
            needed - options.memory_budget);
  EXPECT_GT(held, 0);
  EXPECT_LE(held, needed);
  options.disabled_passes = {"rematerialize"};
  const absl::Status without = CompilePackage(graph, options).status();
  EXPECT_NE(without.message().find("with nothing computed again"), std::string::npos) << without;
  options.memory_budget = -1;
  EXPECT_EQ(CompilePackage(graph, options).status().code(), absl::StatusCode::kInvalidArgument);
}

// Nobody has named the sizes that a budget is judged at, nor feeds anything.
TEST(RematerializeTest, SaysAtWhichSizesABudgetCannotBeJudged) {
  Graph graph;
  const DimExpr n = DimExpr::Symbol("n");
  Tensor x = graph.Input("x", DataType::kF32, {n});
  graph.AddSignature("f", {{"y", Broadcast(Exp(x), {n, n, n, n, n, n, n, n})}});
  CompileOptions options;
  options.memory_budget = 1 << 20;
  const absl::Status status = CompilePackage(graph, options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << status;
  for (const char* part : {"out of bounds at n=64 ", "output 'y'", "where the memory budget is "}) {
    EXPECT_NE(status.message().find(part), std::string::npos) << part << " in " << status;
  }
  options.specialize = {{"n", {2, 3}}};
  EXPECT_TRUE(CompilePackage(graph, options).ok()) << CompilePackage(graph, options).status();
}

}  // namespace
}  // namespace weft
