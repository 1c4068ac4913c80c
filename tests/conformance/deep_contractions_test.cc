// Contractions of few results and a great depth, which GPUs compute in parts of that: compiled code
// and the reference evaluator agree, at depths that parts divide and that they do not, whatever
// follows. Numbers are whole and small, so that sums are exact and every bit is the same.
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "compiler/api.h"
#include "gmock/gmock.h"
#include "graph/graph.h"
#include "graph/layers/functions.h"
#include "gtest/gtest.h"
#include "tests/conformance/targets.h"
#include "tests/conformance/whole_numbers.h"

namespace weft {
namespace {

using Ints = std::vector<int64_t>;

// The graph's signature "run", compiled, on whole numbers for these inputs, in order.
void Check(const Graph& graph, DataType dtype,
           const std::vector<std::pair<std::string, Ints>>& inputs) {
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const auto package = CompilePackage(graph, OptionsOfTest());
  ASSERT_TRUE(package.ok()) << package.status();
  TensorMap feeds;
  int seed = 0;
  for (const auto& [name, shape] : inputs) feeds[name] = WholeNumbers(dtype, shape, ++seed);
  const auto session = SessionOf(*package);
  ASSERT_NE(session, nullptr);
  ExpectAgreement(graph, feeds, *session);
}

std::vector<Graph::Dim> Dims(const Ints& sizes) { return {sizes.begin(), sizes.end()}; }

TEST(DeepContractions, Products) {
  struct Case {
    Ints batch;
    int64_t m, n, k;
    bool ta = false, tb = false;
  };
  const DataType dtypes[] = {DataType::kF32, DataType::kBF16, DataType::kF16, DataType::kI32};
  size_t i = 0;
  for (const Case& c : std::vector<Case>{{{}, 16, 16, 4096},
                                         {{}, 20, 12, 5001},
                                         {{}, 20, 12, 5001, true},
                                         {{}, 20, 12, 5001, true, true},
                                         {{}, 17, 8, 4104, false, true},
                                         {{}, 130, 70, 2500, true},
                                         {{2}, 20, 12, 5001, false, true},
                                         {{3, 1}, 40, 24, 3000},
                                         {{}, 1, 1, 8193}}) {
    for (int both = 0; both < 2; ++both, ++i) {
      const DataType dtype = dtypes[i % 4];
      SCOPED_TRACE(absl::StrCat(c.batch.size(), " batches, ", c.m, " x ", c.n, " x ", c.k, " ta ",
                                c.ta, " tb ", c.tb, " ", std::string(NameOf(dtype))));
      Ints a = c.batch, b = c.batch;
      a.insert(a.end(), {c.ta ? c.k : c.m, c.ta ? c.m : c.k});
      b.insert(b.end(), {c.tb ? c.n : c.k, c.tb ? c.k : c.n});
      Graph graph;
      graph.AddSignature("run", {{"y", MatMul(graph.Input("a", dtype, Dims(a)),
                                              graph.Input("b", dtype, Dims(b)), c.ta, c.tb)}});
      Check(graph, dtype, {{"a", a}, {"b", b}});
    }
  }
}

// One right operand for the whole batch.
TEST(DeepContractions, BatchesThatShareAnOperand) {
  Graph graph;
  Tensor a = graph.Input("a", DataType::kF32, {3, 5, 4100});
  Tensor b = graph.Input("b", DataType::kF32, {4100, 6});
  graph.AddSignature("run", {{"y", MatMul(a, b)}});
  Check(graph, DataType::kF32, {{"a", {3, 5, 4100}}, {"b", {4100, 6}}});
}

// Windows of a great many channels, and gradients of filters, whose depth is all pixels of all
// images; with gaps, and in groups.
TEST(DeepContractions, Convolutions) {
  struct Case {
    Ints image, filter, strides = {1, 1}, padding = {0, 0, 0, 0}, dilations = {1, 1};
    int64_t groups = 1;
  };
  const DataType dtypes[] = {DataType::kF32, DataType::kBF16};
  size_t i = 0;
  for (const Case& c :
       std::vector<Case>{{{1, 4, 4, 500}, {3, 3, 500, 8}},
                         {{2, 5, 4, 500}, {3, 2, 500, 8}, {2, 1}, {1, 1, 0, 0}, {1, 2}},
                         {{3, 40, 40, 3}, {3, 3, 3, 5}, {1, 1}, {1, 1, 1, 1}},
                         {{2, 49, 50, 4}, {1, 1, 4, 6}},
                         {{2, 81, 82, 4}, {2, 2, 2, 6}, {2, 2}, {0, 0, 0, 0}, {1, 1}, 2}}) {
    for (int both = 0; both < 2; ++both, ++i) {
      const DataType dtype = dtypes[both];
      SCOPED_TRACE(absl::StrCat("case ", i / 2, " ", std::string(NameOf(dtype))));
      Graph graph;
      Tensor x = graph.Input("x", dtype, Dims(c.image));
      Tensor filter = graph.Input("filter", dtype, Dims(c.filter));
      Tensor y = Conv2D(x, filter, c.strides, c.padding, c.dilations, c.groups);
      Ints shape;
      for (const DimExpr& dim : y.shape()) shape.push_back(*dim.Constant());
      Tensor dy = graph.Input("dy", dtype, Dims(shape));
      graph.AddSignature(
          "run", {{"y", y},
                  {"gradient", Conv2DFilterGrad(x, dy, {c.filter[0], c.filter[1]}, c.strides,
                                                c.padding, c.dilations, c.groups)}});
      Check(graph, dtype, {{"x", c.image}, {"filter", c.filter}, {"dy", shape}});
    }
  }
}

// A layer with a batch of thousands: its weights' gradient, and a step with it.
TEST(DeepContractions, GradientsOfALayer) {
  for (const DataType dtype : {DataType::kF32, DataType::kBF16}) {
    SCOPED_TRACE(NameOf(dtype));
    constexpr int64_t kBatch = 4500, kInputs = 12, kOutputs = 20;
    Graph graph;
    Tensor x = graph.Input("x", dtype, {kBatch, kInputs});
    Tensor w = graph.Input("w", dtype, {kInputs, kOutputs});
    Tensor b = graph.Input("b", dtype, {kOutputs});
    const std::vector<Tensor> g = Gradients(Relu(MatMul(x, w) + b), {w, b});
    graph.AddSignature("run", {{"dw", g[0]}, {"db", g[1]}, {"next", w - g[0] * 0.5}});
    Check(graph, dtype, {{"x", {kBatch, kInputs}}, {"w", {kInputs, kOutputs}}, {"b", {kOutputs}}});
  }
}

TEST(DeepContractions, WhatFollows) {
  for (const DataType dtype : {DataType::kF32, DataType::kF16}) {
    SCOPED_TRACE(NameOf(dtype));
    Graph graph;
    Tensor a = graph.Input("a", dtype, {7, 4099}), b = graph.Input("b", dtype, {4099, 9});
    Tensor row = graph.Input("row", dtype, {9}), each = graph.Input("each", dtype, {7, 9});
    Tensor y = MatMul(a, b);
    graph.AddSignature("run", {{"y", y},
                               {"z", Relu((y + row) * 0.5 - each)},
                               {"sum", ReduceSum(Cast(y, DataType::kF32), {0, 1})},
                               {"turned", Transpose(y, {1, 0})}});
    Check(graph, dtype, {{"a", {7, 4099}}, {"b", {4099, 9}}, {"row", {9}}, {"each", {7, 9}}});
  }
}

// Parts are batches of one launch, another adds them up with what follows; and nothing adds to
// memory, in an order that time would decide.
TEST(DeepContractions, AreTwoLaunches) {
  if (DeviceOfTest() == nullptr) GTEST_SKIP() << "of a GPU";
  for (const DataType dtype : {DataType::kF32, DataType::kBF16}) {
    SCOPED_TRACE(NameOf(dtype));
    Graph graph;
    Tensor a = graph.Input("a", dtype, {4096, 16}), b = graph.Input("b", dtype, {4096, 16});
    Tensor row = graph.Input("row", dtype, {16});
    graph.AddSignature("run", {{"y", Relu(MatMul(a, b, true) + row)}});
    const Launches launches = LaunchesOf(graph);
    EXPECT_EQ(launches.blocks, (std::vector<int64_t>{16, 8}));
    const bool cores = launches.code.find("mma.sync") != std::string::npos;
    EXPECT_EQ(cores, dtype == DataType::kBF16);
    for (const char* atomic : {"\tatom.", "\tred."}) {
      EXPECT_EQ(launches.code.find(atomic), std::string::npos) << atomic;
    }
  }
}

// Of numbers whose sums are rounded: on every run, by any number of threads that emulate.
TEST(DeepContractions, SameBitsOnEachRun) {
  Graph graph;
  Tensor a = graph.Input("a", DataType::kF32, {20, 5001});
  Tensor b = graph.Input("b", DataType::kF32, {5001, 12});
  graph.AddSignature("run", {{"y", MatMul(a / 3.0, b / 7.0)}});
  const auto package = CompilePackage(graph, OptionsOfTest());
  ASSERT_TRUE(package.ok()) << package.status();
  const NamedTensors feeds = {{"a", WholeNumbers(DataType::kF32, {20, 5001}, 1)},
                              {"b", WholeNumbers(DataType::kF32, {5001, 12}, 2)}};
  HostTensor first;
  for (int run = 0; run < 4; ++run) {
    auto session = Session::FromPackage(
        *package,
        {.threads = 1 + run % 2, .device = DeviceFor(OptionsOfTest().targets[0], 1 + run % 2)});
    ASSERT_TRUE(session.ok()) << session.status();
    const auto results = (*session)->Run("run", feeds);
    ASSERT_TRUE(results.ok()) << results.status();
    const HostTensor& y = results->at("y");
    if (run == 0) first = y;
    ASSERT_EQ(y.size_bytes(), first.size_bytes());
    EXPECT_EQ(std::memcmp(y.data(), first.data(), y.size_bytes()), 0) << run;
  }
}

}  // namespace
}  // namespace weft
