#include "compiler/passes/passes.h"

#include <cstring>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "compiler/codegen/target.h"
#include "compiler/passes/build_ops.h"
#include "compiler/passes/diagnostics.h"
#include "compiler/passes/function_for_test.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/passes/place.h"
#include "compiler/passes/signature.h"
#include "compiler/passes/weight_table.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/evaluate.h"
#include "graph/graph.h"
#include "graph/ir/device.h"
#include "graph/ir/dialect.h"
#include "graph/ir/graph_impl.h"
#include "gtest/gtest.h"
#include "mlir/IR/Verifier.h"

namespace weft {
namespace {

absl::StatusOr<bool> Wrap(mlir::func::FuncOp function) { return FormFusions(function, false, {}); }

absl::StatusOr<bool> Fold(mlir::func::FuncOp function) {
  WeightTable weights;
  return FoldConstants(function, weights);
}

using Strings = std::vector<std::string>;

TEST(SignatureTest, TakesWhatIsNeeded) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"batch", 4});
  Variable w = graph.AddVariable("w", HostTensor::Of<float>({4}, {1, 2, 3, 4}));
  Variable unused = graph.AddVariable("unused", HostTensor::Of<float>({4}, {1, 2, 3, 4}));
  Tensor y = Mul(x, w);
  Exp(y);
  Tensor step = w.Assign(ReduceSum(y, {0}));
  graph.AddSignature("f", {{"y", y}}, {step});
  Function f(graph);
  EXPECT_EQ(f.Count("weft.exp"), 0);
  EXPECT_EQ(f.Count("weft.mul"), 1);
  EXPECT_EQ(f.Count("weft.assign") + f.Count("weft.read_variable") + f.Count("weft.input"), 0);
  EXPECT_EQ(NamesIn(f.op(), kInputsAttr), Strings{"x"});
  EXPECT_EQ(NamesIn(f.op(), kVariablesAttr), Strings{"w"});
  EXPECT_EQ(NamesIn(f.op(), kAssignedAttr), Strings{"w"});
  EXPECT_EQ(f.op().getNumResults(), 2u);
  Function init(graph, "init");
  EXPECT_EQ(NamesIn(init.op(), kAssignedAttr), (Strings{"unused", "w"}));
}

// One result of an op is fed while another is needed: the op runs, but what reads the first result
// reads the feed.
TEST(SignatureTest, FedResultOfAnOpThatRuns) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {1, 2, 2, 1});
  const auto pooled = MaxPool(x, {2, 2}, {2, 2}, {0, 0, 0, 0});
  Tensor negated = Neg(pooled.y);
  SignatureRequest request;
  request.name = "fetch";
  request.inputs = {{"x", ir::ValueOf(x)}, {"y", ir::ValueOf(pooled.y)}};
  request.outputs = {{"index", ir::ValueOf(pooled.index)}, {"negated", ir::ValueOf(negated)}};
  Function f(graph, request);
  const auto results = f.Evaluate({HostTensor::Of<float>({1, 2, 2, 1}, {1, 4, 3, 2}),
                                   HostTensor::Of<float>({1, 1, 1, 1}, {9})});
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].values<int32_t>()[0], 1);
  EXPECT_EQ(results[1].values<float>()[0], -9);
}

TEST(SignatureTest, NamesTheNearest) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4});
  graph.AddSignature("predict", {{"y", Exp(x)}});
  const auto missing = FindSignature(llvm::cast<ir::GraphOp>(graph.impl()->graph), "predct");
  EXPECT_TRUE(absl::IsNotFound(missing.status()));
  EXPECT_NE(missing.status().message().find("did you mean 'predict'"), std::string::npos);
  const auto far = FindSignature(llvm::cast<ir::GraphOp>(graph.impl()->graph), "train");
  EXPECT_EQ(far.status().message().find("did you mean"), std::string::npos) << far.status();
}

// A GPU's ops and the main device's, and what crosses between them.
DeviceTargets TwoDevices() {
  DeviceTargets targets(*Target::Parse("cpu:x86-64-v3"));
  targets.placed.push_back({"cuda:0", *Target::Parse("cuda:sm_80")});
  return targets;
}

TEST(PlaceTest, CopiesWhatCrossesOnce) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4}), there;
  {
    const ScopeGuard gpu = graph.WithDevice("cuda:0");
    there = Exp(x) + Sin(x) * 2.0;
  }
  graph.AddSignature("f", {{"y", Neg(there)}, {"z", Tanh(there)}, {"there", there}});
  Function f(graph);
  ASSERT_TRUE(PlaceOps(f.op(), TwoDevices()).ok());
  // x there, the sum here; the number needs none, nor does an output.
  EXPECT_EQ(f.Count("plan.transfer"), 2);
  ASSERT_TRUE(AssignDevices(f.op()).ok());
  std::map<std::string, std::set<std::string>> devices;
  f.op().walk([&](mlir::Operation* op) {
    devices[op->getName().getStringRef().str()].insert(std::string(ir::DeviceOf(op)));
  });
  for (const char* op : {"weft.exp", "weft.sin", "weft.mul", "weft.add"}) {
    EXPECT_EQ(devices[op], std::set<std::string>{"cuda:0"}) << op;
  }
  for (const char* op : {"weft.neg", "weft.tanh"}) {
    EXPECT_EQ(devices[op], std::set<std::string>{""}) << op;
  }
  EXPECT_EQ(devices["weft.constant"], std::set<std::string>{"cuda:0"});
}

// One constant for both, and a body that is elsewhere than its loop.
TEST(PlaceTest, ConstantsAreWhereTheyAreRead) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {2});
  Tensor c = graph.Constant(HostTensor::Of<float>({2}, {1, 2}));
  const std::vector<Tensor> y = While(
      {x * c}, [](const std::vector<Tensor>& v) { return Greater(ReduceMax(v[0], {0}), 1.0); },
      [&](const std::vector<Tensor>& v) {
        const ScopeGuard gpu = graph.WithDevice("cuda:0");
        return std::vector{v[0] * c * 0.1};
      });
  const ScopeGuard gpu = graph.WithDevice("cuda:0");
  graph.AddSignature("f", {{"y", y[0] + c}});
  Function f(graph);
  ASSERT_TRUE(PlaceOps(f.op(), TwoDevices()).ok());
  ASSERT_TRUE(AssignDevices(f.op()).ok());
  int whole = 0;
  f.op().walk([&](ir::ConstantOp constant) {
    whole += constant->getParentOp() == f.op() &&
             !llvm::cast<mlir::DenseElementsAttr>(constant.getValue()).isSplat();
  });
  // Here, for the product and the loop, and there, for the sum.
  EXPECT_EQ(whole, 2);
  // The loop's result there; within it, its value and the constant there, and the product back.
  EXPECT_EQ(f.Count("plan.transfer"), 4);
  ASSERT_TRUE(FormFusions(f.op(), /*merge=*/true, {}).ok());
  EXPECT_TRUE(CheckFused(f.op()).ok());
  EXPECT_EQ(f.Count("plan.transfer"), 4);
}

TEST(PlaceTest, OneDeviceNeedsNothing) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4});
  const ScopeGuard gpu = graph.WithDevice("cuda:0");
  graph.AddSignature("f", {{"y", Exp(x)}});
  Function f(graph);
  const DeviceTargets one(*Target::Parse("cpu:x86-64-v3"));
  ASSERT_TRUE(PlaceOps(f.op(), one).ok());
  EXPECT_EQ(f.Count("plan.transfer"), 0);
  f.op().walk([](mlir::Operation* op) { EXPECT_FALSE(op->hasAttr(ir::kDeviceAttr)); });
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

TEST(CleanupTest, EqualOpsAreOne) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {2});
  graph.AddSignature("f", {{"y", Add(Exp(x), Exp(x))}});
  Function f(graph);
  f.Run(EliminateCommonSubexpressions);
  EXPECT_EQ(f.Count("weft.exp"), 1);
}

// What nobody uses goes, with what only that used; what can fail stays.
TEST(CleanupTest, DeadCodeGoes) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {2});
  graph.AddSignature("f", {{"y", Neg(x)}});
  Function f(graph);
  EXPECT_FALSE(*EliminateDeadCode(f.op()));
  mlir::OpBuilder builder = mlir::OpBuilder::atBlockBegin(&f.op().getBody().front());
  OpMaker make(builder, f.op().getBody().front().front().getLoc());
  mlir::Value argument = f.op().getArgument(0);
  make.Make("exp", make.Make("sqrt", argument));
  mlir::Value finite = make.Reduce("reduce_and", make.Make("is_finite", argument), {0});
  make.Make("assert", {finite, argument},
            builder.getNamedAttr("message", builder.getStringAttr("finite")));
  f.Run(EliminateDeadCode);
  EXPECT_EQ(f.Count("weft.exp") + f.Count("weft.sqrt"), 0);
  for (const char* op : {"weft.neg", "weft.assert", "weft.is_finite"}) {
    EXPECT_EQ(f.Count(op), 1) << op;
  }
}

// The right operand goes into panels of columns, the last filled with zeros; a constant one at
// compile time.
TEST(PackTest, RightOperandsGoIntoPanels) {
  const auto columns = [](mlir::Operation*, bool is_constant) { return is_constant ? 4 : 0; };
  for (const bool transpose : {false, true}) {
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {"n", 2});
    Tensor w = graph.Input("w", DataType::kF32, {2, 5});
    const HostTensor values = HostTensor::Of<float>({2, 5}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
    const HostTensor turned = HostTensor::Of<float>({5, 2}, {1, 6, 2, 7, 3, 8, 4, 9, 5, 10});
    Tensor packed = MatMul(x, graph.Constant(transpose ? turned : values), false, transpose);
    graph.AddSignature("f", {{"packed", packed}, {"left", MatMul(x, w)}});
    Function f(graph);
    absl::StatusOr<bool> changed = PackContractions(f.op(), columns);
    ASSERT_TRUE(changed.ok() && *changed) << changed.status();
    ASSERT_TRUE(llvm::succeeded(mlir::verify(f.op())));
    EXPECT_EQ(f.Count("plan.pack"), 1);
    EXPECT_EQ(f.Count("plan.unpack"), 1);
    ASSERT_TRUE(*Fold(f.op()));
    EXPECT_EQ(f.Count("plan.pack"), 0);
    f.op().walk([&](plan::UnpackOp op) {
      EXPECT_TRUE(llvm::isa<ir::MatMulOp>(*op->user_begin()));
      auto constant = op.getX().getDefiningOp<ir::ConstantOp>();
      ASSERT_TRUE(constant);
      const HostTensor panels =
          *ir::HostTensorOf(llvm::cast<mlir::DenseElementsAttr>(constant.getValue()));
      EXPECT_EQ(panels.TypeString(), "f32[1, 2, 2, 4]");
      const auto got = panels.values<float>();
      EXPECT_EQ(std::vector<float>(got.begin(), got.end()),
                (std::vector<float>{1, 2, 3, 4, 6, 7, 8, 9, 5, 0, 0, 0, 10, 0, 0, 0}));
    });
    EXPECT_EQ(f.Count("plan.unpack"), 1);
    EXPECT_FALSE(*PackContractions(f.op(), [](mlir::Operation*, bool) { return 0; }));
  }
}

TEST(SpecializeTest, SizesTakeThePlaceOfSymbols) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", 2});
  Tensor y = Mul(Reshape(x, {DimExpr::Symbol("n") * 2}),
                 Cast(DimSize(graph, DimExpr::Symbol("n"), DataType::kI32), DataType::kF32));
  graph.AddSignature("f", {{"y", y}});
  Function f(graph);
  f.Run([](mlir::func::FuncOp op) { return SpecializeDims(op, {{"n", 3}}); });
  f.op().walk([](mlir::Operation* op) {
    for (mlir::Type type : op->getResultTypes()) {
      EXPECT_TRUE(NumElements(ir::ShapeOf(type)).IsConstant());
    }
  });
}

TEST(SpecializeTest, SizesThatDoNotFitAreNamed) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", "n", "n"});
  graph.AddSignature(
      "f",
      {{"y", Reshape(x, {DimExpr::Symbol("n") * DimExpr::Symbol("n"), DimExpr::Symbol("n")})}});
  Function f(graph);
  const absl::Status status = SpecializeDims(f.op(), {{"n", int64_t{1} << 40}}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_NE(status.message().find("n=1099511627776"), std::string::npos) << status;
}

TEST(FreezeTest, VariablesBecomeConstants) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {2});
  Variable w = graph.AddVariable("w", HostTensor::Of<float>({2}, {0, 0}));
  graph.AddSignature("f", {{"y", Add(x, w)}});
  Function f(graph);
  WeightTable weights;
  auto changed = FreezeVariables(f.op(), {{"w", HostTensor::Of<float>({2}, {5, 6})}}, weights);
  ASSERT_TRUE(changed.ok() && *changed) << changed.status();
  EXPECT_EQ(f.op().getNumArguments(), 1u);
  const auto y = f.Evaluate({HostTensor::Of<float>({2}, {1, 1})});
  EXPECT_EQ(y[0].values<float>()[0], 6);
  EXPECT_EQ(y[0].values<float>()[1], 7);
  Function g(graph);
  EXPECT_TRUE(absl::IsFailedPrecondition(FreezeVariables(g.op(), {}, weights).status()));
}

// A variable that is assigned is no constant. One who asks for that signature is told.
TEST(FreezeTest, AssignedVariablesAreNamed) {
  Graph graph;
  Variable w = graph.AddVariable("w", HostTensor::Of<float>({2}, {0, 0}));
  graph.AddSignature("f", {{"y", w.Assign(Add(w, 1.0))}});
  Function f(graph);
  WeightTable weights;
  const std::map<std::string, HostTensor> values = {{"w", HostTensor::Of<float>({2}, {5, 6})}};
  const auto left = FreezeVariables(f.op(), values, weights);
  ASSERT_TRUE(left.ok()) << left.status();
  EXPECT_FALSE(*left);
  const absl::Status refused = FreezeVariables(f.op(), values, weights, /*required=*/true).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_NE(refused.message().find("'f'"), std::string::npos) << refused;
  EXPECT_NE(refused.message().find("'w'"), std::string::npos) << refused;
}

// Large values are not copied into the IR, and what is made of one is made once.
TEST(FreezeTest, LargeVariablesBecomeWeights) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", 64});
  HostTensor value = *HostTensor::Create(DataType::kF32, {64, 64});
  for (int64_t i = 0; i < 64 * 64; ++i) {
    value.mutable_values<float>()[static_cast<size_t>(i)] = static_cast<float>(i);
  }
  Variable w = graph.AddVariable("w", value), zeros = graph.AddVariable("zeros", value);
  graph.AddSignature("f", {{"y", MatMul(x, Transpose(w, {1, 0})) + MatMul(x, zeros)}});
  WeightTable weights;
  for (int round = 0; round < 2; ++round) {
    Function f(graph);
    auto frozen = FreezeVariables(
        f.op(), {{"w", value}, {"zeros", *HostTensor::Create(DataType::kF32, {64, 64})}}, weights);
    ASSERT_TRUE(frozen.ok() && *frozen) << frozen.status();
    EXPECT_EQ(f.Count("plan.weight"), 1);
    EXPECT_EQ(f.Count("weft.constant"), 1);  // of one number
    EXPECT_EQ(weights.at(0).data(), value.data());
    ASSERT_TRUE(FoldConstants(f.op(), weights).ok());
    ASSERT_TRUE(EliminateDeadCode(f.op()).ok());
    EXPECT_EQ(f.Count("weft.transpose"), 0);
    f.op().walk([&](plan::WeightOp op) { EXPECT_EQ(op.getIndex(), 1u); });
    EXPECT_EQ(weights.at(1).values<float>()[1], 64);
  }
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
  EXPECT_NE(status.message().find("passes_test.cc:"), std::string::npos) << status;
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

// A pass that makes an op wrongly is an error of the compilation, which says where.
TEST(BuildOpsTest, WrongOpsAreErrors) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {2, 3});
  graph.AddSignature("f", {{"y", Exp(x).Named("e")}});
  Function f(graph);
  mlir::Operation* op = &f.op().getBody().front().front();
  mlir::OpBuilder builder(op);
  OpMaker make(builder, op->getLoc());
  const FirstError error(f.op().getContext());
  mlir::Value wrong = make.Make("matmul", {op->getOperand(0), op->getOperand(0)});
  EXPECT_TRUE(wrong);
  EXPECT_NE(error.text().find("matmul: expected"), std::string::npos) << error.text();
  EXPECT_NE(error.text().find("'e'"), std::string::npos) << error.text();
  EXPECT_NE(error.text().find("passes_test.cc:"), std::string::npos) << error.text();
  EXPECT_EQ(error.text().find("at node"), error.text().rfind("at node")) << error.text();
  // What is made of it is made or not, and the first error stays.
  const std::string first = error.text();
  make.Transpose(wrong, {1, 0, 2});
  make.Make("no_such_op", {});
  EXPECT_EQ(error.text(), first);
}

TEST(DecomposeTest, CheckNumericsAsserts) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {2, 2});
  graph.AddSignature("f", {{"y", CheckNumerics(x, "weights")}});
  Function f(graph);
  f.Run(Decompose);
  EXPECT_EQ(f.Count("weft.assert"), 1);
}

TEST(InlineTest, CustomGradientsBecomeTheirBodies) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4});
  auto same = [](const std::vector<Tensor>&, const std::vector<Tensor>&,
                 const std::vector<Tensor>& dy) { return dy; };
  auto inner = [&](const std::vector<Tensor>& v) {
    return std::vector{
        CustomGradient(v, [](const auto& w) { return std::vector{Exp(w[0])}; }, same)[0] * v[0]};
  };
  graph.AddSignature("f", {{"y", Neg(CustomGradient({x}, inner, same)[0])}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  Function f(graph);
  f.Run(InlineCustomGradients);
  EXPECT_EQ(f.Count("weft.custom_gradient"), 0);
  for (const char* op : {"weft.exp", "weft.mul", "weft.neg"}) EXPECT_EQ(f.Count(op), 1) << op;
}

TEST(ScheduleTest, FreesBeforeItGrows) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {64});
  std::vector<Tensor> large, small;
  for (int i = 0; i < 4; ++i) large.push_back(Broadcast(Exp(Mul(x, 1.0 + i)), {64, 64}));
  for (Tensor& tensor : large) tensor = Transpose(tensor, {1, 0});
  for (Tensor tensor : large) small.push_back(ReduceSum(tensor, {0, 1}));
  Tensor sum = small[0];
  for (int i = 1; i < 4; ++i) sum = Add(sum, small[i]);
  graph.AddSignature("f", {{"y", sum}});
  Function f(graph);
  ASSERT_TRUE(Wrap(f.op()).ok());
  f.Run(Schedule);
}

}  // namespace
}  // namespace weft
