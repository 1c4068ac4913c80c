#include "tools/weft/graph_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/ops/op_info.h"
#include "graph/optimizers/optimizers.h"

namespace weft::cli {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

const DimExpr kBatch = DimExpr::Symbol("batch");

TEST(FlopsOf, CountsMultiplyAdds) {
  EXPECT_EQ(FlopsOf("matmul", {{kBatch, 64}, {64, 10}}, {{kBatch, 10}}, {}).Text(), "1280*batch");
  EXPECT_EQ(FlopsOf("matmul", {{64, 32}, {64, 10}}, {{32, 10}}, {{"transpose_a", "true"}}),
            DimExpr(2 * 64 * 32 * 10));
  EXPECT_EQ(FlopsOf("conv2d", {{1, 8, 8, 3}, {3, 3, 3, 16}}, {{1, 8, 8, 16}}, {}),
            DimExpr(2 * 64 * 16 * 27));
  EXPECT_EQ(FlopsOf("conv2d_filter_grad", {{1, 8, 8, 3}, {1, 8, 8, 16}}, {{3, 3, 3, 16}}, {}),
            DimExpr(2 * 64 * 16 * 27));
  EXPECT_EQ(FlopsOf("conv2d_input_grad", {{1, 8, 8, 16}, {3, 3, 3, 16}}, {{1, 8, 8, 3}}, {}),
            DimExpr(2 * 64 * 16 * 27));
}

TEST(FlopsOf, MovingDataIsNoWork) {
  EXPECT_EQ(FlopsOf("reshape", {{4, 4}}, {{16}}, {}), DimExpr(0));
  EXPECT_EQ(FlopsOf("exp", {{4, 4}}, {{4, 4}}, {}), DimExpr(16));
  EXPECT_EQ(FlopsOf("reduce_sum", {{4, 4}}, {{4}}, {}), DimExpr(16));
  EXPECT_EQ(
      FlopsOf("max_pool", {{1, 4, 4, 1}}, {{1, 2, 2, 1}, {1, 2, 2, 1}}, {{"window", "[2, 2]"}}),
      DimExpr(16));
}

TEST(FlopsOf, KnowsOpsThatThereAre) {
  for (const std::string& op : OpsThatMoveData()) {
    EXPECT_NE(FindOp(op), nullptr) << op;
    EXPECT_EQ(FlopsOf(op, {{4}}, {{4}}, {}), DimExpr(0)) << op;
  }
  for (const char* op : {"while", "cond", "stack_push", "print", "dim_size", "iota"}) {
    ASSERT_NE(FindOp(op), nullptr) << op;
    EXPECT_EQ(FlopsOf(op, {{4}}, {{4}}, {}), DimExpr(0)) << op;
  }
}

TEST(ViewOf, Memory) {
  Graph graph("memory");
  Layers layers(graph);
  const Tensor x = graph.Input("x", DataType::kF32, {"batch", 4});
  const Tensor table = graph.Constant(HostTensor::Of<float>({4}, {1, 2, 3, 4}));
  const Tensor x1 = Exp(x) + table;
  const Tensor x2 = MatMul(x1, layers.Parameter("w", DataType::kF32, {4, 8}, Initializer::Zeros()));
  graph.AddSignature("predict", {{"y", Exp(Exp(x2))}});
  graph.AddSignature("short", {{"y", Exp(x)}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const auto view = ViewOf(graph, {{"batch", 10}});
  ASSERT_TRUE(view.ok()) << view.status();
  const auto signature = [&](const std::string& name) {
    for (const GraphView::Signature& s : view->signatures) {
      if (s.name == name) return s;
    }
    ADD_FAILURE() << name;
    return GraphView::Signature();
  };
  ASSERT_EQ(view->variables.size(), 1u);
  EXPECT_EQ(view->variables[0].bytes, 4 * 8 * 4);
  const GraphView::Signature predict = signature("predict");
  EXPECT_EQ(predict.variable_bytes, 4 * 8 * 4);
  EXPECT_EQ(predict.constant_bytes, 4 * 4);
  // The two results of 8 columns at the first Exp of the end.
  EXPECT_EQ(predict.activation_bytes, 10 * 2 * 8 * 4);
  EXPECT_EQ(signature("short").variable_bytes, 0);
  EXPECT_EQ(signature("short").activation_bytes, 0);
}

TEST(ViewOf, ShowsShapesSourcesAndSignatures) {
  Graph graph("net");
  Layers layers(graph);
  const Tensor x = graph.Input("x", DataType::kF32, {"batch", 4});
  const Tensor y = graph.Input("y", DataType::kI32, {"batch"});
  const Tensor logits = layers.Dense("dense", x, 3);
  const Tensor loss = Mean(SoftmaxCrossEntropy(logits, y));
  graph.AddSignature("train_step", {{"loss", loss}}, Adam(graph).Minimize(loss));
  graph.AddSignature("predict", {{"logits", logits}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const auto view = ViewOf(graph, {{"batch", 8}});
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->name, "net");
  EXPECT_EQ(view->sizes, "batch=8");
  int matmuls = 0;
  for (const GraphView::Node& node : view->nodes) {
    if (node.op != "matmul" || node.results[0] != "f32[batch, 3]") continue;
    ++matmuls;
    EXPECT_EQ(node.flops, 2.0 * 8 * 4 * 3);
    EXPECT_EQ(node.flops_text, "24*batch");
    EXPECT_EQ(node.bytes, 4.0 * (8 * 4 + 4 * 3 + 8 * 3));
    EXPECT_EQ(node.family, "linear_algebra");
    EXPECT_THAT(node.source, HasSubstr("graph_view_test.cc:"));
  }
  EXPECT_EQ(matmuls, 1);
  for (const GraphView::Signature& signature : view->signatures) {
    std::vector<std::string> names;
    for (const size_t node : signature.nodes) names.push_back(view->nodes.at(node).name);
    if (signature.name != "predict") continue;
    ASSERT_EQ(signature.inputs.size(), 1u);
    EXPECT_EQ(signature.inputs[0].type, "f32[batch, 4]");
    EXPECT_EQ(signature.outputs[0].type, "f32[batch, 3]");
    EXPECT_THAT(names, Contains("x"));
    EXPECT_THAT(names, Not(Contains("y")));
    EXPECT_TRUE(std::is_sorted(signature.nodes.begin(), signature.nodes.end()));
  }
  EXPECT_EQ(view->variables.front().name, "dense/kernel");
  EXPECT_EQ(view->variables.front().type, "f32[4, 3]");
}

// As many branches as were asked for, one after the other, in two signatures.
Graph Branches(int count) {
  Graph graph("branches");
  Tensor x = graph.Input("x", DataType::kF32, {});
  const Tensor positive = Greater(x, 0.0);
  for (int i = 0; i < count; ++i) {
    x = Cond(
        positive, [&] { return std::vector<Tensor>{Exp(x), x}; },
        [&] { return std::vector<Tensor>{x, x}; })[0];
  }
  graph.AddSignature("f", {{"x", x}});
  graph.AddSignature("g", {{"y", Exp(x)}});
  return graph;
}

TEST(ViewOf, ManyBranches) {
  constexpr int kCount = 8000;
  const auto view = ViewOf(Branches(kCount), {});
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->signatures.at(1).nodes.size(), static_cast<size_t>(kCount) + 4);
  EXPECT_EQ(view->nodes.back().op, "exp");
}

}  // namespace
}  // namespace weft::cli
