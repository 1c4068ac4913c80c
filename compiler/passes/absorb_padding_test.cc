#include <cstdint>
#include <functional>
#include <vector>

#include "compiler/codegen/contraction_layout.h"
#include "compiler/codegen/target.h"
#include "compiler/passes/function_for_test.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/place.h"
#include "graph/graph.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

using Ints = std::vector<int64_t>;
using Pads = std::function<bool(mlir::Operation*, const Target&)>;

const DeviceTargets& Targets() {
  static const auto* const targets = new DeviceTargets(*Target::Parse("cuda:sm_90a"));
  return *targets;
}
auto AbsorbWhere(const Pads& pads) {
  return [pads](mlir::func::FuncOp function) { return AbsorbPadding(function, Targets(), pads); };
}
bool Always(mlir::Operation*, const Target& target) { return target.kind == Target::Kind::kCuda; }

// Of each convolution, in order.
std::vector<Ints> Paddings(mlir::func::FuncOp function) {
  std::vector<Ints> paddings;
  function.walk([&](mlir::Operation* op) {
    if (ContractionOp::Is(op)) paddings.push_back(ContractionOp(op).Ints("padding").vec());
  });
  return paddings;
}

TEST(AbsorbPaddingTest, OfConvolutionsAndGradientsOfFilters) {
  const Ints none = {0, 0, 0, 0}, all = {1, 2, 0, 3};
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {"n", 9, 8, 4});
  Tensor filter = graph.Input("w", DataType::kF64, {3, 2, 4, 6});
  Tensor y = Conv2D(x, filter, {2, 1}, all, {1, 2});
  Tensor dw = Conv2DFilterGrad(x, y, {3, 2}, {2, 1}, all, {1, 2});
  graph.AddSignature("f", {{"y", y}, {"dw", dw}});
  Function f(graph);
  f.Run(Decompose);
  EXPECT_EQ(f.Count("weft.pad"), 2);

  // Where the kernel does not take it, the convolution is as before.
  int asked = 0;
  const auto changed = AbsorbWhere([&](mlir::Operation* op, const Target&) {
    EXPECT_EQ(ContractionOp(op).Ints("padding").vec(), all);
    ++asked;
    return false;
  })(f.op());
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_FALSE(*changed);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(Paddings(f.op()), (std::vector<Ints>{none, none}));
  EXPECT_EQ(f.Count("weft.pad"), 2);

  f.Run(AbsorbWhere(Always));
  EXPECT_EQ(Paddings(f.op()), (std::vector<Ints>{all, all}));
  f.Run(EliminateDeadCode);
  EXPECT_EQ(f.Count("weft.pad"), 0);
}

// Parts of a depth hold the padding among their options.
TEST(AbsorbPaddingTest, OfPartsOfADepth) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {2, 32, 32, 4});
  Tensor dy = graph.Input("dy", DataType::kF64, {2, 32, 32, 6});
  graph.AddSignature("f", {{"dw", Conv2DFilterGrad(x, dy, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1})}});
  Function f(graph);
  f.Run(Decompose);
  f.Run([](mlir::func::FuncOp function) { return SplitContractions(function, Targets()); });
  ASSERT_EQ(f.Count("plan.partial_sums"), 1);
  f.Run(AbsorbWhere(Always));
  EXPECT_EQ(Paddings(f.op()), (std::vector<Ints>{{1, 1, 1, 1}}));
}

// Another value than 0, something around channels, and something between elements.
TEST(AbsorbPaddingTest, WhatIsNoPaddingStays) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {"n", 5, 4, 4});
  Tensor filter = graph.Input("w", DataType::kF64, {3, 2, 4, 6});
  Tensor narrow = graph.Input("v", DataType::kF64, {3, 2, 5, 6});
  Tensor ones = Pad(x, 1.0, {0, 1, 1, 0}, {0, 0, 1, 0}, {0, 0, 0, 0});
  Tensor channels = Pad(x, 0.0, {0, 1, 1, 1}, {0, 0, 1, 0}, {0, 0, 0, 0});
  Tensor spread = Pad(x, 0.0, {0, 1, 1, 0}, {0, 0, 1, 0}, {0, 1, 0, 0});
  const auto conv = [](const Tensor& image, const Tensor& of) {
    return Conv2D(image, of, {1, 1}, {0, 0, 0, 0}, {1, 1});
  };
  graph.AddSignature(
      "f", {{"a", conv(ones, filter)}, {"b", conv(channels, narrow)}, {"c", conv(spread, filter)}});
  Function f(graph);
  const auto changed = AbsorbWhere(Always)(f.op());
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_FALSE(*changed);
  EXPECT_EQ(f.Count("weft.pad"), 3);
}

}  // namespace
}  // namespace weft
