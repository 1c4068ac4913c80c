// Reductions of much to little, which are cut into parts: compiled code and the reference evaluator
// agree, at sizes that parts divide and that they do not, known and open. Numbers are whole and
// small, so that sums are exact and every bit is the same.
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/api.h"
#include "graph/interpreter.h"
#include "graph/layers/functions.h"
#include "gtest/gtest.h"
#include "proto/container.h"
#include "proto/plan.pb.h"
#include "runtime/session.h"
#include "tests/conformance/targets.h"

namespace weft {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

HostTensor WholeNumbers(DataType dtype, const std::vector<int64_t>& shape, int seed) {
  HostTensor tensor = *HostTensor::Create(dtype, shape);
  std::mt19937 random(static_cast<uint32_t>(seed));
  WithType(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (T& value : tensor.mutable_values<T>()) {
      value = static_cast<T>(static_cast<float>(static_cast<int>(random() % 9) - 4));
    }
  });
  return tensor;
}

void ExpectAgreement(const Graph& graph, const TensorMap& feeds, Session& session) {
  Interpreter interpreter(graph);
  const auto reference = interpreter.RunSignature("run", feeds);
  ASSERT_TRUE(reference.ok()) << reference.status();
  NamedTensors given(feeds.begin(), feeds.end());
  const auto results = session.Run("run", given);
  ASSERT_TRUE(results.ok()) << results.status();
  for (const auto& [name, value] : *reference) {
    EXPECT_EQ(results->at(name).ToString(1 << 20), value.ToString(1 << 20)) << name;
  }
}

std::unique_ptr<Session> SessionOf(const std::string& package) {
  auto session = Session::FromPackage(package, {.threads = 2, .device = DeviceOfTest()});
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

// Where a zero past the end would be the largest or the smallest, and sums of what is not zero
// there.
std::vector<std::pair<std::string, Tensor>> ReductionsOf(Tensor x, int64_t axis) {
  Tensor low = x - 10.0, high = x + 10.0;
  return {{"sum", ReduceSum(x, {axis})},
          {"squares", ReduceSum(x * x, {axis})},
          {"sum_of_high", ReduceSum(high, {axis})},
          {"prod", ReduceProd(Select(Greater(x, 3.0), low * 0.0 - 1.0, low * 0.0 + 1.0), {axis})},
          {"max", ReduceMax(low, {axis})},
          {"min", ReduceMin(high, {axis})},
          {"and", ReduceAnd(Greater(high, 0.0), {axis})},
          {"or", ReduceOr(Greater(low, 0.0), {axis})},
          {"place_of_max", ArgMax(low, axis)},
          {"place_of_min", ArgMin(high, axis)}};
}

TEST(LargeReductions, OfKnownSizes) {
  for (const int64_t size : {32768, 40009}) {
    for (const DataType dtype : {DataType::kF32, DataType::kF16, DataType::kI32}) {
      SCOPED_TRACE(std::to_string(size) + " " + std::string(NameOf(dtype)));
      Graph graph;
      Tensor x = graph.Input("x", dtype, {size});
      graph.AddSignature("run", ReductionsOf(x, 0));
      ASSERT_TRUE(graph.status().ok()) << graph.status();
      const auto package = CompilePackage(graph, OptionsOfTest());
      ASSERT_TRUE(package.ok()) << package.status();
      ExpectAgreement(graph, {{"x", WholeNumbers(dtype, {size}, 3)}}, *SessionOf(*package));
    }
  }
}

// One package, at sizes from none to more than one block would take.
TEST(LargeReductions, OfOpenSizes) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  graph.AddSignature("run", ReductionsOf(x, 0));
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const auto package = CompilePackage(graph, OptionsOfTest());
  ASSERT_TRUE(package.ok()) << package.status();
  const auto session = SessionOf(*package);
  for (const int64_t size : {0, 1, 15, 16, 700, 8192, 20011}) {
    SCOPED_TRACE(size);
    ExpectAgreement(graph, {{"x", WholeNumbers(DataType::kF32, {size}, 5)}}, *session);
  }
}

// Gradients of a bias and of a scale: sums over a long batch for each of a few columns, of what is
// computed of several operands, which are of a row or a column alone.
TEST(LargeReductions, OfFewColumns) {
  for (const bool open : {false, true}) {
    SCOPED_TRACE(open ? "open" : "known");
    constexpr int64_t kRows = 4507, kColumns = 12;
    Graph graph;
    const DimExpr rows = open ? DimExpr::Symbol("n") : DimExpr(kRows);
    Tensor dy = graph.Input("dy", DataType::kF32, {rows, 3, kColumns});
    Tensor mean = graph.Input("mean", DataType::kF32, {rows, 1, 1});
    Tensor scale = graph.Input("scale", DataType::kF32, {kColumns});
    Tensor each = graph.Input("each", DataType::kF32, {3, 1});
    std::vector<std::pair<std::string, Tensor>> outputs = {
        {"bias", ReduceSum(dy, {0, 1})},
        {"scale", ReduceSum(dy * (dy - mean) * scale + each, {0, 1})},
        {"all", ReduceSum(dy * scale - each, {0, 1, 2})},
        {"place", ArgMax(dy - mean, 0)},
        {"rows", ReduceMax(Transpose(dy, {2, 0, 1}), {1, 2})}};
    graph.AddSignature("run", outputs);
    ASSERT_TRUE(graph.status().ok()) << graph.status();
    const auto package = CompilePackage(graph, OptionsOfTest());
    ASSERT_TRUE(package.ok()) << package.status();
    const auto session = SessionOf(*package);
    for (const int64_t size : open ? std::vector<int64_t>{0, 1, 37, 1200} : std::vector{kRows}) {
      SCOPED_TRACE(size);
      ExpectAgreement(graph,
                      {{"dy", WholeNumbers(DataType::kF32, {size, 3, kColumns}, 1)},
                       {"mean", WholeNumbers(DataType::kF32, {size, 1, 1}, 2)},
                       {"scale", WholeNumbers(DataType::kF32, {kColumns}, 3)},
                       {"each", WholeNumbers(DataType::kF32, {3, 1}, 4)}},
                      *session);
    }
  }
}

TEST(LargeReductions, OfSpecialNumbers) {
  constexpr int64_t kSize = 40009;
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {kSize});
  graph.AddSignature("run", {{"max", ReduceMax(x, {0})},
                             {"min", ReduceMin(x, {0})},
                             {"place_of_max", ArgMax(x, 0)},
                             {"place_of_min", ArgMin(x, 0)}});
  const auto package = CompilePackage(graph, OptionsOfTest());
  ASSERT_TRUE(package.ok()) << package.status();
  const auto session = SessionOf(*package);
  struct Case {
    float all;
    std::vector<std::pair<int64_t, float>> others;
  };
  for (const Case& c : std::vector<Case>{{-kInf, {}},
                                         {kInf, {}},
                                         {kNan, {}},
                                         {1, {{30000, kNan}, {40008, kNan}}},
                                         {1, {{40008, kInf}, {7, -kInf}}},
                                         {0, {{20000, -0.0f}}}}) {
    HostTensor values = *HostTensor::Create(DataType::kF32, {kSize});
    for (float& value : values.mutable_values<float>()) value = c.all;
    for (const auto& [at, value] : c.others) {
      values.mutable_values<float>()[static_cast<size_t>(at)] = value;
    }
    SCOPED_TRACE(c.all);
    ExpectAgreement(graph, {{"x", values}}, *session);
  }
}

// What a GPU gets: two launches, of which the first has enough blocks, reading 16 bytes at a time.
struct Launches {
  std::vector<int64_t> blocks;  // -1: a formula
  std::string code;
};
Launches LaunchesOf(const Graph& graph) {
  const auto package = CompilePackage(graph, OptionsOfTest());
  EXPECT_TRUE(package.ok()) << package.status();
  const auto container = Container::Open(Bytes::Of(*package));
  EXPECT_TRUE(container.ok()) << container.status();
  PackageManifest manifest;
  EXPECT_TRUE(manifest.ParseFromString(std::string(*container->Section("manifest"))));
  Launches launches;
  launches.code = std::string(*container->Section(manifest.targets(0).code_section()));
  const Plan& plan = manifest.targets(0).plans(0);
  for (const Step& step : plan.blocks(0).steps()) {
    if (!step.has_launch()) continue;
    const Formula& tiles = plan.formulas(static_cast<int>(step.launch().tiles()));
    launches.blocks.push_back(tiles.op() == Formula::CONSTANT ? tiles.value() : -1);
  }
  return launches;
}

TEST(LargeReductions, HaveManyBlocks) {
  if (DeviceOfTest() == nullptr) GTEST_SKIP() << "of a GPU";
  struct Case {
    std::vector<DimExpr> shape;
    std::vector<int64_t> axes;
    std::vector<int64_t> blocks;
  };
  for (const Case& c : std::vector<Case>{{{1 << 20}, {0}, {512, 1}},
                                         {{1000003}, {0}, {509, 1}},
                                         {{DimExpr::Symbol("n")}, {0}, {512, 1}},
                                         {{4, 100000}, {1}, {200, 1}},
                                         {{DimExpr::Symbol("n"), 8, 4}, {0, 1}, {512, 1}}}) {
    SCOPED_TRACE(ToString(Shape(c.shape)));
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {c.shape.begin(), c.shape.end()});
    graph.AddSignature("run", {{"y", ReduceSum(Exp(x), c.axes)}});
    const Launches launches = LaunchesOf(graph);
    EXPECT_EQ(launches.blocks, c.blocks);
    if (c.shape.size() > 1) continue;
    const bool wide = launches.code.find("ld.global.v4.b32") != std::string::npos ||
                      launches.code.find("ld.global.nc.v4.b32") != std::string::npos;
    EXPECT_TRUE(wide) << launches.code;
  }
}

}  // namespace
}  // namespace weft
