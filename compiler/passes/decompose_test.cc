#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "compiler/passes/function_for_test.h"
#include "compiler/passes/passes.h"
#include "graph/graph.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

TEST(DecomposeTest, ReductionOverSeveralRanges) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {2, 3, 4, 1, 5});
  graph.AddSignature("f", {{"sum", ReduceSum(x, {0, 2, 3})},
                           {"max", ReduceMax(x, {-1, 1}, true)},
                           {"none", ReduceProd(x, {3})}});
  Function f(graph);
  f.Run(Decompose);
  EXPECT_TRUE(CheckDecomposed(f.op()).ok()) << CheckDecomposed(f.op());
  EXPECT_EQ(f.Count("weft.reduce_prod"), 0);
}

TEST(DecomposeTest, Convolutions) {
  for (const int64_t groups : {1, 2}) {
    for (const int64_t stride : {1, 2}) {
      for (const int64_t pad : {0, 1, 3}) {
        Graph graph;
        Tensor x = graph.Input("x", DataType::kF64, {"n", 9, 8, 4});
        Tensor filter = graph.Input("w", DataType::kF64, {3, 2, 4 / groups, 6});
        Tensor y = Conv2D(x, filter, {stride, stride}, {pad, pad, 1, pad}, {1, 2}, groups);
        Tensor dx = Conv2DInputGrad(y, filter, x.shape(), {stride, stride}, {pad, pad, 1, pad},
                                    {1, 2}, groups);
        Tensor dw =
            Conv2DFilterGrad(x, y, {3, 2}, {stride, stride}, {pad, pad, 1, pad}, {1, 2}, groups);
        graph.AddSignature("f", {{"y", y}, {"dx", dx}, {"dw", dw}});
        Function f(graph);
        f.Run(Decompose, 1e-9);
        EXPECT_TRUE(CheckDecomposed(f.op()).ok()) << CheckDecomposed(f.op());
      }
    }
  }
}

// Windows smaller than strides, as large, larger, and multiples; some phases see nothing, and there
// are few convolutions whatever the strides are.
TEST(DecomposeTest, InputGradientsOfStridedConvolutions) {
  struct Case {
    std::vector<int64_t> image, window, strides, padding, dilations;
    int64_t groups;
    int most;  // convolutions
  };
  for (const Case& c : std::vector<Case>{
           {{11, 13}, {3, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}, 1, 2},
           {{11, 13}, {5, 4}, {3, 2}, {1, 2, 0, 3}, {1, 1}, 2, 2},
           {{12, 8}, {4, 4}, {4, 4}, {0, 0, 0, 0}, {1, 1}, 1, 1},
           {{13, 11}, {2, 3}, {5, 4}, {1, 0, 2, 1}, {1, 1}, 2, 1},
           {{9, 9}, {1, 9}, {7, 2}, {0, 0, 0, 0}, {1, 1}, 4, 2},
           {{14, 15}, {3, 3}, {4, 3}, {1, 1, 1, 1}, {2, 2}, 2, 9},
           {{14, 15}, {3, 3}, {9, 1}, {1, 1, 1, 1}, {3, 2}, 1, 3},
           {{30, 30}, {9, 9}, {10, 10}, {0, 0, 0, 0}, {3, 3}, 1, 1},
       }) {
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF64, {"n", c.image[0], c.image[1], 4});
    Tensor filter = graph.Input("w", DataType::kF64, {c.window[0], c.window[1], 4 / c.groups, 8});
    Tensor y = Conv2D(x, filter, c.strides, c.padding, c.dilations, c.groups);
    Tensor dx = Conv2DInputGrad(y, filter, x.shape(), c.strides, c.padding, c.dilations, c.groups);
    graph.AddSignature("f", {{"dx", dx}, {"y", y}});
    Function f(graph);
    f.Run(Decompose, 1e-9);
    EXPECT_TRUE(CheckDecomposed(f.op()).ok()) << CheckDecomposed(f.op());
    const int convolutions = f.Count("weft.conv2d") - 1;  // y's
    EXPECT_GE(convolutions, 1);
    EXPECT_LE(convolutions, c.most) << c.strides[0] << ", " << c.strides[1];
  }
}

TEST(DecomposeTest, HugeStrides) {
  Graph graph;
  const int64_t size = 9000, stride = 3000;
  Tensor dy = graph.Input("dy", DataType::kF32, {1, 3, 3, 1});
  Tensor filter = graph.Input("w", DataType::kF32, {2, 2, 1, 1});
  Tensor dx =
      Conv2DInputGrad(dy, filter, {1, size, size, 1}, {stride, stride}, {0, 0, 0, 0}, {1, 1}, 1);
  graph.AddSignature("f", {{"dx", dx}});
  Function f(graph);
  ASSERT_TRUE(Decompose(f.op()).ok());
  EXPECT_EQ(f.Count("weft.conv2d"), 1);
  int ops = 0;
  f.op().walk([&](mlir::Operation*) { ++ops; });
  EXPECT_LT(ops, 40);
}

// One window lies where it lies, whatever the stride: nothing becomes larger for it.
TEST(DecomposeTest, StridesOfASingleWindow) {
  for (const int64_t stride : {int64_t{4}, int64_t{500}, int64_t{1} << 30}) {
    Graph graph;
    Tensor dy = graph.Input("dy", DataType::kF32, {1, 1, 1, 2});
    Tensor filter = graph.Input("w", DataType::kF32, {3, 3, 3, 2});
    Tensor dx =
        Conv2DInputGrad(dy, filter, {1, 5, 5, 3}, {stride, stride}, {0, 0, 0, 0}, {1, 1}, 1);
    graph.AddSignature("f", {{"dx", dx}});
    Function f(graph);
    ASSERT_TRUE(Decompose(f.op()).ok());
    f.op().walk([&](mlir::Operation* op) {
      for (mlir::Value result : op->getResults()) {
        EXPECT_LE(NumElements(ir::ShapeOf(result)).Constant().value_or(0), 4 * 75) << stride;
      }
    });
  }
}

TEST(DecomposeTest, FiltersThatMayBeEmptyAreNamed) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", 8, 8, 3});
  Tensor filter = graph.Input("w", DataType::kF32, {"kh", 3, 3, 4});
  Tensor y = Conv2D(x, filter, {1, 1}, {0, 0, 0, 0}, {1, 1}, 1);
  Tensor dx = Conv2DInputGrad(y, filter, x.shape(), {1, 1}, {0, 0, 0, 0}, {1, 1}, 1).Named("dx");
  graph.AddSignature("f", {{"dx", dx}});
  Function f(graph);
  const absl::Status status = Decompose(f.op()).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_NE(status.message().find("'dx'"), std::string::npos) << status;
  EXPECT_NE(status.message().find("decompose_test.cc:"), std::string::npos) << status;
}

// No kernel chooses among more than a few operands.
TEST(DecomposeTest, ConcatenationsOfMany) {
  Graph graph;
  std::vector<Tensor> parts;
  for (int i = 0; i < 300; ++i) {
    parts.push_back(graph.Input("x" + std::to_string(i), DataType::kF32, {1 + i % 3, 2}));
  }
  graph.AddSignature("f", {{"y", Concat(parts, 0)}});
  Function f(graph);
  f.Run(Decompose, 0);
  unsigned most = 0;
  f.op().walk([&](ir::ConcatOp op) { most = std::max(most, op->getNumOperands()); });
  EXPECT_LE(most, 16u);
  EXPECT_LE(f.Count("weft.concat"), 22);
}

TEST(DecomposeTest, CheckNumericsAsserts) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {2, 2});
  graph.AddSignature("f", {{"y", CheckNumerics(x, "weights")}});
  Function f(graph);
  f.Run(Decompose);
  EXPECT_EQ(f.Count("weft.assert"), 1);
}

}  // namespace
}  // namespace weft
