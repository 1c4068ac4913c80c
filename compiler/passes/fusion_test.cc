// Which ops become one kernel.
#include <functional>
#include <string>
#include <vector>

#include "compiler/codegen/emit.h"
#include "compiler/codegen/llvm_lowering.h"
#include "compiler/codegen/target.h"
#include "compiler/passes/function_for_test.h"
#include "compiler/passes/make_fusion.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/place.h"
#include "compiler/passes/split_kernels.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/graph.h"
#include "graph/ir/device.h"
#include "graph/ir/dialect.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

absl::StatusOr<bool> Fuse(mlir::func::FuncOp function) { return FormFusions(function, true, {}); }
absl::StatusOr<bool> Wrap(mlir::func::FuncOp function) { return FormFusions(function, false, {}); }

using Strings = std::vector<std::string>;

// Pairs of what is built and the kernels that it should be.
struct FusionCase {
  std::string name;
  std::function<std::vector<Tensor>(Graph&)> build;
  Strings kinds;
};

std::vector<FusionCase> FusionCases() {
  auto x = [](Graph& g) { return g.Input("x", DataType::kF32, {"n", 4, 6}); };
  auto softmax = [](Tensor a) {
    Tensor e = Exp(Sub(a, ReduceMax(a, {-1}, true)));
    return Div(e, ReduceSum(e, {-1}, true));
  };
  return {
      {"elementwise", [=](Graph& g) { return std::vector{Exp(Add(x(g), 1.0))}; }, {"loop"}},
      {"several_results",
       [=](Graph& g) {
         Tensor e = Exp(x(g));
         return std::vector{e, Neg(e)};
       },
       {"loop"}},
      {"softmax", [=](Graph& g) { return std::vector{softmax(x(g))}; }, {"row"}},
      {"softmax_and_scale",
       [=](Graph& g) { return std::vector{Mul(softmax(Tanh(x(g))), 3.0)}; },
       {"row"}},
      {"column_with_producer_and_consumer",
       [=](Graph& g) { return std::vector{Exp(ReduceSum(Mul(x(g), 2.0), {0}))}; },
       {"column"}},
      {"column_siblings",
       [=](Graph& g) {
         Tensor a = x(g);
         return std::vector{ReduceSum(a, {0, 1}), ReduceMax(a, {0, 1})};
       },
       {"column"}},
      // More than have room in registers, or in a GPU's shared memory.
      {"many_column_siblings",
       [=](Graph& g) {
         Tensor a = x(g);
         std::vector<Tensor> sums;
         for (int i = 0; i < 13; ++i) sums.push_back(ReduceSum(Mul(a, 2.0 + i), {0}));
         return sums;
       },
       {"column", "column"}},
      {"epilogue",
       [=](Graph& g) {
         Tensor a = g.Input("a", DataType::kF32, {"n", 4}),
                b = g.Input("b", DataType::kF32, {4, 5});
         Tensor bias = g.Input("bias", DataType::kF32, {5});
         return std::vector{Maximum(Add(MatMul(a, b), bias), 0.0)};
       },
       {"contraction"}},
      {"epilogue_takes_no_counters",
       [=](Graph& g) {
         Tensor a = g.Input("a", DataType::kF32, {"n", 4}),
                b = g.Input("b", DataType::kF32, {4, 6});
         Tensor c = MatMul(a, b);
         return std::vector{Add(c, Iota(g, c.shape(), 1, DataType::kF32))};
       },
       {"contraction", "loop"}},
      {"epilogue_takes_strides_alone",
       [=](Graph& g) {
         Tensor a = g.Input("a", DataType::kF32, {6, 4}), b = g.Input("b", DataType::kF32, {4, 4});
         Tensor odd = Reshape(Broadcast(g.Input("c", DataType::kF32, {3}), {8, 3}), {6, 4});
         Tensor rows = Broadcast(Reshape(g.Input("d", DataType::kF32, {6}), {6, 1}), {6, 4});
         return std::vector{Add(MatMul(a, b), odd), Add(MatMul(b, a, true, true), 1.0),
                            Mul(MatMul(a, b), rows)};
       },
       {"contraction", "loop", "contraction", "contraction"}},
      // Work before a reduction and work that uses its broadcast result are no one loop.
      {"softmax_of_logits",
       [=](Graph& g) {
         Tensor a = g.Input("a", DataType::kF32, {"n", 4}),
                b = g.Input("b", DataType::kF32, {4, 5});
         return std::vector{softmax(Add(MatMul(a, b), g.Input("bias", DataType::kF32, {5})))};
       },
       {"contraction", "row"}},
      {"argmax_beside_softmax",
       [=](Graph& g) {
         Tensor a = g.Input("a", DataType::kF32, {"n", 4}),
                b = g.Input("b", DataType::kF32, {4, 5});
         Tensor logits = Add(MatMul(a, b), g.Input("bias", DataType::kF32, {5}));
         return std::vector{ArgMax(logits, 1), softmax(logits)};
       },
       {"contraction", "row"}},
      {"reductions_of_one_operand",
       [=](Graph& g) {
         Tensor a = x(g), flat = Reshape(a, {DimExpr::Symbol("n") * 4, 6});
         return std::vector{ReduceMax(a, {2}), ReduceSum(flat, {1}), ReduceSum(a, {1, 2})};
       },
       {"row", "row"}},
      {"sums_of_columns_of_a_product",
       [=](Graph& g) {
         Tensor a = g.Input("a", DataType::kF32, {"n", 4}), b = a * a;
         return std::vector{ReduceSum(a, {0}), ReduceSum(b, {0}), ReduceMax(a, {0})};
       },
       {"column"}},
      {"loop_across_reshapes",
       [=](Graph& g) {
         const DimExpr n = DimExpr::Symbol("n");
         Tensor bias = g.Input("bias", DataType::kF32, {6});
         Tensor rows = Add(Reshape(Exp(x(g)), {n * 4, 6}), bias);
         return std::vector{Reshape(Tanh(rows), {n, 2, 12}), Neg(Reshape(rows, {n, 24}))};
       },
       {"loop"}},
      {"reshape_that_does_not_nest",
       [=](Graph& g) {
         Tensor a = g.Input("a", DataType::kF32, {6, 4});
         return std::vector{Neg(Reshape(Exp(a), {8, 3}))};
       },
       {"loop", "loop"}},
      {"row_across_reshapes",
       [=](Graph& g) {
         const DimExpr n = DimExpr::Symbol("n");
         Tensor rows = softmax(Reshape(Tanh(x(g)), {n * 4, 6}));
         return std::vector{Mul(Reshape(rows, {n, 4, 2, 3}), 3.0)};
       },
       {"row"}},
      {"row_whose_result_is_reshaped",
       [=](Graph& g) {
         const DimExpr n = DimExpr::Symbol("n");
         Tensor a = x(g);
         Tensor sum = Reshape(Exp(Reshape(ReduceSum(a, {-1}), {n * 4, 1})), {n, 4, 1});
         return std::vector{Div(a, sum)};
       },
       {"row"}},
      {"reshape_of_the_columns_into_the_rows",
       [=](Graph& g) {
         Tensor e = Exp(x(g));
         Tensor flat = Reshape(e, {DimExpr::Symbol("n") * 2, 12});
         return std::vector{ReduceSum(flat, {1}), ReduceSum(e, {2})};
       },
       {"row", "row"}},
      {"column_across_reshapes",
       [=](Graph& g) {
         const DimExpr n = DimExpr::Symbol("n");
         return std::vector{
             Reshape(Exp(ReduceSum(Reshape(Mul(x(g), 2.0), {n * 4, 6}), {0})), {2, 3})};
       },
       {"column"}},
      {"moved_elements_are_in_memory",
       [=](Graph& g) { return std::vector{Transpose(Exp(x(g)), {2, 1, 0})}; },
       {"loop", "loop"}},
      {"no_cycle",
       [=](Graph& g) {
         Tensor a = g.Input("a", DataType::kF32, {4, 4});
         Tensor e = Exp(a);
         return std::vector{Add(e, MatMul(e, a))};
       },
       {"loop", "contraction"}},
      {"broadcast_between",
       [=](Graph& g) {
         Tensor a = x(g);
         return std::vector{Mul(a, Exp(ReduceSum(a, {0})))};
       },
       {"column", "loop"}},
      {"reshape_is_no_kernel",
       [=](Graph& g) { return std::vector{Reshape(Exp(x(g)), {DimExpr::Symbol("n") * 24})}; },
       {"loop"}},
      {"fill", [=](Graph& g) { return std::vector{Full(g, DataType::kF32, {3, 2}, 7)}; }, {"loop"}},
  };
}

TEST(FusionTest, KernelsAreAsExpected) {
  for (const FusionCase& fusion : FusionCases()) {
    SCOPED_TRACE(fusion.name);
    for (const bool merge : {true, false}) {
      Graph graph;
      std::vector<std::pair<std::string, Tensor>> outputs;
      for (Tensor tensor : fusion.build(graph)) {
        outputs.emplace_back("y" + std::to_string(outputs.size()), tensor);
      }
      graph.AddSignature("f", outputs);
      Function f(graph);
      f.Run(merge ? Fuse : Wrap);
      EXPECT_TRUE(CheckFused(f.op()).ok()) << CheckFused(f.op());
      if (merge) {
        EXPECT_EQ(f.Kinds(), fusion.kinds);
      } else {
        EXPECT_GE(f.Kinds().size(), fusion.kinds.size());
      }
    }
  }
}

// Splits each fusion once.
absl::StatusOr<bool> Split(mlir::func::FuncOp function) {
  std::vector<plan::FusionOp> fusions;
  function.walk([&](plan::FusionOp fusion) { fusions.push_back(fusion); });
  bool changed = false;
  for (plan::FusionOp fusion : fusions) {
    const bool can = CanSplitKernel(fusion);
    const int made = SplitKernel(fusion);
    EXPECT_EQ(made > 1, can);
    changed |= made > 1;
  }
  return changed;
}

// Whether the code generator makes a kernel of each.
absl::Status EmitAll(mlir::func::FuncOp function, const std::string& target) {
  PrepareContext(function.getContext());
  mlir::OwningOpRef<mlir::ModuleOp> kernels = mlir::ModuleOp::create(function.getLoc());
  absl::Status status;
  function.walk([&](plan::FusionOp fusion) {
    if (status.ok()) status = EmitKernel(fusion, *Target::Parse(target), *kernels).status();
  });
  return status;
}

// What is too much for one kernel: in the end there is one for each op, and for each broadcast and
// the like; what an op alone reads through those is one kernel first. All are what kernels can be
// made of, and lie where the fusion did.
TEST(FusionTest, KernelsAreSplit) {
  std::vector<FusionCase> cases = FusionCases();
  cases.push_back({"copies",
                   [](Graph& g) {
                     Tensor row = g.Input("row", DataType::kF32, {"n", 1});
                     Tensor wide = Reshape(Broadcast(row, {DimExpr::Symbol("n"), 6}),
                                           {DimExpr::Symbol("n") * 2, 3});
                     Tensor counts = Iota(g, {DimExpr::Symbol("n") * 2, 3}, 1, DataType::kF32);
                     return std::vector{Exp(wide) * counts + 2.0};
                   },
                   {}});
  for (const FusionCase& fusion : cases) {
    SCOPED_TRACE(fusion.name);
    Graph graph;
    std::vector<std::pair<std::string, Tensor>> outputs;
    {
      const ScopeGuard there = graph.WithDevice("cuda:1");
      for (Tensor tensor : fusion.build(graph)) {
        outputs.emplace_back("y" + std::to_string(outputs.size()), tensor);
      }
    }
    graph.AddSignature("f", outputs);
    Function f(graph);
    f.Run(Fuse);
    size_t kernels = f.Kinds().size();
    f.Run([&](mlir::func::FuncOp function) {
      while (*Split(function)) {
        EXPECT_GT(f.Kinds().size(), kernels);
        kernels = f.Kinds().size();
        for (const char* target : {"cpu:x86-64-v3", "cuda:sm_80"}) {
          const absl::Status emitted = EmitAll(function, target);
          EXPECT_TRUE(emitted.ok()) << emitted;
        }
      }
      return absl::StatusOr<bool>(true);
    });
    EXPECT_TRUE(CheckFused(f.op()).ok()) << CheckFused(f.op());
    f.op().walk([&](plan::FusionOp one) {
      EXPECT_EQ(ir::DeviceOf(one), "cuda:1");
      int ops = 0;
      for (mlir::Operation& op : one.body()->without_terminator()) {
        ops += !SplatOfValue(op.getResult(0));
      }
      EXPECT_LE(ops, 1);
    });
    f.op().walk([&](ir::ReshapeOp alias) {
      if (!alias->getParentOfType<plan::FusionOp>()) EXPECT_EQ(ir::DeviceOf(alias), "cuda:1");
    });
    // exp(broadcast) * iota, + 2: three ops; then the broadcast and the counters as well.
    if (fusion.name == "copies") EXPECT_EQ(kernels, 5u);
  }
}

// Into no more than it takes: at first, each has half of the ops, as far as that is a fusion.
TEST(FusionTest, KernelsAreHalved) {
  const auto tanhs = [](Tensor x, int count) {
    for (int i = 0; i < count; ++i) x = Tanh(x);
    return x;
  };
  const auto softmax = [](Tensor a) {
    Tensor e = Exp(Sub(a, ReduceMax(a, {-1}, true)));
    return Div(e, ReduceSum(e, {-1}, true));
  };
  const auto x = [](Graph& g) { return g.Input("x", DataType::kF32, {"n", 6}); };
  for (const FusionCase& fusion : std::vector<FusionCase>{
           {"loop", [=](Graph& g) { return std::vector{tanhs(x(g), 61)}; }, {"loop", "loop"}},
           {"row",
            [=](Graph& g) { return std::vector{tanhs(softmax(tanhs(x(g), 3)), 3)}; },
            {"row", "row"}},
           {"row_that_begins_late",
            [=](Graph& g) { return std::vector{softmax(tanhs(x(g), 9))}; },
            {"loop", "row"}},
           // What is computed before a column is reduced is not in memory.
           {"column",
            [=](Graph& g) { return std::vector{tanhs(ReduceSum(tanhs(x(g), 4), {0}), 4)}; },
            {"loop", "column"}},
           {"epilogue",
            [=](Graph& g) {
              return std::vector{tanhs(MatMul(x(g), g.Input("w", DataType::kF32, {6, 5})), 5)};
            },
            {"contraction", "loop"}}}) {
    SCOPED_TRACE(fusion.name);
    Graph graph;
    graph.AddSignature("f", {{"y", fusion.build(graph)[0]}});
    Function f(graph);
    f.Run(Fuse);
    EXPECT_EQ(f.Kinds().size(), 1u);
    f.Run(Split);
    EXPECT_EQ(f.Kinds(), fusion.kinds);
    const absl::Status emitted = EmitAll(f.op(), "cuda:sm_80");
    EXPECT_TRUE(emitted.ok()) << emitted;
    if (fusion.name != "loop") continue;
    std::vector<size_t> ops;
    f.op().walk([&](plan::FusionOp one) { ops.push_back(one.body()->getOperations().size() - 1); });
    EXPECT_EQ(ops, (std::vector<size_t>{31, 30}));
  }
}

// More reductions than have room in a GPU's shared memory. Fusion leaves no such kernels to the
// code generator, so this one is made by hand.
TEST(FusionTest, ReductionsAreSplitUntilTheyHaveRoom) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {"n", 40}), sum = x;
  std::vector<std::pair<std::string, Tensor>> outputs;
  for (int i = 0; i < 25; ++i) {
    sum = sum + x;
    outputs.emplace_back("y" + std::to_string(i), ReduceMax(sum, {0}));
  }
  graph.AddSignature("f", outputs);
  Function f(graph);
  f.Run([](mlir::func::FuncOp function) {
    std::vector<mlir::Operation*> ops;
    std::vector<mlir::Value> maxima;
    for (const bool reduces : {false, true}) {
      for (mlir::Operation& op : function.front().without_terminator()) {
        if (llvm::isa<ir::ReduceMaxOp>(op) != reduces) continue;
        ops.push_back(&op);
        if (reduces) maxima.push_back(op.getResult(0));
      }
    }
    const mlir::Value x = function.getArgument(0);
    mlir::OpBuilder builder(function.front().getTerminator());
    plan::FusionOp made = MakeFusion(builder, {.location = function.getLoc(),
                                               .kind = plan::kColumn,
                                               .device = "",
                                               .inputs = x,
                                               .operands = x,
                                               .ops = ops,
                                               .outputs = maxima});
    for (auto [value, result] : llvm::zip(maxima, made.getOuts())) {
      value.replaceAllUsesWith(result);
    }
    for (mlir::Operation* op : ops) op->dropAllUses();
    for (mlir::Operation* op : ops) op->erase();
    return absl::StatusOr<bool>(true);
  });
  EXPECT_EQ(EmitAll(f.op(), "cuda:sm_80").code(), absl::StatusCode::kUnimplemented);
  f.Run(Split);
  EXPECT_EQ(f.Kinds(), (Strings{"loop", "column"}));
  EXPECT_EQ(EmitAll(f.op(), "cuda:sm_80").code(), absl::StatusCode::kUnimplemented);
  f.Run([](mlir::func::FuncOp function) {
    std::vector<plan::FusionOp> columns;
    function.walk([&](plan::FusionOp fusion) {
      if (fusion.getKind() == plan::kColumn) columns.push_back(fusion);
    });
    EXPECT_EQ(SplitKernel(columns.at(0)), 2);
    return absl::StatusOr<bool>(true);
  });
  EXPECT_EQ(f.Kinds(), (Strings{"loop", "column", "column"}));
  const absl::Status emitted = EmitAll(f.op(), "cuda:sm_80");
  EXPECT_TRUE(emitted.ok()) << emitted;
}

// A long row whose parts are cut in the kernel that reduces them: of x, and of what says which
// elements there are. Those come to lie in memory where a kernel of one op has still too much.
TEST(FusionTest, CutsOfRowsGoToMemory) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {1000003});
  graph.AddSignature("f", {{"y", ReduceMax(x, {0})}});
  Function f(graph);
  f.Run([](mlir::func::FuncOp function) {
    return SplitReductions(function, DeviceTargets(*Target::Parse("cuda:sm_80")));
  });
  f.Run(Fuse);
  ASSERT_EQ(f.Kinds(), (Strings{"row", "row"}));
  ASSERT_EQ(f.Count("plan.cut"), 2);
  for (const Strings& kinds :
       {Strings{"loop", "row", "row"}, Strings{"loop", "loop", "loop", "row", "row"}}) {
    f.Run(Split);
    EXPECT_EQ(f.Kinds(), kinds);
    EXPECT_EQ(f.Count("plan.cut"), 2);
    for (const char* target : {"cpu:x86-64-v3", "cuda:sm_80"}) {
      const absl::Status emitted = EmitAll(f.op(), target);
      EXPECT_TRUE(emitted.ok()) << emitted;
    }
  }
}

// An op that nothing makes code of (a pass that takes it apart did not run) is refused, not left
// out.
TEST(FusionTest, OpsWithoutCodeAreNamed) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4});
  graph.AddSignature("f", {{"y", CheckNumerics(x, "finite").Named("check") * 2.0}});
  Function f(graph);
  f.Run(Wrap);
  const absl::Status status = CheckFused(f.op());
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_NE(status.message().find("without code"), std::string::npos) << status;
  EXPECT_NE(status.message().find("'check'"), std::string::npos) << status;
}

// Ops with effects keep their order, so they lie between kernels as values do: `a` and `y` are no
// one kernel where something that reads `a` comes before something that `y` reads.
TEST(FusionTest, EffectsLieBetweenKernels) {
  enum Kind { kPrint, kAssert, kCheck, kPureCond, kPrintingCond };
  for (const Kind kind : {kPrint, kAssert, kCheck, kPureCond, kPrintingCond}) {
    SCOPED_TRACE(kind);
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {4});
    Tensor p = graph.Input("p", DataType::kBool, {});
    auto effect = [&](Tensor t, const std::string& message) {
      switch (kind) {
        case kPrint:
          return Print(t, message);
        case kAssert:
          return Assert(p, t, message);
        case kCheck:
          return CheckNumerics(t, message);
        default:
          return Cond(
              p,
              [&] { return std::vector<Tensor>{kind == kPureCond ? Neg(t) : Print(t, message)}; },
              [&] { return std::vector<Tensor>{Abs(t)}; })[0];
      }
    };
    Tensor a = Exp(x);
    Tensor first = effect(a, "first"), second = effect(x, "second");
    graph.AddSignature("f", {{"y", Add(a, second)}, {"first", first}});
    Function f(graph);
    ASSERT_TRUE(Decompose(f.op()).ok());
    f.Run(Fuse);
    // Without effects, nothing keeps `a` and `y` apart.
    int kernels = 0;
    for (mlir::Operation& op : f.op().getBody().front()) kernels += llvm::isa<plan::FusionOp>(op);
    EXPECT_EQ(kernels, kind == kPureCond ? 1 : 2);
    // Scheduling keeps it as well.
    ASSERT_TRUE(Schedule(f.op()).ok());
    std::vector<std::string> messages;
    f.op().walk([&](mlir::Operation* op) {
      if (auto message = op->getAttrOfType<mlir::StringAttr>("message")) {
        messages.push_back(message.str());
      }
    });
    if (kind == kPureCond) continue;
    ASSERT_EQ(messages.size(), 2u);
    EXPECT_NE(messages[0].find("first"), std::string::npos);
  }
}

TEST(FusionTest, SaysWhy) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4, 6});
  graph.AddSignature("f", {{"y", Transpose(Exp(Neg(x)), {1, 0})}});
  Function f(graph);
  Strings lines;
  ASSERT_TRUE(
      FormFusions(f.op(), true, [&](const std::string& line) { lines.push_back(line); }).ok());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0].find("by rule elementwise, saves 192 bytes"), std::string::npos) << lines[0];
  EXPECT_NE(lines[1].find("not fused"), std::string::npos) << lines[1];
}

TEST(FusionTest, LongLineIsSplit) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4});
  for (int i = 0; i < 1000; ++i) x = Tanh(x);
  graph.AddSignature("f", {{"y", x}});
  Function f(graph);
  f.Run(Fuse);
  EXPECT_GT(f.Kinds().size(), 5u);
  EXPECT_LT(f.Kinds().size(), 40u);
}

TEST(FusionTest, BodiesOfControlFlow) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4});
  std::vector<Tensor> y = While(
      {x}, [](const std::vector<Tensor>& v) { return Less(ReduceSum(v[0], {0}), 1000.0); },
      [](const std::vector<Tensor>& v) { return std::vector{Add(Mul(v[0], v[0]), 1.0)}; });
  graph.AddSignature("f", {{"y", y[0]}});
  Function f(graph);
  f.Run(Fuse);
  EXPECT_EQ(f.Kinds(), (Strings{"row", "loop"}));
}

}  // namespace
}  // namespace weft
