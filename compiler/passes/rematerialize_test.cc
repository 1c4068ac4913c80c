#include <vector>

#include "compiler/passes/function_for_test.h"
#include "compiler/passes/memory_profile.h"
#include "compiler/passes/passes.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

absl::StatusOr<bool> RecomputeMarked(mlir::func::FuncOp function) {
  return Rematerialize(function, {});
}

TEST(RematerializeTest, ReadersOfMarkedValuesGetCopies) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4, 4}), inner, y;
  Variable w = graph.AddVariable("w", HostTensor::Of<float>({4, 4}, std::vector<float>(16, 0.5f)));
  {
    auto scope = graph.Recompute("layer");
    inner = Exp(MatMul(x, w));
    y = inner * inner;
  }
  Tensor z = Sin(y);
  Tensor dx = Gradients(z, {x})[0];
  graph.AddSignature("f", {{"z", z}, {"dx", dx}});
  Function f(graph);
  const int matmuls = f.Count("weft.matmul");
  f.Run(RecomputeMarked);
  EXPECT_EQ(f.Count("weft.matmul"), matmuls + 1);
  EXPECT_EQ(f.Count("weft.exp"), 2);
  // What came into the scope is taken from memory.
  EXPECT_EQ(f.Count("plan.barrier"), 2);
  f.op().walk([](mlir::Operation* op) { EXPECT_FALSE(op->hasAttr("weft.recompute")); });
  // Nothing takes the copies for the originals.
  ASSERT_TRUE(EliminateCommonSubexpressions(f.op()).ok());
  EXPECT_EQ(f.Count("weft.exp"), 2);
  EXPECT_EQ(f.Count("weft.matmul"), matmuls + 1);
  // Copies lie behind all of the forward pass: they come after the sine.
  bool seen = false;
  f.op().walk([&](mlir::Operation* op) {
    seen |= llvm::isa<ir::SinOp>(op);
    if (llvm::isa<plan::BarrierOp>(op)) EXPECT_TRUE(seen);
  });
}

TEST(RematerializeTest, WhatIsKeptAnywayIsNotComputedAgain) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4}), y, again;
  {
    auto scope = graph.Recompute("layer");
    again = Exp(x);
    y = Sin(again);
  }
  Tensor dx = Gradients(y, {x})[0];
  // The caller wants it.
  graph.AddSignature("f", {{"again", again}, {"dx", dx}});
  Function f(graph);
  absl::StatusOr<bool> changed = RecomputeMarked(f.op());
  ASSERT_TRUE(changed.ok());
  EXPECT_FALSE(*changed);
  EXPECT_EQ(f.Count("weft.exp"), 1);
}

TEST(RematerializeTest, EffectsHappenOnce) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4}), y;
  {
    auto scope = graph.Recompute("layer");
    Tensor checked = CheckNumerics(Exp(x));
    Tensor printed = Print(Sin(checked), "sine");
    y = Exp(printed) * printed;
  }
  Tensor dx = Gradients(Tanh(y), {x})[0];
  graph.AddSignature("f", {{"dx", dx}});
  Function f(graph);
  f.Run(RecomputeMarked);
  EXPECT_EQ(f.Count("weft.print"), 1);
  EXPECT_EQ(f.Count("weft.check_numerics"), 1);
}

// Copies draw the same numbers.
TEST(RematerializeTest, RandomDrawsAreTheSame) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {64}), y;
  Tensor counter = graph.Input("counter", DataType::kI64, {});
  {
    auto scope = graph.Recompute("layer");
    Tensor keep = Greater(RandomUniform(counter, 7, x.shape(), DataType::kF32), 0.5);
    y = Select(keep, Exp(x), 0.0);
  }
  Tensor dx = Gradients(y * y, {x})[0];
  graph.AddSignature("f", {{"dx", dx}});
  Function f(graph);
  f.Run(RecomputeMarked, 0);
  EXPECT_EQ(f.Count("weft.random_uniform"), 2);
}

TEST(RematerializeTest, DecomposedOpsKeepTheirMark) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {3, 4, 5}), y;
  {
    auto scope = graph.Recompute("layer");
    y = ReduceMax(Exp(x), {0, 2});
  }
  graph.AddSignature("f", {{"y", y}});
  Function f(graph);
  f.Run(Decompose);
  f.op().walk([](mlir::Operation* op) {
    if (op->getDialect()->getNamespace() == "weft") {
      EXPECT_TRUE(op->hasAttr("weft.recompute")) << op->getName().getStringRef().str();
    }
  });
}

// What is made early and read late goes from the peak, whatever nobody marked.
TEST(RematerializeTest, FitsABudget) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {64, 64}), h = x;
  std::vector<Tensor> early;
  for (int i = 0; i < 8; ++i) {
    h = MatMul(Sin(h), x);
    early.push_back(Transpose(Exp(h), {1, 0}));
  }
  for (int i = 7; i >= 0; --i) h = MatMul(h, early[static_cast<size_t>(i)]) * 0.1;
  graph.AddSignature("f", {{"y", h}});
  auto peak = [&](int64_t budget) {
    Function f(graph);
    MemoryBudget within;
    within.bytes = budget;
    within.finish = [](mlir::func::FuncOp function) {
      absl::StatusOr<bool> fused = FormFusions(function, /*merge=*/true, {});
      if (!fused.ok()) return fused.status();
      return Schedule(function).status();
    };
    absl::StatusOr<bool> changed = Rematerialize(f.op(), within);
    EXPECT_TRUE(changed.ok()) << changed.status();
    EXPECT_EQ(*changed, budget != 0);
    EXPECT_TRUE(within.finish(f.op()).ok());
    return ProfileMemory(f.op(), {}).peak_bytes;
  };
  const int64_t all = peak(0), within = 6 * 64 * 64 * 4;
  EXPECT_GT(all, 8 * 64 * 64 * 4);
  EXPECT_LE(peak(within), within);
}

}  // namespace
}  // namespace weft
