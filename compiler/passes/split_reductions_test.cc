#include <cstdint>
#include <string>
#include <vector>

#include "compiler/codegen/target.h"
#include "compiler/passes/function_for_test.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/place.h"
#include "graph/graph.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

// Shapes of what reductions make, in order.
std::vector<std::string> ReducedShapes(mlir::func::FuncOp function) {
  std::vector<std::string> shapes;
  function.walk([&](ir::ReduceSumOp op) { shapes.push_back(ToString(ir::ShapeOf(op.getY()))); });
  return shapes;
}

auto SplitFor(const std::string& target) {
  return [target](mlir::func::FuncOp function) {
    return SplitReductions(function, DeviceTargets(*Target::Parse(target)));
  };
}

TEST(SplitReductionsTest, CutsWhereDimensionsMeetOrInside) {
  struct Case {
    Shape shape;
    std::vector<int64_t> axes;
    std::vector<std::string> made;
  };
  for (const Case& c : std::vector<Case>{{{512, 512}, {0, 1}, {"[512]", "[]"}},
                                         {{262144}, {0}, {"[64]", "[]"}},
                                         {{2, 131072}, {1}, {"[2, 32]", "[2]"}},
                                         {{64, 14, 14, 32}, {0, 1, 2}, {"[64, 32]", "[32]"}},
                                         {{16384, 32}, {0}, {"[64, 32]", "[32]"}},
                                         {{5, 7, 9973}, {0, 1, 2}, {"[5, 7]", "[]"}}}) {
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {c.shape.begin(), c.shape.end()});
    graph.AddSignature("f", {{"y", ReduceSum(x * x, c.axes)}});
    Function f(graph);
    f.Run(SplitFor("cpu:x86-64-v3"));
    EXPECT_EQ(ReducedShapes(f.op()), c.made) << ToString(c.shape);
    // The square is still of the first reduction's kernel.
    ASSERT_TRUE(FormFusions(f.op(), true, {}).ok());
    EXPECT_EQ(f.Kinds().size(), 2u) << ToString(c.shape);
  }
}

TEST(SplitReductionsTest, LeavesOthersAlone) {
  Graph graph;
  Tensor few = graph.Input("few", DataType::kF32, {100, 100});
  Tensor rows = graph.Input("rows", DataType::kF32, {64, 8192});
  Tensor prime = graph.Input("prime", DataType::kF32, {1000003});
  Tensor long_row = graph.Input("long", DataType::kF32, {1, 262144});
  graph.AddSignature("f", {{"few", ReduceSum(few, {0, 1})},
                           {"rows", ReduceSum(rows, {1})},
                           {"prime", ReduceSum(prime, {0})},
                           {"softmax", long_row / ReduceSum(long_row, {1}, true)}});
  Function f(graph);
  absl::StatusOr<bool> changed = SplitFor("cpu:x86-64-v3")(f.op());
  ASSERT_TRUE(changed.ok());
  EXPECT_FALSE(*changed);
}

// A GPU has more to keep busy; parts need not divide what they are of, nor need that be known.
TEST(SplitReductionsTest, CutsAnywhereForAGpu) {
  struct Case {
    std::vector<DimExpr> shape;
    std::vector<int64_t> axes;
    std::vector<std::string> made;
  };
  for (const Case& c :
       std::vector<Case>{{{512, 512}, {0, 1}, {"[256]", "[]"}},
                         {{1000003}, {0}, {"[509]", "[]"}},
                         {{2, 131072}, {1}, {"[2, 128]", "[2]"}},
                         {{16384, 32}, {0}, {"[512, 32]", "[32]"}},
                         {{10007, 32}, {0}, {"[304, 32]", "[32]"}},
                         {{5, 7, 9973}, {0, 1, 2}, {"[336]", "[]"}},
                         {{DimExpr::Symbol("n")}, {0}, {"[512]", "[]"}},
                         {{DimExpr::Symbol("n"), DimExpr::Symbol("m")}, {0, 1}, {"[512]", "[]"}},
                         {{DimExpr::Symbol("n"), 14, 14, 40}, {0, 1, 2}, {"[256, 40]", "[40]"}},
                         {{DimExpr::Symbol("n"), DimExpr::Symbol("m")}, {0}, {"[16, m]", "[m]"}},
                         {{3, DimExpr::Symbol("n"), 7}, {1, 2}, {"[3, 170]", "[3]"}}}) {
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {c.shape.begin(), c.shape.end()});
    // Of no element past the end: there, the exponential is not 0.
    graph.AddSignature("f", {{"y", ReduceSum(Exp(x), c.axes)}});
    Function f(graph);
    f.Run(SplitFor("cuda:sm_80"));
    EXPECT_EQ(ReducedShapes(f.op()), c.made) << ToString(c.shape);
    ASSERT_TRUE(FormFusions(f.op(), true, {}).ok());
    EXPECT_EQ(f.Kinds().size(), 2u) << ToString(c.shape);
  }
}

// All reductions, of numbers of which a zero past the end would be the largest or the smallest.
TEST(SplitReductionsTest, PartsPastTheEndChangeNothing) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  Tensor low = x - 10.0, high = x + 10.0;
  Tensor i = graph.Input("i", DataType::kI64, {40009});
  Tensor many = graph.Input("many", DataType::kF32, {3, 50021, 2});
  graph.AddSignature("f", {{"sum", ReduceSum(x, {0})},
                           {"sum_of_some", ReduceSum(high, {0})},
                           {"prod", ReduceProd(x * 0.1 + 1.0, {0})},
                           {"max", ReduceMax(low, {0})},
                           {"min", ReduceMin(high, {0})},
                           {"and", ReduceAnd(Greater(high, 0.0), {0})},
                           {"or", ReduceOr(Greater(low, 0.0), {0})},
                           {"argmax", ArgMax(low, 0)},
                           {"argmin", ArgMin(high, 0)},
                           {"max_of_whole", ReduceMax(i - 9, {0})},
                           {"place_of_whole", ArgMin(i + 9, 0)},
                           {"places", ArgMax(many - 10.0, 1)},
                           {"squares", ReduceSum(many * many, {0, 1})}});
  Function f(graph);
  f.Run(SplitFor("cuda:sm_70"), 1e-4);
  EXPECT_GT(f.Count("plan.cut"), 10);
}

// A row's reductions stay in one kernel with what is computed of them for each of its elements, but
// of a few rows so long that a GPU would wait for one block.
TEST(SplitReductionsTest, FewLongRowsAreReadBySeveralKernels) {
  const DimExpr n = DimExpr::Symbol("n");
  struct Case {
    const char* target;
    std::vector<DimExpr> shape;
    std::vector<std::string> kinds;
  };
  const std::vector<std::string> one = {"row"}, five = {"row", "row", "row", "row", "loop"};
  for (const Case& c : std::vector<Case>{{"cuda:sm_80", {1, 131072}, five},
                                         {"cuda:sm_80", {8, 262144}, five},
                                         {"cuda:sm_80", {1, 65536}, one},
                                         {"cuda:sm_80", {32, 262144}, one},
                                         {"cuda:sm_80", {1, n}, one},
                                         {"cuda:sm_80", {n, 131072}, one},
                                         {"cpu:x86-64-v3", {1, 131072}, one}}) {
    SCOPED_TRACE(c.target + (" " + ToString(Shape(c.shape))));
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {c.shape.begin(), c.shape.end()});
    Tensor e = Exp(x - ReduceMax(x, {1}, true));
    graph.AddSignature("f", {{"y", e / ReduceSum(e, {1}, true)}});
    Function f(graph);
    if (c.kinds == five) {
      ASSERT_NO_FATAL_FAILURE(f.Run(SplitFor(c.target)));
    } else {
      const absl::StatusOr<bool> changed = SplitFor(c.target)(f.op());
      ASSERT_TRUE(changed.ok()) << changed.status();
      EXPECT_FALSE(*changed);
    }
    ASSERT_TRUE(EliminateCommonSubexpressions(f.op()).ok());
    ASSERT_TRUE(FormFusions(f.op(), true, {}).ok());
    EXPECT_EQ(f.Kinds(), c.kinds);
  }
}

// Sizes may be as long as a name may be; a part's would be longer.
TEST(SplitReductionsTest, SizesThatHaveNoPartsStayWhole) {
  for (const size_t length : {4000, 4060, 4070, 4080, 4090, 4096}) {
    SCOPED_TRACE(length);
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {std::string(length, 'n').c_str()});
    graph.AddSignature("f", {{"y", ReduceSum(x, {0})}});
    ASSERT_TRUE(graph.status().ok()) << graph.status();
    Function f(graph);
    const absl::StatusOr<bool> changed = SplitFor("cuda:sm_80")(f.op());
    ASSERT_TRUE(changed.ok()) << changed.status();
    if (length > 4080) EXPECT_FALSE(*changed);
    if (length == 4000) EXPECT_TRUE(*changed);
  }
}

// What reads one tensor is still one kernel, though each reduction is cut.
TEST(SplitReductionsTest, SumsOfOneTensorStayTogether) {
  Graph graph;
  Tensor dy = graph.Input("dy", DataType::kF32, {"n", 64});
  Tensor x = graph.Input("x", DataType::kF32, {"n", 64});
  Tensor mean = graph.Input("mean", DataType::kF32, {"n", 1});
  Tensor scale = graph.Input("scale", DataType::kF32, {64});
  graph.AddSignature(
      "f", {{"dbeta", ReduceSum(dy, {0})}, {"dgamma", ReduceSum(dy * (x - mean) * scale, {0})}});
  Function f(graph);
  f.Run(SplitFor("cuda:sm_80"));
  ASSERT_TRUE(EliminateCommonSubexpressions(f.op()).ok());
  ASSERT_TRUE(FormFusions(f.op(), true, {}).ok());
  EXPECT_EQ(f.Kinds(), std::vector<std::string>({"column", "column", "column"}));
}

TEST(SplitReductionsTest, NarrowSumsStayWide) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kBF16, {512, 512});
  graph.AddSignature("f", {{"y", ReduceSum(x, {0, 1})}});
  Function f(graph);
  absl::StatusOr<bool> changed = SplitFor("cpu:x86-64-v3")(f.op());
  ASSERT_TRUE(changed.ok());
  EXPECT_TRUE(*changed);
  f.op().walk([](ir::ReduceSumOp op) { EXPECT_EQ(ir::DataTypeOf(op.getY()), DataType::kF32); });
}

}  // namespace
}  // namespace weft
