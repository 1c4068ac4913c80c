// Reductions of much to little, which are cut into parts: compiled code and the reference evaluator
// agree, at sizes that parts divide and that they do not, known and open. Numbers are whole and
// small, so that sums are exact and every bit is the same.
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "compiler/api.h"
#include "graph/layers/functions.h"
#include "gtest/gtest.h"
#include "runtime/session.h"
#include "tests/conformance/targets.h"
#include "tests/conformance/whole_numbers.h"

namespace weft {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

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

// What is computed of a row's reductions for each of its elements, of a few rows so long that they
// are read by several kernels: one reduction needs the result of another, as in a softmax.
TEST(LargeReductions, OfFewLongRows) {
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{1, 100003}, {2, 102400}}) {
    SCOPED_TRACE(shape[1]);
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {shape[0], shape[1]});
    Tensor below = x - ReduceMax(x, {1}, true);
    Tensor sum = ReduceSum(below, {1}, true);
    graph.AddSignature("run", {{"y", below + sum}, {"sum", sum}, {"place", ArgMax(below, 1)}});
    ASSERT_TRUE(graph.status().ok()) << graph.status();
    const auto package = CompilePackage(graph, OptionsOfTest());
    ASSERT_TRUE(package.ok()) << package.status();
    ExpectAgreement(graph, {{"x", WholeNumbers(DataType::kF32, shape, 6)}}, *SessionOf(*package));
  }
}

// Operands that are transposed first, on GPUs by a kernel with tiles.
TEST(LargeReductions, OfTransposedOperands) {
  for (const bool open : {false, true}) {
    SCOPED_TRACE(open);
    constexpr int64_t kRows = 500, kColumns = 450;
    Graph graph;
    Tensor x = open ? graph.Input("x", DataType::kF32, {"n", "m"})
                    : graph.Input("x", DataType::kF32, {kColumns, kRows});
    Tensor y = open ? graph.Input("y", DataType::kF32, {"m", "n"})
                    : graph.Input("y", DataType::kF32, {kRows, kColumns});
    Tensor turned = Transpose(x, {1, 0});
    Tensor below = turned - ReduceMax(turned, {1}, true);
    graph.AddSignature("run", {{"rows", below + ReduceSum(below, {1}, true)},
                               {"product", ReduceSum(turned * y, {1})},
                               {"columns", ReduceMin(turned + y, {0})},
                               {"places", ArgMax(turned - y, 1)}});
    ASSERT_TRUE(graph.status().ok()) << graph.status();
    const auto package = CompilePackage(graph, OptionsOfTest());
    ASSERT_TRUE(package.ok()) << package.status();
    const auto session = SessionOf(*package);
    for (const auto& [rows, columns] :
         open ? std::vector<std::pair<int64_t, int64_t>>{{kRows, kColumns}, {1, 40}, {33, 0}}
              : std::vector<std::pair<int64_t, int64_t>>{{kRows, kColumns}}) {
      ExpectAgreement(graph,
                      {{"x", WholeNumbers(DataType::kF32, {columns, rows}, 7)},
                       {"y", WholeNumbers(DataType::kF32, {rows, columns}, 8)}},
                      *session);
    }
  }
}

// Not read across: two launches, of which the first has tiles of 32 x 32 in shared memory.
TEST(LargeReductions, OfTransposedOperandsHaveTiles) {
  if (DeviceOfTest() == nullptr) GTEST_SKIP() << "of a GPU";
  Graph graph;
  Tensor turned = Transpose(graph.Input("x", DataType::kF32, {480, 512}), {1, 0});
  graph.AddSignature("run", {{"y", Softmax(turned)}});
  const Launches launches = LaunchesOf(graph);
  ASSERT_EQ(launches.blocks.size(), 2u);
  EXPECT_EQ(launches.blocks[0], 15 * 16);
  EXPECT_NE(launches.code.find(".shared"), std::string::npos);
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

// Two launches, of which the first has enough blocks, reading 16 bytes at a time.
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
