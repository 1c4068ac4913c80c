#include "graph/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/ir/graph_impl.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace weft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Message(const Graph& graph) { return std::string(graph.status().message()); }

TEST(Builder, TenLines) {
  Graph g("mlp");
  Tensor x = g.Input("x", DataType::kF32, {"batch", 784});
  Variable w = g.AddVariable("w", *HostTensor::Create(DataType::kF32, {784, 10}));
  Variable b = g.AddVariable("b", *HostTensor::Create(DataType::kF32, {10}));
  Tensor y = Logistic(MatMul(x, w) + b);
  g.AddSignature("predict", {{"y", y}});
  ASSERT_TRUE(g.status().ok()) << g.status();
  EXPECT_EQ(ToString(y.shape()), "[batch, 10]");
  EXPECT_EQ(y.dtype(), DataType::kF32);
  EXPECT_EQ(y.name(), "logistic");
  EXPECT_THAT(g.SignatureNames(), ElementsAre("init", "predict"));
}

TEST(Builder, BroadcastsAndTakesNumbers) {
  Graph g;
  Tensor x = g.Input("x", DataType::kI32, {"n", 1, 3});
  Tensor y = g.Input("y", DataType::kI32, {4, 1});
  EXPECT_EQ(ToString((x + y).shape()), "[n, 4, 3]");
  EXPECT_EQ((2.0 - x).dtype(), DataType::kI32);
  EXPECT_EQ(Greater(x, 1).dtype(), DataType::kBool);
  EXPECT_EQ(ToString(Select(Greater(y, 0), x, 5).shape()), "[n, 4, 3]");
  EXPECT_EQ(ToString(Clamp(x, 0, 6).shape()), "[n, 1, 3]");
  EXPECT_TRUE(g.status().ok()) << g.status();
  EXPECT_FALSE((x + 0.5).valid());
  EXPECT_THAT(Message(g), HasSubstr("add: expected a number that fits i32, got 0.5"));
}

TEST(Builder, TheFirstErrorWinsAndSaysWhere) {
  Graph g;
  Tensor x = g.Input("x", DataType::kF32, {"batch", 3});
  Tensor w = g.Input("w", DataType::kF32, {4, 5});
  auto scope = g.Scope("dense");
  Tensor bad = MatMul(x, w);
  int line = __LINE__ - 1;
  Tensor chained = Exp(bad) + x;
  EXPECT_FALSE(bad.valid());
  EXPECT_FALSE(chained.valid());
  Reshape(x, {7});
  EXPECT_THAT(Message(g), HasSubstr("matmul: expected equal contracted dimensions, got 3 and 4"));
  EXPECT_THAT(Message(g), HasSubstr("(C4), at node 'dense/matmul'"));
  EXPECT_THAT(Message(g), HasSubstr("graph_test.cc:" + std::to_string(line)));
}

TEST(Builder, ErrorsOfBroadcasting) {
  Graph g;
  Tensor x = g.Input("x", DataType::kF32, {"batch", 3});
  EXPECT_FALSE((x + g.Input("y", DataType::kF32, {2, 3})).valid());
  EXPECT_THAT(Message(g), HasSubstr("f32[batch, 3] and f32[2, 3]"));
}

TEST(Builder, TensorsOfTwoGraphs) {
  Graph g, h;
  Tensor x = g.Input("x", DataType::kF32, {}), y = h.Input("y", DataType::kF32, {});
  EXPECT_FALSE((x + y).valid());
  EXPECT_THAT(Message(g), HasSubstr("operands of one graph"));
}

TEST(Builder, NamesAndScopes) {
  Graph g;
  Tensor x = g.Input("x", DataType::kF32, {});
  {
    auto scope = g.Scope("layer");
    EXPECT_EQ(Exp(x).name(), "layer/exp");
    EXPECT_EQ(Exp(x).name(), "layer/exp_1");
    EXPECT_EQ(Exp(x).Named("out").name(), "layer/out");
    auto inner = g.Scope("inner");
    EXPECT_EQ(Exp(x).name(), "layer/inner/exp");
  }
  auto again = g.Scope("layer");
  EXPECT_EQ(Exp(x).name(), "layer_1/exp");
  EXPECT_EQ(g.Find("layer/out").name(), "layer/out");
  EXPECT_TRUE(g.status().ok()) << g.status();
  EXPECT_FALSE(g.Find("layer/outt").valid());
  EXPECT_THAT(Message(g), HasSubstr("did you mean 'layer/out'?"));
}

// Kernels take neighbouring dimensions together, so their products are expressions as well, even
// where that of all is short: a^8 - b^8 here.
TEST(Builder, ProductsOfNeighboursMayNotBeTooLong) {
  const DimExpr a = DimExpr::Symbol(std::string(100, 'a'));
  const DimExpr b = DimExpr::Min(a, DimExpr::Symbol("k"));
  const DimExpr c = a * a + b * b, d = a * a * a * a + b * b * b * b;
  ASSERT_TRUE((c * d * (a + b)).IsOverflow());
  ASSERT_FALSE((c * d).IsOverflow() || NumElements({a - b, a + b, c, d}).IsOverflow());
  auto accepts = [](const Shape& shape) {
    Graph g;
    const bool valid = g.Input("x", DataType::kF32, {shape.begin(), shape.end()}).valid();
    if (!valid) {
      EXPECT_THAT(Message(g), HasSubstr("dimensions whose products, of all and of any neighbours"));
    }
    return valid;
  };
  EXPECT_TRUE(accepts({c, a - b, a + b, d}) && accepts({d, a + b, a - b, c}));
  EXPECT_FALSE(accepts({a - b, a + b, c, d}));
  EXPECT_FALSE(accepts({a + b, c, d, a - b}));
  EXPECT_FALSE(accepts({0, a + b, c, 0, d}));
  // That of many is found out in no time.
  Shape many(1000, DimExpr::Symbol("n"));
  EXPECT_TRUE(accepts(many));
  many.resize(100000, 1);
  EXPECT_TRUE(accepts(many));
  many.resize(200000, DimExpr::Symbol("n"));
  EXPECT_FALSE(accepts(many));
}

TEST(Builder, BadNames) {
  for (const char* name : {"", "a b", "a:b", "a%b", "\xc3\xa9"}) {
    Graph g;
    EXPECT_FALSE(g.Input(name, DataType::kF32, {}).valid()) << name;
    EXPECT_FALSE(g.status().ok());
  }
}

TEST(Builder, InputsAreUniqueAndParseDimensions) {
  Graph g;
  EXPECT_EQ(ToString(g.Input("a", DataType::kF32, {"2*n+1"}).shape()), "[2*n+1]");
  EXPECT_FALSE(g.Input("b", DataType::kF32, {"2*"}).valid());
  EXPECT_THAT(Message(g), HasSubstr("input 'b': dimension '2*'"));
  Graph h;
  h.Input("a", DataType::kF32, {});
  EXPECT_FALSE(h.Input("a", DataType::kF32, {}).valid());
  Graph i;
  EXPECT_FALSE(i.Input("a", DataType::kF32, {"n-1"}).valid());
  EXPECT_THAT(Message(i), HasSubstr("known to be >= 0"));
}

TEST(Builder, VariablesReadOnce) {
  Graph g;
  Variable v = g.AddVariable("v", HostTensor::Scalar(1.0f));
  EXPECT_EQ(v.Read().value(), v.Read().value());
  Tensor next = v.Assign(v.Read() + 1.0);
  g.AddSignature("step", {}, {next});
  EXPECT_TRUE(g.status().ok()) << g.status();
  EXPECT_EQ(g.Variables().size(), 1u);
  g.AddVariable("v", HostTensor::Scalar(1.0f));
  EXPECT_THAT(Message(g), HasSubstr("names that are unique"));
}

TEST(Builder, While) {
  Graph g;
  Tensor n = g.Input("n", DataType::kI64, {});
  Tensor x = g.Input("x", DataType::kF32, {"batch"});
  Variable scale = g.AddVariable("scale", HostTensor::Scalar(2.0f));
  Tensor zero = Full(g, DataType::kI64, {}, 0);
  std::vector<Tensor> out = While(
      {zero, x}, [&](const std::vector<Tensor>& c) { return Less(c[0], n); },
      [&](const std::vector<Tensor>& c) -> std::vector<Tensor> {
        Tensor chosen = Cond(
            Greater(c[0], 3), [&]() -> std::vector<Tensor> { return {c[1] * scale}; },
            [&]() -> std::vector<Tensor> { return {c[1] + x}; })[0];
        return {c[0] + 1, chosen};
      },
      100);
  ASSERT_TRUE(g.status().ok()) << g.status();
  EXPECT_EQ(ToString(out[1].shape()), "[batch]");
  g.AddSignature("run", {{"y", out[1]}});
  EXPECT_TRUE(g.status().ok()) << g.status();
}

TEST(Builder, BadBodies) {
  Graph g;
  Tensor x = g.Input("x", DataType::kF32, {});
  Tensor leaked;
  While(
      {x}, [&](const std::vector<Tensor>& c) { return Less(c[0], 3); },
      [&](const std::vector<Tensor>& c) -> std::vector<Tensor> {
        leaked = c[0] + 1;
        return {leaked};
      });
  ASSERT_TRUE(g.status().ok()) << g.status();
  EXPECT_FALSE(Exp(leaked).valid());
  EXPECT_THAT(Message(g), HasSubstr("from inside another body"));
  Graph h;
  Tensor y = h.Input("y", DataType::kF32, {});
  std::vector<Tensor> out = While(
      {y}, [&](const std::vector<Tensor>& c) { return Less(c[0], 3); },
      [&](const std::vector<Tensor>& c) -> std::vector<Tensor> { return {Greater(c[0], 1)}; });
  EXPECT_FALSE(out[0].valid());
  EXPECT_THAT(Message(h), HasSubstr("(C2)"));
}

std::string MarkOf(const Tensor& tensor) {
  auto mark =
      ir::ValueOf(tensor).getDefiningOp()->getAttrOfType<mlir::StringAttr>("weft.recompute");
  return mark ? mark.str() : "";
}

TEST(Builder, RecomputeMarksWhatCanBeComputedAgain) {
  Graph g;
  Tensor x = g.Input("x", DataType::kF32, {4});
  Variable v = g.AddVariable("v", HostTensor::Of<float>({4}, {1, 2, 3, 4}));
  Tensor outside = Exp(x);
  Tensor inside, inner, constant, looped, in_body, marked_body;
  {
    auto scope = g.Scope("model");
    auto layer = g.Recompute("layer");
    inside = Exp(x);
    constant = g.Constant(HostTensor::Scalar<float>(1));
    {
      auto nested = g.Recompute("nested");
      inner = inside + v;
    }
    looped = While(
        {inside}, [](auto& c) { return Less(ReduceSum(c[0], {0}), 1.0); },
        [&](auto& c) {
          in_body = Exp(c[0]);
          auto step = g.Recompute("step");
          marked_body = Exp(in_body);
          return std::vector<Tensor>{marked_body};
        },
        3)[0];
  }
  ASSERT_TRUE(g.status().ok()) << g.status();
  EXPECT_EQ(MarkOf(outside), "");
  EXPECT_EQ(inside.name(), "model/layer/exp");
  EXPECT_EQ(MarkOf(inside), "model/layer");
  EXPECT_EQ(MarkOf(inner), "model/layer");
  EXPECT_EQ(MarkOf(looped), "model/layer");
  // Each iteration keeps nothing of the scope around the loop, but may have one of its own.
  EXPECT_EQ(MarkOf(in_body), "");
  EXPECT_EQ(MarkOf(marked_body), "model/layer/step");
  EXPECT_EQ(MarkOf(constant), "");
  EXPECT_EQ(MarkOf(v.Read()), "");
  EXPECT_EQ(MarkOf(Exp(x)), "");
  // A second scope of the name is another one.
  auto again = g.Recompute("model/layer");
  EXPECT_EQ(MarkOf(Exp(x)), "model/layer_1");
}

TEST(Builder, ReshapeWorksOutOneSize) {
  Graph g;
  Tensor x = g.Input("x", DataType::kF32, {"batch", 4, 6});
  EXPECT_EQ(ToString(Reshape(x, {DimExpr::Symbol("batch"), -1}).shape()), "[batch, 24]");
  EXPECT_EQ(ToString(Reshape(x, {-1, 8}).shape()), "[3*batch, 8]");
  EXPECT_EQ(ToString(ReduceSum(x, {-1, 0}).shape()), "[4]");
  EXPECT_TRUE(g.status().ok()) << g.status();
}

TEST(Builder, Signatures) {
  auto build = [](auto use) {
    Graph g;
    Tensor x = g.Input("x", DataType::kF32, {"batch"});
    Variable v = g.AddVariable("v", HostTensor::Scalar(1.0f));
    use(g, x, v);
    return Message(g);
  };
  EXPECT_EQ(build([](Graph& g, Tensor x, Variable) { g.AddSignature("f", {{"y", x}}); }), "");
  EXPECT_THAT(build([](Graph& g, Tensor x, Variable) {
                g.AddSignature("f", {{"y", x}});
                g.AddSignature("f", {{"y", x}});
              }),
              HasSubstr("(C1)"));
  EXPECT_THAT(
      build([](Graph& g, Tensor x, Variable) { g.AddSignature("f", {{"y", x}, {"y", x}}); }),
      HasSubstr("(C4)"));
  EXPECT_THAT(build([](Graph& g, Tensor, Variable) {
                g.AddSignature("f", {{"y", Iota(g, {DimExpr::Symbol("k")}, 0, DataType::kF32)}});
              }),
              HasSubstr("(C5)"));
  EXPECT_THAT(build([](Graph& g, Tensor, Variable v) {
                g.AddSignature("f", {}, {v.Assign(v.Read() + 1), v.Assign(v.Read() + 2)});
              }),
              HasSubstr("(C2)"));
  EXPECT_THAT(build([](Graph& g, Tensor x, Variable) { g.AddSignature("init", {{"y", x}}); }),
              HasSubstr("init is there by itself"));
  EXPECT_THAT(build([](Graph& g, Tensor x, Variable) { g.AddVariable("w", ReduceSum(x, {0})); }),
              HasSubstr("(C3)"));
}

}  // namespace
}  // namespace weft
