// What an op means at its edges: compiled code and the reference evaluator agree on it, in a
// package, whose plans leave open dimensions open, and in a session with a compiler, whose plans
// know every size.
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "compiler/api.h"
#include "graph/interpreter.h"
#include "gtest/gtest.h"
#include "runtime/session.h"
#include "tests/conformance/targets.h"

namespace weft {
namespace {

constexpr float kInf = INFINITY;

HostTensor Filled(const std::vector<int64_t>& shape, float value = 0.5f) {
  HostTensor tensor = *HostTensor::Create(DataType::kF32, shape);
  for (float& v : tensor.mutable_values<float>()) v = value;
  return tensor;
}

// Runs the signature "run" both ways, and with the evaluator. All fail, or all agree bit by bit
// (NaNs among themselves). Gives the reference's results; none where all failed.
NamedTensors RunEveryWay(const Graph& graph, const TensorMap& feeds) {
  EXPECT_TRUE(graph.status().ok()) << graph.status();
  Interpreter interpreter(graph);
  const auto reference = interpreter.RunSignature("run", feeds);
  for (const bool planned : {false, true}) {
    SCOPED_TRACE(planned ? "sizes known" : "sizes open");
    absl::StatusOr<std::unique_ptr<Session>> session;
    if (planned) {
      auto planner = MakePlanner(graph, OptionsOfTest());
      EXPECT_TRUE(planner.ok()) << planner.status();
      session = Session::WithPlanner(*planner, {.threads = 1, .device = DeviceOfTest()});
    } else {
      const auto package = CompilePackage(graph, OptionsOfTest());
      EXPECT_TRUE(package.ok()) << package.status();
      if (!package.ok()) continue;
      session = Session::FromPackage(*package, {.threads = 1, .device = DeviceOfTest()});
    }
    EXPECT_TRUE(session.ok()) << session.status();
    if (!session.ok()) continue;
    NamedTensors given;
    for (const auto& signature : (*session)->Signatures()) {
      if (signature.name != "run") continue;
      for (const auto& input : signature.inputs) given[input.name] = feeds.at(input.name);
    }
    const auto results = (*session)->Run("run", given);
    EXPECT_EQ(results.ok(), reference.ok()) << results.status() << reference.status();
    if (!results.ok() || !reference.ok()) continue;
    for (const auto& [name, value] : *reference) {
      EXPECT_EQ(results->at(name).ToString(1 << 20), value.ToString(1 << 20)) << name;
    }
  }
  if (!reference.ok()) return {};
  return {reference->begin(), reference->end()};
}

// "y", and the gradients "d0", ... for the float inputs.
void SignWithGradients(Graph& graph, const Tensor& y, const std::vector<Tensor>& xs) {
  std::vector<std::pair<std::string, Tensor>> outputs = {{"y", y}};
  for (const Tensor& gradient : Gradients(y, xs)) {
    outputs.emplace_back("d" + std::to_string(outputs.size() - 1), gradient);
  }
  graph.AddSignature("run", outputs);
}

using EmptySizes = TargetTest;
using NonFinite = TargetTest;
using Aliases = TargetTest;
using Effects = TargetTest;

// Rules about sizes hold where an op is declared. What sizes given later make empty has a meaning.
TEST_F(EmptySizes, ConvolutionWithoutRoomForItsWindow) {
  for (const int64_t stride : {1, 2}) {
    for (const int64_t dilation : {1, 3, 9}) {
      SCOPED_TRACE(std::to_string(stride) + " " + std::to_string(dilation));
      Graph graph;
      Tensor x = graph.Input("x", DataType::kF32, {"n", "h", "w", 2});
      Tensor filter = graph.Input("filter", DataType::kF32, {3, 3, 2, 4});
      Tensor y = Conv2D(x, filter, {stride, 1}, {1, 0, 0, 0}, {dilation, 1}, 1);
      SignWithGradients(graph, y, {x, filter});
      for (const int64_t height : {0, 1, 2, 5, 40}) {
        SCOPED_TRACE(height);
        RunEveryWay(graph, {{"x", Filled({2, height, 4, 2})}, {"filter", Filled({3, 3, 2, 4})}});
      }
      RunEveryWay(graph, {{"x", Filled({0, 4, 0, 2})}, {"filter", Filled({3, 3, 2, 4})}});
    }
  }
}

// What is not read has an extent of 0, and rows beside it are computed: its coordinates are divided
// by that, though nothing is loaded there.
TEST_F(EmptySizes, RepeatedRowsOfNothingBesideOthers) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"m", 8});
  Tensor z = graph.Input("z", DataType::kF32, {"k", 8});
  Tensor rows = graph.Input("rows", DataType::kI32, {"k"});
  const DimExpr m = x.dim(0);
  Tensor repeated = Reshape(Broadcast(x, {4, m, 8}), {4 * m, 8});
  graph.AddSignature("run",
                     {{"concat", Concat({repeated, z}, 0)},
                      {"pad", Pad(repeated, 0.5f, {1, 0}, {1, 0}, {0, 0})},
                      {"gather", Gather(repeated, rows, 0)},
                      {"turned", Transpose(Pad(repeated, 0.5f, {1, 0}, {1, 0}, {0, 0}), {1, 0})}});
  for (const int64_t size : {0, 1, 2, 5}) {
    SCOPED_TRACE(size);
    RunEveryWay(graph, {{"x", Filled({size, 8})},
                        {"z", Filled({3, 8})},
                        {"rows", HostTensor::Of<int32_t>({3}, {0, 4, -1})}});
  }
}

TEST_F(EmptySizes, FilterWithoutElements) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {1, 4, 5, 2});
  Tensor filter = graph.Input("filter", DataType::kF32, {"kh", "kw", 2, 3});
  graph.AddSignature("run", {{"y", Conv2D(x, filter, {1, 2}, {0, 1, 0, 0}, {1, 1}, 1)}});
  for (const int64_t height : {0, 1, 2, 9}) {
    SCOPED_TRACE(height);
    RunEveryWay(graph, {{"x", Filled({1, 4, 5, 2})}, {"filter", Filled({height, 2, 2, 3})}});
  }
}

TEST_F(EmptySizes, PoolingWithoutRoomForItsWindow) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", "h", "w", 2});
  Tensor mean = AvgPool(x, {3, 2}, {2, 1}, {1, 0, 0, 0}, false);
  const MaxPoolResult most = MaxPool(x, {3, 2}, {2, 1}, {1, 0, 0, 0});
  Tensor total = ReduceSum(mean, {0, 1, 2, 3}) + ReduceSum(most.y, {0, 1, 2, 3});
  graph.AddSignature(
      "run",
      {{"mean", mean}, {"most", most.y}, {"index", most.index}, {"dx", Gradients(total, {x})[0]}});
  for (const int64_t height : {0, 1, 2, 3}) {
    SCOPED_TRACE(height);
    RunEveryWay(graph, {{"x", Filled({2, height, 4, 2})}});
  }
  RunEveryWay(graph, {{"x", Filled({2, 3, 1, 2})}});
}

TEST_F(EmptySizes, ExtremesOfNothing) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {2, "n"});
  graph.AddSignature("run", {{"largest", ArgMax(x, 1)}, {"smallest", ArgMin(x, 1, true)}});
  EXPECT_EQ(RunEveryWay(graph, {{"x", Filled({2, 0})}}).at("largest").ToString(9),
            HostTensor::Of<int64_t>({2}, {0, 0}).ToString(9));
  RunEveryWay(graph, {{"x", Filled({2, 3})}});
}

TEST_F(EmptySizes, SlicesThatStartBeyondTheEnd) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  const DimExpr n = x.dim(0);
  Tensor y = Slice(x, {DimExpr(3)}, {n}, {2});
  Tensor padded = Pad(Slice(x, {DimExpr(0)}, {n}, {3}), 0.25, {DimExpr(2)}, {DimExpr(0)}, {2});
  Tensor total = ReduceSum(y * y, {0}) + ReduceSum(padded * padded, {0});
  graph.AddSignature("run", {{"y", y}, {"padded", padded}, {"dx", Gradients(total, {x})[0]}});
  for (const int64_t size : {0, 1, 2, 3, 4, 5, 40}) {
    SCOPED_TRACE(size);
    RunEveryWay(graph, {{"x", Filled({size})}});
  }
}

// Padding is zeros, which are multiplied like any other element.
TEST_F(NonFinite, FiltersOverPadding) {
  for (const int64_t channels : {1, 24}) {
    SCOPED_TRACE(channels);
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {1, 4, 5, channels});
    Tensor filter = graph.Input("filter", DataType::kF32, {3, 3, channels, channels});
    graph.AddSignature("run", {{"y", Conv2D(x, filter, {1, 1}, {1, 1, 1, 1}, {1, 1}, 1)}});
    HostTensor infinite = Filled({3, 3, channels, channels});
    infinite.mutable_values<float>()[0] = kInf;
    const NamedTensors results =
        RunEveryWay(graph, {{"x", Filled({1, 4, 5, channels})}, {"filter", infinite}});
    // The first element of the filter meets the padding at the top and on the left.
    const auto y = results.at("y").values<float>();
    EXPECT_TRUE(std::isnan(y[0]));
    EXPECT_EQ(y[static_cast<size_t>(6 * channels)], kInf);
  }
}

TEST_F(NonFinite, GradientOfFiltersOverPadding) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {1, 4, 5, 2});
  Tensor dy = graph.Input("dy", DataType::kF32, {1, 4, 5, 3});
  graph.AddSignature("run",
                     {{"y", Conv2DFilterGrad(x, dy, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 1)}});
  HostTensor infinite = Filled({1, 4, 5, 3});
  infinite.mutable_values<float>()[0] = kInf;
  const NamedTensors results = RunEveryWay(graph, {{"x", Filled({1, 4, 5, 2})}, {"dy", infinite}});
  EXPECT_TRUE(std::isnan(results.at("y").values<float>()[0]));
}

// A reshape is wanted both as a result and in the kernel of the other.
TEST_F(Aliases, ReshapeOfABroadcastIsAResultAndReadByAnotherKernel) {
  Graph graph("aliases");
  Tensor x = graph.Input("x", DataType::kF32, {12, 3, 1, 16});
  Tensor b = graph.Input("b", DataType::kF32, {1, 1, 1, 3});
  Tensor y = Reshape(Broadcast(b, {16, 6, 2, 3}), {12, 3, 1, 16});
  graph.AddSignature("run", {{"y", y}, {"z", x - y}});
  HostTensor values = *HostTensor::Create(DataType::kF32, {12, 3, 1, 16});
  float next = 0;
  for (float& v : values.mutable_values<float>()) v = next++;
  RunEveryWay(graph, {{"x", values}, {"b", HostTensor::Of<float>({1, 1, 1, 3}, {1, 20, 300})}});
}

// In place, the additions would change the indices on the way.
TEST_F(Aliases, ScatterAddIntoItsOwnIndices) {
  for (const bool updates_too : {false, true}) {
    Graph graph("aliases");
    Tensor x = -graph.Input("a", DataType::kI32, {8});
    Tensor u = updates_too ? x : graph.Input("u", DataType::kI32, {8});
    Tensor y = ScatterAdd(x, x, u);
    graph.AddSignature("run", {{"z", y * y}});
    TensorMap feeds = {{"a", HostTensor::Of<int32_t>({8}, {-1, -2, -3, -4, -5, -6, -7, 0})}};
    if (!updates_too) feeds["u"] = HostTensor::Of<int32_t>({8}, {1, 2, 3, 4, 5, 6, 7, 8});
    RunEveryWay(graph, feeds);
  }
}

// An effect in a body that runs happens, whether or not its result is used; in one that does not
// run, and in the graph itself where nothing needs it, it does not.
TEST_F(Effects, UnusedOnesInBodies) {
  using Values = std::vector<Tensor>;
  const std::function<Tensor(Graph&, Tensor, Tensor)> bodies[] = {
      [](Graph&, Tensor x, Tensor limit) {
        return Cond(
            Greater(x, 0.0),
            [&] {
              Assert(Less(x, limit), x, "boom");
              return Values{-x};
            },
            [&] { return Values{x}; })[0];
      },
      [](Graph& graph, Tensor x, Tensor limit) {
        Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
        return While(
            {zero, x}, [](const Values& v) { return Less(v[0], 3.0); },
            [&](const Values& v) {
              Cond(
                  Greater(v[1], 0.0),
                  [&] {
                    Assert(Less(v[1], limit), v[1], "boom");
                    return Values{v[1]};
                  },
                  [&] { return Values{v[1]}; });
              return Values{v[0] + 1.0, v[1] * 2.0};
            },
            3)[1];
      },
      [](Graph&, Tensor x, Tensor limit) {
        return CustomGradient(
            {x, limit},
            [](const Values& v) {
              CheckNumerics(v[0] / Select(Less(v[0], v[1]), v[0] * v[0] + 1.0, ZerosLike(v[0])),
                            "boom");
              return Values{v[0] + 1.0};
            },
            [](const Values& v, const Values&, const Values& dy) {
              return Values{dy[0], ZerosLike(v[1])};
            })[0];
      }};
  for (size_t i = 0; i < std::size(bodies); ++i) {
    SCOPED_TRACE(i);
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {});
    Tensor limit = graph.Input("limit", DataType::kF32, {});
    graph.AddSignature("run", {{"y", bodies[i](graph, x, limit)}, {"limit", limit * 1.0}});
    auto feeds = [](float a, float b) {
      return TensorMap{{"x", HostTensor::Scalar<float>(a)},
                       {"limit", HostTensor::Scalar<float>(b)}};
    };
    EXPECT_FALSE(RunEveryWay(graph, feeds(1, 9)).empty());
    EXPECT_TRUE(RunEveryWay(graph, feeds(1, 0.5f)).empty());
    if (i == 1) EXPECT_TRUE(RunEveryWay(graph, feeds(1, 3)).empty());  // in the third iteration
    if (i < 2) EXPECT_FALSE(RunEveryWay(graph, feeds(-1, -9)).empty());
  }
}

TEST_F(Effects, UnusedOnesInTheGraph) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {});
  Assert(Less(x, 0.0), x, "boom");
  graph.AddSignature("run", {{"y", -x}});
  EXPECT_FALSE(RunEveryWay(graph, {{"x", HostTensor::Scalar<float>(1)}}).empty());
}

}  // namespace
}  // namespace weft
