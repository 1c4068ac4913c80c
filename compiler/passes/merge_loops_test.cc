// MergeLoops: loops of a gradient and those it is of become one.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "compiler/passes/function_for_test.h"
#include "compiler/passes/passes.h"
#include "graph/graph.h"
#include "graph/ir/dialect.h"
#include "graph/ir/graph_impl.h"
#include "gtest/gtest.h"
#include "mlir/IR/Verifier.h"

namespace weft {
namespace {

// The results of a loop and its gradient take one loop forward and one back.
TEST(MergeLoopsTest, TheGradientsLoopGivesTheResultsToo) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4}), w = graph.Input("w", DataType::kF32, {4});
  Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  auto loop = [&](double end, int64_t limit) {
    return While(
        {zero, x}, [&](const std::vector<Tensor>& v) { return Less(v[0], end); },
        [&](const std::vector<Tensor>& v) {
          Tensor inner = While(
              {v[1]}, [](const std::vector<Tensor>& u) { return Less(ReduceMax(u[0], {0}), 0.5); },
              [&](const std::vector<Tensor>& u) { return std::vector{u[0] * 0.5 + 0.5}; }, 9)[0];
          return std::vector{v[0] + 1.0, Tanh(inner * w)};
        },
        limit);
  };
  const std::vector<Tensor> y = loop(3, 5);
  Tensor dw = Gradients(y[1], {w})[0];
  graph.AddSignature("f", {{"count", y[0]}, {"y", y[1] * 2.0}, {"dw", dw}});
  // Others end elsewhere or have another limit.
  graph.AddSignature("other", {{"a", y[1]}, {"b", loop(2, 5)[1]}, {"c", loop(3, 6)[1]}});
  {
    Function f(graph);
    // Forward and back, each with the inner loop as it is, with stacks, and back.
    const int before = f.Count("weft.while");
    f.Run(MergeLoops);
    EXPECT_LT(f.Count("weft.while"), before);
    int outer = 0;
    for (mlir::Operation& op : f.op().getBody().front()) outer += llvm::isa<ir::WhileOp>(op);
    EXPECT_EQ(outer, 2);
  }
  Function other(graph, "other");
  EXPECT_FALSE(*MergeLoops(other.op()));
}

// What a loop prints and asserts happens as often with another loop that computes the same, even
// one that computes more.
TEST(MergeLoopsTest, EffectsStay) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4}), w = graph.Input("w", DataType::kF32, {4});
  Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  auto loop = [&](bool prints, bool asserts) {
    return While(
        {zero, x},
        [&](const std::vector<Tensor>& v) { return Less(prints ? Print(v[0], "at") : v[0], 3.0); },
        [&](const std::vector<Tensor>& v) {
          // In use, inside another body, of what nothing else reads, and unused.
          Tensor y = prints ? Print(v[1], "y") : v[1];
          y = While(
              {y}, [](const std::vector<Tensor>& u) { return Less(ReduceMax(u[0], {0}), 0.5); },
              [&](const std::vector<Tensor>& u) {
                return std::vector{(prints ? Print(u[0], "inner") : u[0]) * 0.5 + 0.5};
              },
              9)[0];
          if (prints) Print(w * 2.0, "w");
          if (asserts) Assert(Less(v[0], 2.0), v[0], "few");
          return std::vector{v[0] + 1.0, Tanh(y)};
        },
        5)[1];
  };
  struct Case {
    bool first_prints, first_asserts, second_prints, second_asserts;
    int loops, prints, asserts;
  };
  for (const Case& c : std::vector<Case>{{true, true, false, false, 1, 4, 1},
                                         {false, true, false, false, 1, 0, 1},
                                         {true, true, false, true, 1, 4, 1},
                                         {false, true, false, true, 1, 0, 1},
                                         {false, false, false, true, 2, 0, 1},
                                         {false, false, true, false, 2, 4, 0},
                                         {true, false, true, false, 2, 8, 0}}) {
    const std::string name =
        absl::StrCat("f", c.first_prints, c.first_asserts, c.second_prints, c.second_asserts);
    SCOPED_TRACE(name);
    Tensor first = loop(c.first_prints, c.first_asserts);
    graph.AddSignature(name, {{"a", first}, {"b", loop(c.second_prints, c.second_asserts) * 2.0}});
    Function f(graph, name);
    EXPECT_EQ(*MergeLoops(f.op()), c.loops == 1);
    EXPECT_TRUE(mlir::succeeded(mlir::verify(f.op())));
    EXPECT_EQ(f.Count("weft.while"), 2 * c.loops);
    EXPECT_EQ(f.Count("weft.print"), c.prints);
    EXPECT_EQ(f.Count("weft.assert"), c.asserts);
  }
}

// The loop that a gradient adds does not print, and so gives the results of one that does.
TEST(MergeLoopsTest, GradientsOfLoopsThatPrint) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4}), w = graph.Input("w", DataType::kF32, {4});
  Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  Tensor y = While(
      {zero, x}, [&](const std::vector<Tensor>& v) { return Less(v[0], 3.0); },
      [&](const std::vector<Tensor>& v) {
        Tensor z = Assert(Less(v[0], 3.0), Print(v[1] * w, "z"), "few");
        return std::vector{v[0] + 1.0, Tanh(CheckNumerics(z, "z"))};
      },
      5)[1];
  graph.AddSignature("f", {{"y", y * 2.0}, {"dw", Gradients(y, {w})[0]}});
  Function f(graph);
  f.Run(MergeLoops);
  EXPECT_EQ(f.Count("weft.while"), 2);
  EXPECT_EQ(f.Count("weft.print"), 1);
  EXPECT_EQ(f.Count("weft.assert"), 2);  // forward, and again for the adjoint
  ir::WhileOp forward = *f.op().getBody().front().getOps<ir::WhileOp>().begin();
  int ops = 0;
  for (mlir::Operation& op : forward.getBody().front()) ops += llvm::isa<ir::TanhOp>(op);
  EXPECT_EQ(ops, 1);
}

// Nothing prints because a gradient runs it again, and nothing is silent because the gradient is
// all that is wanted.
TEST(MergeLoopsTest, GradientsAloneOfWhatPrints) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4}), w = graph.Input("w", DataType::kF32, {4});
  Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  Tensor y = While(
      {x, zero}, [](const std::vector<Tensor>& v) { return Less(v[1], 3.0); },
      [&](const std::vector<Tensor>& v) {
        Tensor z = Cond(
            Less(v[1], 2.0), [&] { return std::vector{Print(v[0] * w, "z")}; },
            [&] { return std::vector{v[0]}; })[0];
        return std::vector{Sin(z), v[1] + 1.0};
      },
      5)[0];
  Tensor once = Gradients(y, {w})[0], twice = Gradients(once, {w})[0];
  graph.AddSignature("once", {{"dw", once}});
  graph.AddSignature("twice", {{"dw", twice}});
  Tensor branch = Cond(
      Less(ReduceMax(x, {0}), 0.5), [&] { return std::vector{Sin(Print(x * w, "x"))}; },
      [&] { return std::vector{x}; })[0];
  graph.AddSignature("branch", {{"dw", Gradients(branch, {w})[0]}});
  graph.AddSignature("both", {{"y", branch}, {"dw", Gradients(branch, {w})[0]}});
  for (const char* name : {"once", "twice", "branch", "both"}) {
    SCOPED_TRACE(name);
    Function f(graph, name);
    EXPECT_EQ(f.Count("weft.print"), 1);
    ASSERT_TRUE(MergeLoops(f.op()).ok());
    ASSERT_TRUE(Simplify(f.op()).ok());
    ASSERT_TRUE(EliminateDeadCode(f.op()).ok());
    ASSERT_TRUE(llvm::succeeded(mlir::verify(f.op())));
    EXPECT_EQ(f.Count("weft.print"), 1);
  }
  Function f(graph, "once");
  f.Run(MergeLoops);
  int loops = 0;
  for (mlir::Operation& op : f.op().getBody().front()) loops += llvm::isa<ir::WhileOp>(op);
  EXPECT_EQ(loops, 2);
}

// What is pushed is read before the body computes what may take its place in memory.
TEST(MergeLoopsTest, PushesStayFirst) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4, 4}), w = graph.Input("w", DataType::kF32, {4, 4});
  Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  Tensor y = While(
      {x, zero}, [](const std::vector<Tensor>& v) { return Less(v[1], 3.0); },
      [&](const std::vector<Tensor>& v) {
        return std::vector{MatMul(Tanh(MatMul(v[0], w)), w), v[1] + 1.0};
      },
      5)[0];
  graph.AddSignature("f", {{"y", y}, {"dw", Gradients(y, {w})[0]}});
  Function f(graph);
  f.Run(MergeLoops);
  ir::WhileOp forward = *f.op().getBody().front().getOps<ir::WhileOp>().begin();
  bool computed = false;
  int pushes = 0;
  for (mlir::Operation& op : forward.getBody().front()) {
    computed |= llvm::isa<ir::MatMulOp>(op);
    if (!llvm::isa<ir::StackPushOp>(op)) continue;
    ++pushes;
    EXPECT_FALSE(computed);
  }
  EXPECT_TRUE(computed);
  EXPECT_EQ(pushes, 1);
}

// Each like every other but for one value, or for nothing: comparing all with all would show as a
// timeout.
TEST(MergeLoopsTest, ManyLoops) {
  constexpr int kLoops = 30000;
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {}), sum = x;
  Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  auto loop = [&](Tensor start, bool prints) {
    return While(
        {zero, start}, [](const std::vector<Tensor>& v) { return Less(v[0], 3.0); },
        [&](const std::vector<Tensor>& v) {
          return std::vector{v[0] + 1.0, (prints ? Print(v[1], "v") : v[1]) + x};
        })[1];
  };
  for (int i = 0; i < kLoops; ++i) {
    Tensor start = graph.Constant(HostTensor::Scalar<float>(static_cast<float>(i)));
    sum = sum + loop(start, false) + loop(x, true);
  }
  graph.AddSignature("f", {{"sum", sum}});
  Function f(graph);
  EXPECT_FALSE(*MergeLoops(f.op()));
  EXPECT_EQ(f.Count("weft.while"), 2 * kLoops);
}

}  // namespace
}  // namespace weft
