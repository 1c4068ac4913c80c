// The passes alone keep what a graph computes: every op's cases and random graphs, lowered to
// fusions, evaluated by the reference evaluator before and after. Where compiled code is wrong and
// this passes, the kernel is.
#include <cmath>
#include <string>
#include <vector>

#include "compiler/api.h"
#include "compiler/codegen/target.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/place.h"
#include "compiler/passes/signature.h"
#include "compiler/passes/weight_table.h"
#include "compiler/pipeline.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/evaluate.h"
#include "graph/interpreter.h"
#include "graph/ir/dialect.h"
#include "graph/ir/graph_impl.h"
#include "graph/ir/types.h"
#include "graph/reference/elementwise.h"
#include "gtest/gtest.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "tests/conformance/random_graph.h"
#include "tests/ops/op_cases.h"

namespace weft {
namespace {

// Rewrites may change the order of roundings, no more.
double ToleranceOf(DataType dtype) {
  switch (dtype) {
    case DataType::kF64:
      return 1e-12;
    case DataType::kF32:
      return 1e-5;
    case DataType::kF16:
      return 4e-3;
    case DataType::kBF16:
      return 4e-2;
    default:
      return 0;
  }
}

void ExpectNear(const HostTensor& actual, const HostTensor& expected, const std::string& what) {
  ASSERT_EQ(actual.dtype(), expected.dtype()) << what;
  ASSERT_EQ(actual.shape(), expected.shape()) << what;
  if (!IsFloat(expected.dtype())) {
    EXPECT_EQ(actual.ToString(1 << 20), expected.ToString(1 << 20)) << what;
    return;
  }
  const HostTensor a = *reference::Cast(actual, DataType::kF64);
  const HostTensor e = *reference::Cast(expected, DataType::kF64);
  double largest = 1;
  for (double v : e.values<double>()) {
    if (std::isfinite(v)) largest = std::max(largest, std::fabs(v));
  }
  for (int64_t i = 0; i < e.num_elements(); ++i) {
    const double x = a.values<double>()[i], y = e.values<double>()[i];
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    if (std::fabs(x - y) <= ToleranceOf(expected.dtype()) * largest) continue;
    ADD_FAILURE() << what << ": element " << i << " is " << x << " after the passes, " << y
                  << " before";
    return;
  }
}

// Every signature of the graph, before and after the passes.
void CompareSignatures(const Graph& graph, const TensorMap& feeds) {
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  mlir::MLIRContext& context = graph.impl()->context;
  context.loadDialect<plan::PlanDialect, mlir::func::FuncDialect>();
  auto op = llvm::cast<ir::GraphOp>(graph.impl()->graph);
  const Target target = *Target::Parse("cpu:x86-64-v3");
  CompileOptions options;
  // The reference evaluator knows the ops of graphs; a packed operand is a layout of the kernels.
  options.disabled_passes = {"pack"};
  Interpreter interpreter(graph);
  for (const std::string& name : graph.SignatureNames()) {
    if (name == "init") continue;
    const auto request = FindSignature(op, name);
    ASSERT_TRUE(request.ok()) << request.status();
    mlir::OwningOpRef<mlir::ModuleOp> module =
        mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
    const auto function = ExtractSignature(op, *request, *module);
    ASSERT_TRUE(function.ok()) << function.status();
    WeightTable weights;
    const absl::Status lowered = Lower(*function, {}, target, options, MemoryBudget(), weights);
    ASSERT_TRUE(lowered.ok()) << name << ": " << lowered;
    // The interpreter takes constants from the graph alone.
    mlir::func::FuncOp(*function).walk([&](plan::WeightOp weight) {
      mlir::OpBuilder builder(weight);
      mlir::OperationState constant(weight.getLoc(), "weft.constant");
      constant.addTypes(weight->getResultTypes());
      constant.addAttribute(
          "value",
          ir::ElementsAttrOf(&context, weights.at(static_cast<int64_t>(weight.getIndex()))));
      weight->replaceAllUsesWith(builder.create(constant));
      weight->erase();
    });

    std::vector<HostTensor> arguments;
    for (const auto& [input, value] : request->inputs) arguments.push_back(feeds.at(input));
    // A variable that is assigned and not read may have any value.
    mlir::func::FuncOp lowered_function = *function;
    for (size_t i = arguments.size(); i < lowered_function.getNumArguments(); ++i) {
      const Shape shape = ir::ShapeOf(lowered_function.getArgument(i));
      std::vector<int64_t> sizes;
      for (const DimExpr& dim : shape) sizes.push_back(*dim.Constant());
      arguments.push_back(
          *HostTensor::Create(ir::DataTypeOf(lowered_function.getArgument(i)), sizes));
    }
    const auto after = EvaluateBlock(lowered_function.getBody().front(), arguments);
    ASSERT_TRUE(after.ok()) << name << ": " << after.status();
    const auto before = interpreter.RunSignature(name, feeds);
    ASSERT_TRUE(before.ok()) << before.status();
    for (size_t i = 0; i < request->outputs.size(); ++i) {
      const std::string& output = request->outputs[i].first;
      ExpectNear((*after)[i], before->at(output), name + " " + output);
    }
  }
}

std::vector<std::pair<std::string, Tensor>> Named(const std::vector<Tensor>& values) {
  std::vector<std::pair<std::string, Tensor>> named;
  for (const Tensor& value : values) named.emplace_back("y" + std::to_string(named.size()), value);
  return named;
}

void CompareCase(const OpCase& c, DataType dtype, bool open) {
  SCOPED_TRACE(c.name + " " + std::string(NameOf(dtype)) + (open ? " open" : ""));
  Graph graph;
  std::vector<Tensor> inputs, floats;
  TensorMap feeds;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    inputs.push_back(MakeInput(graph, c, i, dtype, open));
    feeds[inputs.back().name()] = DrawInput(c, i, dtype);
    if (IsFloat(inputs.back().dtype())) floats.push_back(inputs.back());
  }
  const std::vector<Tensor> results = c.build(graph, inputs);
  graph.AddSignature("run", Named(results));
  if (FindOp(c.op)->gradient != GradientKind::kNone && IsFloat(results[0].dtype()) &&
      !floats.empty()) {
    // With the values, so that every open dimension has an input that gives its size.
    std::vector<Tensor> all = results;
    for (const Tensor& gradient : Gradients(results[0], floats)) all.push_back(gradient);
    graph.AddSignature("gradient", Named(all));
  }
  CompareSignatures(graph, feeds);
}

TEST(Lowering, KeepsEveryOp) {
  for (const OpInfo& op : AllOps()) {
    for (const OpCase& c : CasesOf(op)) {
      for (DataType dtype : DTypesOf(c)) {
        CompareCase(c, dtype, false);
        if (CanBeOpen(c)) CompareCase(c, dtype, true);
      }
    }
  }
}

TEST(Lowering, KeepsRandomGraphs) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const RandomGraph random = MakeRandomGraph(seed, 30 + static_cast<int>(seed), seed % 2 == 0);
    CompareSignatures(random.graph, random.feeds);
  }
}

}  // namespace
}  // namespace weft
