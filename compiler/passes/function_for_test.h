// For tests of passes: a function of a graph, and what it computes.
#ifndef WEFT_COMPILER_PASSES_FUNCTION_FOR_TEST_H_
#define WEFT_COMPILER_PASSES_FUNCTION_FOR_TEST_H_

#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "compiler/passes/build_ops.h"
#include "compiler/passes/signature.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/evaluate.h"
#include "graph/graph.h"
#include "graph/ir/dialect.h"
#include "graph/ir/graph_impl.h"
#include "graph/ir/types.h"
#include "gtest/gtest.h"
#include "mlir/IR/Verifier.h"

namespace weft {

// A graph, one of its signatures as a function, and what that computes by the reference evaluator.
class Function {
 public:
  explicit Function(Graph& graph, const std::string& signature = "f")
      : Function(graph, *FindSignature(llvm::cast<ir::GraphOp>(graph.impl()->graph), signature)) {}
  Function(Graph& graph, const SignatureRequest& request) {
    EXPECT_TRUE(graph.status().ok()) << graph.status();
    mlir::MLIRContext& context = graph.impl()->context;
    context.loadDialect<plan::PlanDialect, mlir::func::FuncDialect>();
    module_ = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
    absl::StatusOr<mlir::func::FuncOp> function =
        ExtractSignature(llvm::cast<ir::GraphOp>(graph.impl()->graph), request, *module_);
    EXPECT_TRUE(function.ok()) << function.status();
    function_ = *function;
  }
  mlir::func::FuncOp op() { return function_; }
  // Numbers of ops of that name, bodies included.
  int Count(const std::string& name) {
    int count = 0;
    function_.walk([&](mlir::Operation* op) { count += op->getName().getStringRef() == name; });
    return count;
  }
  std::vector<std::string> Kinds() {
    std::vector<std::string> kinds;
    function_.walk([&](plan::FusionOp fusion) { kinds.push_back(fusion.getKind().str()); });
    return kinds;
  }
  std::vector<HostTensor> Evaluate(const std::vector<HostTensor>& arguments) {
    mlir::OwningOpRef<mlir::func::FuncOp> copy = function_.clone();
    // The evaluator knows the graph's ops alone.
    copy->walk([](plan::BarrierOp barrier) {
      barrier.getY().replaceAllUsesWith(barrier.getX());
      barrier.erase();
    });
    copy->walk([](plan::CutOp cut) {
      mlir::OpBuilder builder(cut);
      OpMaker make(builder, cut);
      const Shape from = ir::ShapeOf(cut.getX()), to = ir::ShapeOf(cut.getY());
      const size_t axis = static_cast<size_t>(cut.getAxis());
      Shape more(from.size(), 0);
      more[axis] = to[axis] * to[axis + 1] - from[axis];
      mlir::Value padded = make.Pad(cut.getX(), 0, Shape(from.size(), 0), more,
                                    std::vector<int64_t>(from.size(), 0));
      cut.getY().replaceAllUsesWith(make.Reshape(padded, to));
      cut.erase();
    });
    // All of the sum as that of the first part.
    copy->walk([](plan::PartialSumsOp sums) {
      mlir::OpBuilder builder(sums);
      OpMaker make(builder, sums);
      Shape shape = ir::ShapeOf(sums.getY()), more(shape.size(), 0);
      more[0] = shape[0] - 1;
      shape[0] = 1;
      mlir::Value whole = make.Make(std::string_view(sums.getContraction()),
                                    {sums.getA(), sums.getB()}, sums.getOptions().getValue());
      whole = make.Reshape(make.Cast(whole, ir::DataTypeOf(sums.getY())), shape);
      sums.getY().replaceAllUsesWith(
          make.Pad(whole, 0, Shape(shape.size(), 0), more, std::vector<int64_t>(shape.size(), 0)));
      sums.erase();
    });
    absl::StatusOr<std::vector<HostTensor>> results =
        EvaluateBlock(copy->getBody().front(), arguments);
    EXPECT_TRUE(results.ok()) << results.status();
    return results.ok() ? *results : std::vector<HostTensor>();
  }
  // Random arguments; open dimensions are 3.
  std::vector<HostTensor> Arguments() {
    std::vector<HostTensor> arguments;
    std::mt19937 random(7);
    for (mlir::Value argument : function_.getArguments()) {
      std::vector<int64_t> shape;
      for (const DimExpr& dim : ir::ShapeOf(argument)) {
        std::map<std::string, int64_t> sizes;
        for (const std::string& symbol : dim.Symbols()) sizes[symbol] = 3;
        shape.push_back(*dim.Evaluate(sizes));
      }
      HostTensor tensor = *HostTensor::Create(ir::DataTypeOf(argument), shape);
      WithType(tensor.dtype(), [&](auto zero) {
        using T = decltype(zero);
        for (T& value : tensor.mutable_values<T>()) {
          value = static_cast<T>(static_cast<float>(random() % 200) / 50.0f - 1.5f);
        }
      });
      arguments.push_back(std::move(tensor));
    }
    return arguments;
  }
  // Runs the pass, which must change something, keep the IR valid, and keep what it computes.
  void Run(const std::function<absl::StatusOr<bool>(mlir::func::FuncOp)>& pass,
           double tolerance = 1e-5) {
    const std::vector<HostTensor> arguments = Arguments();
    const std::vector<HostTensor> before = Evaluate(arguments);
    absl::StatusOr<bool> changed = pass(function_);
    ASSERT_TRUE(changed.ok()) << changed.status();
    EXPECT_TRUE(*changed);
    ASSERT_TRUE(llvm::succeeded(mlir::verify(*module_)));
    const std::vector<HostTensor> after = Evaluate(arguments);
    ASSERT_EQ(before.size(), after.size());
    for (size_t i = 0; i < before.size(); ++i) {
      ASSERT_EQ(before[i].TypeString(), after[i].TypeString());
      WithType(before[i].dtype(), [&](auto zero) {
        using T = decltype(zero);
        for (int64_t k = 0; k < before[i].num_elements(); ++k) {
          const double a = static_cast<double>(before[i].values<T>()[static_cast<size_t>(k)]);
          const double b = static_cast<double>(after[i].values<T>()[static_cast<size_t>(k)]);
          ASSERT_NEAR(a, b, tolerance * (1 + std::abs(a))) << "result " << i << " element " << k;
        }
      });
    }
  }

 private:
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  mlir::func::FuncOp function_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_FUNCTION_FOR_TEST_H_
