// Graphs that are long, wide, or both: compilation neither recurses along them nor takes time that
// grows with the square of their size, which would show as a timeout here, or where that is said,
// in how it grows.
#include <cmath>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "compiler/api.h"
#include "graph/graph.h"
#include "gtest/gtest.h"
#include "runtime/session.h"

namespace weft {
namespace {

std::unique_ptr<Session> Compile(const Graph& graph, const std::vector<std::string>& disabled) {
  EXPECT_TRUE(graph.status().ok()) << graph.status();
  CompileOptions options;
  options.disabled_passes = disabled;
  absl::StatusOr<std::string> package = CompilePackage(graph, options);
  EXPECT_TRUE(package.ok()) << package.status();
  if (!package.ok()) return nullptr;
  auto session = Session::FromPackage(*std::move(package));
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

TEST(ScaleTest, LineOf200000Nodes) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"}), y = x;
  for (int i = 0; i < 100000; ++i) y = Tanh(y * 1.5);
  graph.AddSignature("f", {{"y", y}});
  const auto session = Compile(graph, {});
  ASSERT_NE(session, nullptr);
  const auto run = session->Run("f", {{"x", HostTensor::Of<float>({2}, {0.25f, -3.0f})}});
  ASSERT_TRUE(run.ok()) << run.status();
  float fixed = 0.25f;
  for (int i = 0; i < 1000; ++i) fixed = std::tanh(1.5f * fixed);
  EXPECT_NEAR(run->at("y").values<float>()[0], fixed, 1e-5);
  EXPECT_NEAR(run->at("y").values<float>()[1], -fixed, 1e-5);
}

// Each a kernel of its own, and names for one piece of memory, where nothing is simplified.
TEST(ScaleTest, LineOfMovesAndAliases) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {3, 2}), y = x;
  for (int i = 0; i < 3000; ++i) y = Transpose(Reshape(Reshape(y, {6}), {3, 2}), {1, 0}) + 1.0;
  graph.AddSignature("f", {{"y", Reshape(y, {6})}});
  const auto session = Compile(graph, {"simplify", "fuse"});
  ASSERT_NE(session, nullptr);
  const auto run = session->Run("f", {{"x", HostTensor::Of<float>({3, 2}, {1, 2, 3, 4, 5, 6})}});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->at("y").values<float>()[0], 3001);
}

// Each is found among the others by its name and by its memory.
TEST(ScaleTest, ManyAssignedVariables) {
  constexpr int kVariables = 30000;
  Graph graph;
  std::vector<Tensor> targets;
  for (int i = 0; i < kVariables; ++i) {
    Variable v = graph.AddVariable("v" + std::to_string(i),
                                   HostTensor::Of<float>({1}, {static_cast<float>(i)}));
    targets.push_back(v.Assign(v * 2.0));
  }
  graph.AddSignature("step", {}, targets);
  const auto session = Compile(graph, {});
  ASSERT_NE(session, nullptr);
  ASSERT_TRUE(session->Run("init", {}).ok());
  const auto run = session->Run("step", {});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(session->GetVariable("v29999")->values<float>()[0], 2 * 29999);
}

// Thousands of updates that are all ready at once, of values that are all alive at once.
TEST(ScaleTest, ManyVariables) {
  constexpr int kVariables = 3000;
  Graph graph;
  std::vector<Tensor> targets, turned;
  for (int i = 0; i < kVariables; ++i) {
    Variable v = graph.AddVariable("v" + std::to_string(i),
                                   HostTensor::Of<float>({2, 2}, {1, 2, 3, static_cast<float>(i)}));
    turned.push_back(Transpose(v, {1, 0}));
    targets.push_back(v.Assign(turned.back() + v));
  }
  Tensor sum = turned[0];
  for (int i = kVariables; --i > 0;) sum = sum + turned[static_cast<size_t>(i)];
  graph.AddSignature("step", {{"sum", sum}}, targets);
  for (const std::vector<std::string>& disabled : {std::vector<std::string>(), {"fuse", "reuse"}}) {
    const auto session = Compile(graph, disabled);
    ASSERT_NE(session, nullptr);
    ASSERT_TRUE(session->Run("init", {}).ok());
    const auto run = session->Run("step", {});
    ASSERT_TRUE(run.ok()) << run.status();
    EXPECT_EQ(run->at("sum").values<float>()[1], 3 * kVariables);
    EXPECT_EQ(session->GetVariable("v7")->values<float>()[1], 5);
    EXPECT_EQ(session->GetVariable("v7")->values<float>()[3], 14);
  }
}

using MakeGraph = std::function<Tensor(Graph&, Tensor x, int size)>;

// Seconds of all threads.
double CompileTime(const MakeGraph& make, int size) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {8, 16});
  graph.AddSignature("f", {{"y", make(graph, x, size)}});
  const std::clock_t start = std::clock();
  EXPECT_NE(Compile(graph, {}), nullptr);
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

// Differences do not count what every compilation takes, whatever the size. The second is twice the
// first where time grows with the size, four times where it grows with the square. Where something
// else on the machine may have disturbed them, they are taken again.
void ExpectNoSquare(int size, const MakeGraph& make) {
  CompileTime(make, 1);  // what the first one in a process makes for all
  std::string times;
  for (int i = 0; i < 5; ++i) {
    const double time = CompileTime(make, size), twice = CompileTime(make, 2 * size),
                 four_times = CompileTime(make, 4 * size);
    if (four_times - twice < 3 * (twice - time)) return;
    absl::StrAppend(&times, time, " s, ", twice, " s, ", four_times, " s\n");
  }
  FAIL() << "time grows faster than the size:\n" << times;
}

// Many kernels between which a value, or what they compute, could be shared: finding out that it
// cannot be, since others lie between, takes no longer the more there are.
TEST(ScaleTest, MaskOfEveryLayer) {
  ExpectNoSquare(1000, [](Graph& graph, Tensor x, int size) {
    Tensor w = graph.Input("w", DataType::kF32, {16, 16}), mask = Tanh(x), y = x;
    for (int i = 0; i < size; ++i) y = MatMul(y, w) * mask;
    return y;
  });
}

TEST(ScaleTest, ValueAfterEveryScan) {
  ExpectNoSquare(1000, [](Graph&, Tensor x, int size) {
    Tensor value = Tanh(x), y = x;
    for (int i = 0; i < size; ++i) y = CumSum(y, 1) * value;
    return y;
  });
}

TEST(ScaleTest, SumsOfColumnsOneOfAnother) {
  ExpectNoSquare(500, [](Graph&, Tensor x, int size) {
    Tensor y = ReduceSum(x, {0});
    for (int i = 0; i < size; ++i) y = ReduceSum(x * y, {0});
    return y;
  });
}

TEST(ScaleTest, SumsOfRowsOneOfAnother) {
  ExpectNoSquare(750, [](Graph&, Tensor x, int size) {
    Tensor y = ReduceSum(x, {1}, true);
    for (int i = 0; i < size; ++i) y = ReduceSum(x * y, {1}, true);
    return y;
  });
}

TEST(ScaleTest, PairsFarApart) {
  ExpectNoSquare(1000, [](Graph&, Tensor x, int size) {
    std::vector<Tensor> firsts;
    Tensor y = x;
    for (int i = 0; i < size; ++i) firsts.push_back(Tanh(y = CumSum(y, 1)));
    for (Tensor first : firsts) y = CumSum(y, 1) + Exp(first);
    return y;
  });
}

}  // namespace
}  // namespace weft
