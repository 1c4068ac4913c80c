#include "compiler/passes/split_contractions.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compiler/codegen/target.h"
#include "compiler/passes/function_for_test.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/place.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/graph.h"
#include "graph/ir/create.h"
#include "graph/ir/dialect.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

using Strings = std::vector<std::string>;

auto SplitFor(const std::string& target) {
  return [target](mlir::func::FuncOp function) {
    return SplitContractions(function, DeviceTargets(*Target::Parse(target)));
  };
}

// Results of partial sums, in order.
Strings Parts(mlir::func::FuncOp function) {
  Strings parts;
  function.walk([&](plan::PartialSumsOp op) {
    parts.push_back(ir::TensorTypeOf(op.getY().getType()).ToString());
  });
  return parts;
}

std::optional<DepthParts> Choose(const DimExpr& batches, const DimExpr& rows,
                                 const DimExpr& columns, const DimExpr& depth,
                                 std::optional<int64_t> elements = {}) {
  ContractionShape shape;
  shape.batches = batches;
  shape.rows = rows;
  shape.columns = columns;
  shape.segments = 1;
  shape.depth = depth;
  return ChooseDepthParts(shape,
                          elements ? DimExpr(*elements) : batches * (rows + columns) * depth);
}

// The estimate of the header, worked out elsewhere for some of each kind.
TEST(DepthPartsTest, AreWhatTheEstimateSays) {
  struct Case {
    int64_t batches, rows, columns, depth;
    std::optional<DepthParts> parts;
    std::optional<int64_t> elements = {};
  };
  for (const Case& c : std::vector<Case>{
           // Gradients of weights, of a layer and, where windows share pixels, of a filter.
           {1, 784, 512, 65536, DepthParts{9, 7296}},
           {1, 576, 64, 100352, DepthParts{14, 7168}, 12845056},
           // One tile; parts of another length than a divisor, and a last one that is shorter.
           {1, 64, 64, 8192, DepthParts{16, 512}},
           {1, 64, 64, 8191, DepthParts{16, 512}},
           {1, 16, 16, 2000, DepthParts{8, 256}},
           {2, 20, 12, 5001, DepthParts{20, 256}},
           {1, 10, 10, 1 << 20, DepthParts{103, 10240}},
           // Enough tiles, whatever the depth; of batches as well.
           {1, 4096, 4096, 4096, {}},
           {1, 1024, 1024, 1024, {}},
           {128, 16, 16, 65536, {}},
           // As long as reading the operands takes.
           {1, 1, 4096, 4096, {}},
           // Not worth another launch, nor the sums of parts.
           {1, 32, 32, 1000, {}},
           {1, 512, 512, 4096, {}},
           {1, 32, 32, 0, {}},
           {1, 0, 32, 65536, {}}}) {
    SCOPED_TRACE(ToString(Shape{c.batches, c.rows, c.columns, c.depth}));
    const auto got = Choose(c.batches, c.rows, c.columns, c.depth, c.elements);
    EXPECT_EQ(got, c.parts) << (got ? got->parts : 0) << " parts of " << (got ? got->steps : 0);
    // All have multiples of 64 steps but the last, which has one at least, and none is left out.
    if (!got) continue;
    EXPECT_EQ(got->steps % 64, 0);
    EXPECT_LT((got->parts - 1) * got->steps, c.depth);
    EXPECT_GE(got->parts * got->steps, c.depth);
  }
}

TEST(DepthPartsTest, NoneOfOpenSizes) {
  const DimExpr n = DimExpr::Symbol("n");
  EXPECT_TRUE(Choose(1, 16, 16, 65536));
  EXPECT_FALSE(Choose(n, 16, 16, 65536));
  EXPECT_FALSE(Choose(1, n, 16, 65536));
  EXPECT_FALSE(Choose(1, 16, n, 65536));
  EXPECT_FALSE(Choose(1, 16, 16, n));
  ContractionShape depthwise;
  depthwise.batches = depthwise.segments = 1;
  depthwise.rows = 9;
  depthwise.columns = 16;
  depthwise.depth = 65536;
  EXPECT_TRUE(ChooseDepthParts(depthwise, 1 << 20));
  depthwise.depthwise = true;
  EXPECT_FALSE(ChooseDepthParts(depthwise, 1 << 20));
}

// What follows is in the kernel that adds up the parts.
TEST(SplitContractionsTest, AddsUpPartsInAnotherKernel) {
  for (const DataType dtype : {DataType::kF32, DataType::kBF16}) {
    Graph graph;
    Tensor a = graph.Input("a", dtype, {4096, 16}), b = graph.Input("b", dtype, {4096, 16});
    Tensor row = graph.Input("row", dtype, {16});
    graph.AddSignature("f", {{"y", Exp((MatMul(a, b, true) + row) * 0.01)}});
    Function f(graph);
    ASSERT_NO_FATAL_FAILURE(f.Run(SplitFor("cuda:sm_80")));
    EXPECT_EQ(f.Count("weft.matmul"), 0);
    // Sums of narrow numbers are not rounded before they are added up.
    EXPECT_EQ(Parts(f.op()), Strings{"f32[16, 16, 16]"});
    ASSERT_TRUE(FormFusions(f.op(), /*merge=*/true, {}).ok());
    EXPECT_EQ(f.Kinds(), (Strings{"contraction", "column"}));
  }
}

// Each op a kernel of its own, and the sums are still those.
TEST(SplitContractionsTest, WithoutFusion) {
  Graph graph;
  Tensor a = graph.Input("a", DataType::kF32, {4096, 4}),
         b = graph.Input("b", DataType::kF32, {4096, 4});
  graph.AddSignature("f", {{"y", Neg(MatMul(a, b, true))}});
  Function f(graph);
  ASSERT_NO_FATAL_FAILURE(f.Run(SplitFor("cuda:sm_80")));
  ASSERT_TRUE(FormFusions(f.op(), /*merge=*/false, {}).ok());
  EXPECT_EQ(f.Kinds(), (Strings{"contraction", "column", "loop"}));
}

// The weights' gradient of a layer with a large batch, and of a convolution of many pixels.
TEST(SplitContractionsTest, GradientsOfWeights) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4500, 12}),
         w = graph.Input("w", DataType::kF32, {12, 20});
  Tensor image = graph.Input("image", DataType::kF32, {3, 40, 40, 3});
  Tensor filter = graph.Input("filter", DataType::kF32, {3, 3, 3, 5});
  Tensor y = Conv2D(image, filter, {1, 1}, {1, 1, 1, 1}, {1, 1});
  graph.AddSignature("f", {{"dw", Gradients(Tanh(MatMul(x, w)), {w})[0]},
                           {"dfilter", Gradients(Tanh(y), {filter})[0]}});
  Function f(graph);
  f.Run(Decompose);
  ASSERT_NO_FATAL_FAILURE(f.Run(SplitFor("cuda:sm_80")));
  EXPECT_EQ(Parts(f.op()), (Strings{"f32[18, 12, 20]", "f32[19, 3, 3, 3, 5]"}));
}

// By sizes alone.
TEST(SplitContractionsTest, PartsAreTheSameOnEachGpu) {
  for (const char* target : {"cuda:sm_70", "cuda:sm_80", "cuda:sm_90", "cuda:sm_90a"}) {
    for (const DataType dtype : {DataType::kF32, DataType::kF64, DataType::kF16}) {
      Graph graph;
      Tensor a = graph.Input("a", dtype, {8, 5001}), b = graph.Input("b", dtype, {5001, 8});
      graph.AddSignature("f", {{"y", MatMul(a, b)}});
      Function f(graph);
      absl::StatusOr<bool> changed = SplitFor(target)(f.op());
      ASSERT_TRUE(changed.ok()) << changed.status();
      EXPECT_EQ(Parts(f.op()), Strings{dtype == DataType::kF64 ? "f64[20, 8, 8]" : "f32[20, 8, 8]"})
          << target;
    }
  }
}

TEST(SplitContractionsTest, LeavesOthersAlone) {
  Graph graph;
  Tensor a = graph.Input("a", DataType::kF32, {8, 5001}),
         b = graph.Input("b", DataType::kF32, {5001, 8});
  Tensor open = graph.Input("open", DataType::kF32, {"n", 8});
  Tensor few = graph.Input("few", DataType::kF32, {8, 300});
  graph.AddSignature("f", {{"deep", MatMul(a, b)},
                           {"open", MatMul(open, open, true)},
                           {"few", MatMul(few, few, false, true)}});
  for (const auto& [target, parts] : {std::pair{"cpu:x86-64-v3", 0}, {"cuda:sm_80", 1}}) {
    Function f(graph);
    absl::StatusOr<bool> changed = SplitFor(target)(f.op());
    ASSERT_TRUE(changed.ok()) << changed.status();
    EXPECT_EQ(f.Count("plan.partial_sums"), parts) << target;
    EXPECT_EQ(f.Count("weft.matmul"), 3 - parts) << target;
    EXPECT_EQ(*changed, parts > 0);
  }
}

// What is to be computed again is so in parts, by the same marks.
TEST(SplitContractionsTest, KeepsMarks) {
  Graph graph;
  Tensor a = graph.Input("a", DataType::kF32, {8, 5001}),
         b = graph.Input("b", DataType::kF32, {5001, 8});
  Tensor y;
  {
    const ScopeGuard scope = graph.Recompute("again");
    y = MatMul(a, b);
  }
  graph.AddSignature("f", {{"y", y}});
  Function f(graph);
  ASSERT_NO_FATAL_FAILURE(f.Run(SplitFor("cuda:sm_80")));
  f.op().walk([](plan::PartialSumsOp op) { EXPECT_TRUE(op->hasAttr("weft.recompute")); });
  f.op().walk([](ir::ReduceSumOp op) { EXPECT_TRUE(op->hasAttr("weft.recompute")); });
}

}  // namespace
}  // namespace weft
