#include "compiler/passes/passes.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "compiler/codegen/target.h"
#include "compiler/passes/build_ops.h"
#include "compiler/passes/diagnostics.h"
#include "compiler/passes/function_for_test.h"
#include "compiler/passes/place.h"
#include "compiler/passes/signature.h"
#include "compiler/passes/weight_table.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/graph.h"
#include "graph/ir/device.h"
#include "graph/ir/dialect.h"
#include "graph/ir/graph_impl.h"
#include "gtest/gtest.h"
#include "mlir/IR/Verifier.h"

namespace weft {
namespace {

absl::StatusOr<bool> Wrap(mlir::func::FuncOp function) { return FormFusions(function, false, {}); }

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
    WeightTable weights;
    ASSERT_TRUE(*FoldConstants(f.op(), weights));
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
