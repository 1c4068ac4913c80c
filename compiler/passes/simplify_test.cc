#include "compiler/passes/simplify.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "compiler/passes/function_for_test.h"
#include "compiler/passes/passes.h"
#include "graph/graph.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

// What the rule named `rule` needs to apply, and whether it did: every rule is in this list.
struct RuleCase {
  std::string rule;
  std::function<Tensor(Graph&, Tensor)> build;  // x is f32 [2, 3]
  std::string gone;                             // op that the rule removes
};

TEST(SimplifyTest, EveryRule) {
  auto full = [](Graph& graph, double value) { return Full(graph, DataType::kF32, {2, 3}, value); };
  auto ints = [](Tensor x) { return Cast(x, DataType::kI32); };
  const std::vector<RuleCase> cases = {
      {"add_zero", [&](Graph& g, Tensor x) { return Add(x, full(g, -0.0)); }, "add"},
      {"sub_zero", [&](Graph& g, Tensor x) { return Sub(x, full(g, 0)); }, "sub"},
      {"zero_minus", [&](Graph& g, Tensor x) { return Sub(full(g, -0.0), x); }, "sub"},
      {"mul_one", [&](Graph& g, Tensor x) { return Mul(full(g, 1), x); }, "mul"},
      {"mul_zero_of_integers",
       [&](Graph& g, Tensor x) { return Mul(ints(x), Full(g, DataType::kI32, {2, 3}, 0)); }, "mul"},
      {"mul_minus_one", [&](Graph& g, Tensor x) { return Mul(x, full(g, -1)); }, "mul"},
      {"div_one", [&](Graph& g, Tensor x) { return Div(x, full(g, 1)); }, "div"},
      {"div_power_of_two", [&](Graph& g, Tensor x) { return Div(x, full(g, 4)); }, "div"},
      {"neg_neg", [](Graph&, Tensor x) { return Neg(Neg(x)); }, "neg"},
      {"pow_small", [&](Graph& g, Tensor x) { return Pow(x, full(g, 2)); }, "pow"},
      {"greater_of_rectified",
       [&](Graph& g, Tensor x) {
         Tensor z = Exp(x) - 2.0, y = Maximum(full(g, 0), z);
         return Select(Greater(z, full(g, 0)), y, Neg(y));
       },
       ""},
      {"stop_gradient", [](Graph&, Tensor x) { return StopGradient(x); }, "stop_gradient"},
      {"cast_to_itself", [](Graph&, Tensor x) { return Cast(x, DataType::kF32); }, "cast"},
      {"cast_there_and_back",
       [](Graph&, Tensor x) { return Cast(Cast(x, DataType::kF64), DataType::kF32); }, "cast"},
      {"select_known",
       [](Graph& g, Tensor x) { return Select(Full(g, DataType::kBool, {2, 3}, 1), x, Exp(x)); },
       "select"},
      {"not_not", [&](Graph&, Tensor x) { return Not(Not(ints(x))); }, "not"},
      {"maximum_of_same", [](Graph&, Tensor x) { return Maximum(x, x); }, "maximum"},
      {"minimum_of_same", [](Graph&, Tensor x) { return Minimum(x, x); }, "minimum"},
      {"and_of_same",
       [&](Graph&, Tensor x) {
         Tensor i = ints(x);
         return And(i, i);
       },
       "and"},
      {"or_of_same",
       [&](Graph&, Tensor x) {
         Tensor i = ints(x);
         return Or(i, i);
       },
       "or"},
      {"of_broadcasts",
       [](Graph&, Tensor x) {
         Tensor row = ReduceMax(x, {0});
         return Exp(Broadcast(row, {5, 3}));
       },
       ""},
      {"splat_constant",
       [](Graph& g, Tensor x) {
         HostTensor ones = *HostTensor::Create(DataType::kF32, {1 << 15, 3});
         for (float& one : ones.mutable_values<float>()) one = 1;
         return MatMul(x, Transpose(g.Constant(ones), {1, 0}));
       },
       "transpose"},
      {"reshape_to_itself", [](Graph&, Tensor x) { return Reshape(x, {2, 3}); }, "reshape"},
      {"reshape_of_reshape", [](Graph&, Tensor x) { return Reshape(Reshape(x, {6}), {2, 3}); },
       "reshape"},
      {"reshape_of_splat", [&](Graph& g, Tensor) { return Reshape(full(g, 2), {6}); }, "reshape"},
      {"broadcast_to_itself", [](Graph&, Tensor x) { return Broadcast(x, {2, 3}); }, "broadcast"},
      {"broadcast_of_broadcast",
       [](Graph&, Tensor x) { return Broadcast(Broadcast(x, {4, 2, 3}), {5, 4, 2, 3}); }, ""},
      {"broadcast_of_all", [](Graph&, Tensor x) { return Broadcast(x, {1, 2, 3}); }, "broadcast"},
      {"broadcast_of_one_element",
       [](Graph&, Tensor x) { return Broadcast(ReduceSum(x, {0, 1}, true), {2, 3}); }, ""},
      {"transpose_of_transpose",
       [](Graph&, Tensor x) { return Transpose(Transpose(x, {1, 0}), {1, 0}); }, "transpose"},
      {"transpose_of_ones",
       [](Graph&, Tensor x) { return Transpose(Reshape(x, {1, 2, 3}), {1, 0, 2}); }, "transpose"},
      {"transpose_of_splat", [&](Graph& g, Tensor) { return Transpose(full(g, 2), {1, 0}); },
       "transpose"},
      {"slice_of_all", [](Graph&, Tensor x) { return Slice(x, {0, 0}, {2, 3}, {1, 1}); }, "slice"},
      {"slice_of_splat",
       [&](Graph& g, Tensor) { return Slice(full(g, 2), {0, 0}, {2, 3}, {1, 2}); }, "slice"},
      {"pad_with_nothing",
       [](Graph& g, Tensor x) {
         return Pad(x, Full(g, DataType::kF32, {}, 0), {0, 0}, {0, 0}, {0, 0});
       },
       "pad"},
      {"concat_of_one", [](Graph&, Tensor x) { return Concat({x}, 0); }, "concat"},
      {"reverse_of_ones", [](Graph&, Tensor x) { return Reverse(Reshape(x, {1, 6}), {0}); },
       "reverse"},
      {"reverse_of_splat", [&](Graph& g, Tensor) { return Reverse(full(g, 2), {1}); }, "reverse"},
      {"sum_of_sum", [](Graph&, Tensor x) { return ReduceSum(ReduceSum(x, {0}), {0}); }, ""},
      {"prod_of_prod", [](Graph&, Tensor x) { return ReduceProd(ReduceProd(x, {1}), {0}); }, ""},
      {"max_of_max", [](Graph&, Tensor x) { return ReduceMax(ReduceMax(x, {0}, true), {1}); }, ""},
      {"min_of_min", [](Graph&, Tensor x) { return ReduceMin(ReduceMin(x, {0}), {0}); }, ""},
      {"and_of_and",
       [](Graph&, Tensor x) { return ReduceAnd(ReduceAnd(Greater(x, 0.0), {0}), {0}); }, ""},
      {"or_of_or", [](Graph&, Tensor x) { return ReduceOr(ReduceOr(Greater(x, 0.0), {0}), {0}); },
       ""},
      {"sum_of_transpose",
       [](Graph&, Tensor x) {
         Tensor wide = Broadcast(Exp(x), {4, 2, 3});
         // [3, 4, 2]; what is left, [3, 2], lies as [2, 3].
         return ReduceSum(Transpose(wide, {2, 0, 1}), {1});
       },
       ""},
      {"prod_of_transpose",
       [](Graph&, Tensor x) { return ReduceProd(Transpose(Exp(x), {1, 0}), {1}, true); },
       "transpose"},
      {"max_of_transpose",
       [](Graph&, Tensor x) {
         Tensor wide = Broadcast(Exp(x), {4, 2, 3});
         return ReduceMax(Transpose(wide, {0, 2, 1}), {-1, -2});
       },
       "transpose"},
      {"min_of_transpose",
       [](Graph&, Tensor x) { return ReduceMin(Transpose(Exp(x), {1, 0}), {0}); }, "transpose"},
      {"and_of_transpose",
       [](Graph&, Tensor x) { return ReduceAnd(Transpose(Greater(x, 0.0), {1, 0}), {0}); },
       "transpose"},
      {"or_of_transpose",
       [](Graph&, Tensor x) { return ReduceOr(Transpose(Greater(x, 0.0), {1, 0}), {0}); },
       "transpose"},
      {"max_of_number", [&](Graph& g, Tensor) { return ReduceMax(full(g, 2), {1}); }, "reduce_max"},
      {"min_of_number", [&](Graph& g, Tensor) { return ReduceMin(full(g, 2), {1}); }, "reduce_min"},
      {"matmul_of_transpose", [](Graph&, Tensor x) { return MatMul(x, Transpose(Exp(x), {1, 0})); },
       "transpose"},
  };
  std::set<std::string> tested, all;
  for (const RuleCase& rule : cases) {
    SCOPED_TRACE(rule.rule);
    tested.insert(rule.rule);
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {2, 3});
    graph.AddSignature("f", {{"y", rule.build(graph, x)}});
    Function f(graph);
    f.Run(Simplify);
    EXPECT_TRUE(EliminateDeadCode(f.op()).ok());
    if (!rule.gone.empty()) {
      EXPECT_EQ(f.Count("weft." + rule.gone), 0);
    }
  }
  for (const auto* rules :
       {&ElementwiseRules(), &ShapeRules(), &ReductionRules(), &LinearAlgebraRules()}) {
    for (const SimplifyRule& rule : *rules) all.insert(rule.name);
  }
  EXPECT_EQ(tested, all);
}

// Where it would leave two ranges to reduce, or computes what others read as well, a transposition
// stays.
TEST(SimplifyTest, TranspositionsThatReductionsNeed) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {2, 3, 4});
  Tensor shared = Transpose(x, {2, 1, 0});
  graph.AddSignature("f", {{"ranges", ReduceMax(Transpose(x, {1, 0, 2}), {1, 2})},
                           {"shared", shared - ReduceMax(shared, {2}, true)}});
  Function f(graph);
  const auto simplified = Simplify(f.op());
  ASSERT_TRUE(simplified.ok()) << simplified.status();
  EXPECT_EQ(f.Count("weft.transpose"), 2);
}

// Rules for floats keep every value bit for bit: zeros of both signs, infinities, NaN.
TEST(SimplifyTest, FloatsKeepTheirBits) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {0.0f, -0.0f, inf, -inf, std::nanf(""), 1e-45f, -3.5f, 2.0f};
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {8});
  auto full = [&](double value) { return Full(graph, DataType::kF32, {8}, value); };
  std::vector<std::pair<std::string, Tensor>> outputs;
  for (const double c : {0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 4.0}) {
    for (Tensor y : {Add(x, full(c)), Add(full(c), x), Sub(x, full(c)), Sub(full(c), x),
                     Mul(x, full(c)), Mul(full(c), x), Div(x, full(c)), Pow(x, full(c)),
                     Maximum(x, full(c)), Minimum(full(c), x)}) {
      outputs.emplace_back("y" + std::to_string(outputs.size()), y);
    }
  }
  outputs.emplace_back("neg_neg", Neg(Neg(x)));
  outputs.emplace_back("rectified", Cast(Greater(Maximum(x, full(0)), full(0)), DataType::kF32));
  outputs.emplace_back("same", Maximum(x, x));
  outputs.emplace_back("there_and_back", Cast(Cast(x, DataType::kF64), DataType::kF32));
  graph.AddSignature("f", outputs);
  Function f(graph);
  const std::vector<HostTensor> arguments = {HostTensor::Of<float>({8}, values)};
  const std::vector<HostTensor> before = f.Evaluate(arguments);
  ASSERT_TRUE(Simplify(f.op()).ok());
  const std::vector<HostTensor> after = f.Evaluate(arguments);
  ASSERT_EQ(before.size(), after.size());
  for (size_t i = 0; i < before.size(); ++i) {
    for (size_t k = 0; k < values.size(); ++k) {
      const float b = before[i].values<float>()[k], a = after[i].values<float>()[k];
      EXPECT_TRUE((std::isnan(a) && std::isnan(b)) ||
                  (a == b && std::signbit(a) == std::signbit(b)))
          << outputs[i].first << " of " << values[k] << ": " << b << " became " << a;
    }
  }
}

}  // namespace
}  // namespace weft
