#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "compiler/passes/build_ops.h"
#include "compiler/passes/function_for_test.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/weight_table.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/graph.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

absl::StatusOr<bool> Fold(mlir::func::FuncOp function) {
  WeightTable weights;
  return FoldConstants(function, weights);
}

TEST(FoldTest, ComputesWhatIsKnown) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {2, 2});
  Tensor c = graph.Constant(HostTensor::Of<float>({2, 2}, {1, 2, 3, 4}));
  graph.AddSignature("f", {{"y", Add(x, Exp(Transpose(c, {1, 0})))}});
  Function f(graph);
  f.Run(Fold);
  EXPECT_EQ(f.Count("weft.exp") + f.Count("weft.transpose"), 0);
}

TEST(FoldTest, BroadcastsOfBroadcasts) {
  Graph graph;
  Tensor x = Broadcast(graph.Constant(HostTensor::Of<float>({3, 1}, {1, 2, 3})), {3, 2});
  Tensor y = Broadcast(Add(x, Broadcast(x, {3, 2})), {4, 3, 2});
  graph.AddSignature("f", {{"y", Exp(Broadcast(y, {2, 4, 3, 2}))}});
  Function f(graph);
  ASSERT_NO_FATAL_FAILURE(f.Run(Fold));
  EXPECT_EQ(f.Count("weft.exp") + f.Count("weft.add"), 0);
}

// As many as would overflow the stack, or take minutes, one by one for each sum.
TEST(FoldTest, LongChainsOfBroadcasts) {
  Graph graph;
  Tensor x = graph.Constant(HostTensor::Of<float>({1}, {2})), sum = x;
  Tensor unknown = graph.Input("unknown", DataType::kF32, {1}), unknown_sum = unknown;
  for (int i = 0; i < 50000; ++i) {
    x = Broadcast(x, {1});
    unknown = Broadcast(unknown, {1});
    if (i >= 49000) sum = Add(x, Add(x, x));
    if (i >= 49000) unknown_sum = Add(unknown, unknown_sum);
  }
  graph.AddSignature("f", {{"sum", sum}, {"unknown_sum", unknown_sum}});
  Function f(graph);
  WeightTable weights;
  ASSERT_TRUE(FoldConstants(f.op(), weights).ok());
  EXPECT_EQ(f.Count("weft.add"), 1000);
}

// A window may be as large as its image, which is small; windows of it are not.
TEST(FoldTest, LargeWindowsAreNotComputed) {
  for (const auto& [size, padding, left] : {std::tuple(180, 90, 1), {6, 3, 0}}) {
    Graph graph;
    Tensor x = graph.Constant(*HostTensor::Create(DataType::kF32, {1, size, size, 1}));
    Tensor y = AvgPool(x, {size, size}, {1, 1}, {padding, padding, padding, padding});
    graph.AddSignature("f", {{"y", Neg(y)}});
    Function f(graph);
    WeightTable weights;
    ASSERT_TRUE(FoldConstants(f.op(), weights).ok());
    EXPECT_EQ(f.Count("weft.avg_pool"), left) << size;
    EXPECT_EQ(f.Count("weft.neg"), left) << size;
  }
}

// A constant of one number is made as large as it says by nobody: this one would be 2^48 bytes.
TEST(FoldTest, LargeConstantsOfOneNumberStaySmall) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {2});
  graph.AddSignature("f", {{"y", Neg(x)}});
  Function f(graph);
  mlir::OpBuilder builder = mlir::OpBuilder::atBlockBegin(&f.op().getBody().front());
  OpMaker make(builder, f.op().getBody().front().front().getLoc());
  const float one = 1;
  mlir::Value huge =
      make.Make("constant", {},
                builder.getNamedAttr("value", ir::SplatAttrOf(builder.getContext(), DataType::kF32,
                                                              {int64_t{1} << 46}, &one)));
  make.Make("slice", huge,
            {make.Dims("starts", {0}), make.Dims("limits", {2}), make.Ints("steps", {1})});
  make.Make("exp", huge);
  WeightTable weights;
  const absl::StatusOr<bool> changed = FoldConstants(f.op(), weights);
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_FALSE(*changed);
  EXPECT_EQ(f.Count("weft.slice"), 1);
}

// Each of these would be as large as the weight.
TEST(FoldTest, WhatIsMadeOfOneWeightIsBounded) {
  constexpr int kOps = 24;
  constexpr int64_t kBytes = int64_t{4} << 20;
  Graph graph;
  HostTensor value = *HostTensor::Create(DataType::kF32, {1024, 1024});
  value.mutable_values<float>()[1] = 1;
  Variable w = graph.AddVariable("w", value);
  Tensor x = w.Read();
  for (int i = 0; i < kOps; ++i) x = Reverse(x, {i % 2});
  graph.AddSignature("f", {{"y", x}});
  Function f(graph);
  WeightTable weights;
  ASSERT_TRUE(FreezeVariables(f.op(), {{"w", value}}, weights).ok());
  ASSERT_TRUE(FoldConstants(f.op(), weights).ok());
  // Four times the weight, and 64 MiB.
  EXPECT_EQ(f.Count("weft.reverse"), kOps - 4 - (int64_t{64} << 20) / kBytes);
}

// Other functions find what is made of a weight by all that tells it apart, and by nothing else.
TEST(FoldTest, WhatIsMadeOfAWeightIsMadeOnce) {
  Graph graph;
  HostTensor value = *HostTensor::Create(DataType::kF32, {64, 64});
  float next = 0;
  for (float& element : value.mutable_values<float>()) element = next++;
  Variable w = graph.AddVariable("w", value);
  const Tensor x = w.Read();
  const std::vector<Tensor> made = {Transpose(x, {1, 0}),
                                    Reverse(x, {0}),
                                    Reverse(x, {1}),
                                    Cast(x, DataType::kF16),
                                    Cast(x, DataType::kBF16),
                                    Slice(x, {0, 0}, {32, 64}, {1, 1}),
                                    Slice(x, {32, 0}, {64, 64}, {1, 1})};
  std::vector<std::pair<std::string, Tensor>> outputs;
  for (size_t i = 0; i < made.size(); ++i) outputs.emplace_back(absl::StrCat("y", i), made[i]);
  graph.AddSignature("f", outputs);
  WeightTable weights;
  std::vector<int64_t> first;
  for (int round = 0; round < 2; ++round) {
    Function f(graph);
    const std::vector<HostTensor> expected = f.Evaluate({value});
    ASSERT_TRUE(FreezeVariables(f.op(), {{"w", value}}, weights).ok());
    // Where an op comes from makes no other weight of it.
    f.op().walk([&](ir::TransposeOp op) {
      op->setAttr("plan.from", mlir::Builder(op).getI64IntegerAttr(round));
    });
    ASSERT_TRUE(FoldConstants(f.op(), weights).ok());
    std::vector<int64_t> indices;
    for (mlir::Value result : f.op().getBody().front().getTerminator()->getOperands()) {
      auto weight = result.getDefiningOp<plan::WeightOp>();
      ASSERT_TRUE(weight) << indices.size();
      const size_t i = indices.size();
      indices.push_back(static_cast<int64_t>(weight.getIndex()));
      const HostTensor& tensor = weights.at(indices[i]);
      EXPECT_EQ(tensor.TypeString(), expected[i].TypeString()) << i;
      EXPECT_EQ(memcmp(tensor.data(), expected[i].data(), tensor.size_bytes()), 0) << i;
    }
    if (round == 0) first = indices;
    EXPECT_EQ(indices, first);
    EXPECT_EQ(std::set<int64_t>(indices.begin(), indices.end()).size(), made.size());
  }
}

}  // namespace
}  // namespace weft
