// Transpositions that kernels which reduce would read across.
#include <functional>
#include <string>
#include <vector>

#include "compiler/codegen/target.h"
#include "compiler/passes/function_for_test.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/place.h"
#include "graph/graph.h"
#include "graph/layers/functions.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

using Strings = std::vector<std::string>;

struct Case {
  std::string name;
  std::function<Tensor(Graph&)> build;
  Strings kinds;  // of the kernels, in order
  std::string target = "cuda:sm_80";
};

Tensor Input(Graph& graph, const char* name, const std::vector<Graph::Dim>& shape,
             DataType dtype = DataType::kF32) {
  return graph.Input(name, dtype, shape);
}

// In large tensors, and in what is probably large.
TEST(SplitTransposesTest, WhatReductionsReadAcross) {
  for (const Case& c : std::vector<Case>{
           {"row",
            [](Graph& g) { return Softmax(Transpose(Input(g, "x", {400, 600}), {1, 0})); },
            {"loop", "row"}},
           {"open",
            [](Graph& g) { return Softmax(Transpose(Input(g, "x", {"n", "m"}), {1, 0})); },
            {"loop", "row"}},
           {"open_rows",
            [](Graph& g) { return Softmax(Transpose(Input(g, "x", {"n", 400}), {1, 0})); },
            {"loop", "row"}},
           {"row_of_a_product",
            [](Graph& g) {
              Tensor turned = Transpose(Input(g, "x", {2, 400, 300}), {0, 2, 1});
              return ReduceSum(turned * Input(g, "y", {2, 300, 400}), {2});
            },
            {"loop", "row"}},
           {"after_the_reduction",
            [](Graph& g) {
              Tensor turned = Transpose(Input(g, "x", {400, 600}), {1, 0});
              return Softmax(Input(g, "y", {600, 400})) * turned;
            },
            {"loop", "row"}},
           {"column",
            [](Graph& g) {
              Tensor turned = Transpose(Input(g, "x", {400, 600}), {1, 0});
              return ReduceMax(turned + Input(g, "y", {600, 400}), {0});
            },
            {"loop", "column"}},
           // The last two dimensions stay neighbours.
           {"several_dimensions",
            [](Graph& g) {
              return ReduceMax(Transpose(Input(g, "x", {64, 80, 7, 8}), {0, 2, 3, 1}), {3});
            },
            {"loop", "row"}},
           {"in_a_loop",
            [](Graph& g) {
              return While(
                  {Input(g, "x", {500, 500})},
                  [](const std::vector<Tensor>& v) { return Less(ReduceMax(v[0], {0, 1}), 0.5); },
                  [](const std::vector<Tensor>& v) {
                    return std::vector{Softmax(Transpose(v[0], {1, 0}))};
                  })[0];
            },
            {"row", "loop", "row"}}}) {
    SCOPED_TRACE(c.name);
    for (const bool split : {true, false}) {
      Graph graph;
      graph.AddSignature("f", {{"y", c.build(graph)}});
      Function f(graph);
      if (split) {
        f.Run([](mlir::func::FuncOp function) {
          return SplitTransposes(function, DeviceTargets(*Target::Parse("cuda:sm_80")));
        });
      }
      f.Run([](mlir::func::FuncOp function) { return FormFusions(function, true, {}); });
      EXPECT_EQ(f.Kinds().size(), c.kinds.size() - (split ? 0 : 1));
      if (split) EXPECT_EQ(f.Kinds(), c.kinds);
    }
  }
}

TEST(SplitTransposesTest, LeavesOthersAlone) {
  for (const Case& c : std::vector<Case>{
           {"small",
            [](Graph& g) { return Softmax(Transpose(Input(g, "x", {64, 64}), {1, 0})); },
            {"row"}},
           {"of_a_processor",
            [](Graph& g) { return Softmax(Transpose(Input(g, "x", {"n", "m"}), {1, 0})); },
            {"row"},
            "cpu:x86-64-v3"},
           // By what an open number counts as.
           {"probably_small",
            [](Graph& g) { return Softmax(Transpose(Input(g, "x", {"n", 64}), {1, 0})); },
            {"row"}},
           // Columns stay columns.
           {"along",
            [](Graph& g) {
              return Softmax(Transpose(Input(g, "x", {"n", 64, 32, 128}), {0, 2, 1, 3}));
            },
            {"row"}},
           {"narrow",
            [](Graph& g) { return Softmax(Transpose(Input(g, "x", {"n", 8}), {1, 0})); },
            {"row"}},
           {"short",
            [](Graph& g) { return Softmax(Transpose(Input(g, "x", {8, "n"}), {1, 0})); },
            {"row"}},
           // Loops have tiles.
           {"loop",
            [](Graph& g) {
              return Transpose(Input(g, "x", {"n", "m"}), {1, 0}) + Input(g, "y", {"m", "n"});
            },
            {"loop"}}}) {
    SCOPED_TRACE(c.name);
    Graph graph;
    graph.AddSignature("f", {{"y", c.build(graph)}});
    Function f(graph);
    const auto changed = SplitTransposes(f.op(), DeviceTargets(*Target::Parse(c.target)));
    ASSERT_TRUE(changed.ok()) << changed.status();
    EXPECT_FALSE(*changed);
    ASSERT_TRUE(FormFusions(f.op(), true, {}).ok());
    EXPECT_EQ(f.Kinds(), c.kinds);
  }
}

}  // namespace
}  // namespace weft
