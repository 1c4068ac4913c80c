// What the IR verifier refuses in a graph that a pass has damaged.
#include "graph/ir/graph_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/graph.h"
#include "graph/ir/graph_impl.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"

namespace weft::ir {
namespace {

using testing::HasSubstr;

class GraphRules : public testing::Test {
 protected:
  GraphRules() {
    Tensor x = graph_.Input("x", DataType::kF32, {"batch", 3});
    Variable v = graph_.AddVariable("v", HostTensor::Of<float>({3}, {1, 2, 3}));
    Tensor y = MatMul(Exp(x), Reshape(v.Read(), {3, 1}));
    graph_.AddSignature("f", {{"y", y}}, {v.Assign(v.Read() * 2.0)});
    EXPECT_EQ(Diagnostic(), "");
  }
  mlir::Operation* FindFirst(std::string_view mnemonic) {
    for (mlir::Operation& op : *graph_.impl()->graph_block()) {
      if (IsOp(&op, mnemonic)) return &op;
    }
    return nullptr;
  }
  mlir::MLIRContext* context() { return &graph_.impl()->context; }
  // What the verifier says.
  std::string Diagnostic() {
    std::string text;
    mlir::ScopedDiagnosticHandler handler(context(), [&](mlir::Diagnostic& diagnostic) {
      text += diagnostic.str();
      return mlir::success();
    });
    bool good = mlir::succeeded(mlir::verify(*graph_.impl()->module));
    EXPECT_EQ(good, text.empty());
    return text;
  }
  Graph graph_;
};

TEST_F(GraphRules, ResultTypesAreThoseOfInference) {
  FindFirst("matmul")->getResult(0).setType(MakeTensorType(context(), DataType::kF32, {7, 1}));
  EXPECT_THAT(Diagnostic(), HasSubstr("other result types"));
}

TEST_F(GraphRules, AttributesAreThoseOfTheTable) {
  mlir::Operation* op = FindFirst("matmul");
  op->setAttr("note.of.a.pass", mlir::UnitAttr::get(context()));
  EXPECT_EQ(Diagnostic(), "");
  op->setAttr("transpose", mlir::UnitAttr::get(context()));
  EXPECT_THAT(Diagnostic(), HasSubstr("expected no attribute 'transpose'"));
}

TEST_F(GraphRules, TypesNameTheirOpenDimensions) {
  FindFirst("exp")->getResult(0).setType(mlir::RankedTensorType::get(
      {mlir::ShapedType::kDynamic, 3}, mlir::Float32Type::get(context())));
  EXPECT_THAT(Diagnostic(), HasSubstr("open dimensions are named"));
}

TEST_F(GraphRules, assign_c1) {
  FindFirst("variable")
      ->setAttr("type", mlir::TypeAttr::get(MakeTensorType(context(), DataType::kF32, {4})));
  EXPECT_THAT(Diagnostic(), HasSubstr("expected the dtype and shape of variable 'v' (C1)"));
}

TEST_F(GraphRules, custom_gradient_c1) {
  Tensor two = graph_.Input("two", DataType::kF32, {2});
  Tensor three = graph_.Input("three", DataType::kF32, {3});
  CustomGradient(
      {two}, [](const std::vector<Tensor>& x) { return std::vector{Round(x[0])}; },
      [](const std::vector<Tensor>&, const std::vector<Tensor>&, const std::vector<Tensor>& dy) {
        return dy;
      });
  EXPECT_EQ(Diagnostic(), "");
  FindFirst("custom_gradient")->setOperand(0, ValueOf(three));
  EXPECT_THAT(Diagnostic(),
              HasSubstr("expected body arguments of types (f32[3]), got (f32[2]) (C1)"));
}

TEST_F(GraphRules, initializer_c2) {
  mlir::Operation* op = FindFirst("initializer");
  mlir::OpBuilder builder(op);
  builder.clone(*op);
  EXPECT_THAT(Diagnostic(), HasSubstr("one initializer a variable (C2)"));
}

TEST_F(GraphRules, initializer_c3) {
  mlir::Operation* op = FindFirst("initializer");
  op->moveAfter(FindFirst("read_variable"));
  op->setOperand(0, FindFirst("read_variable")->getResult(0));
  EXPECT_THAT(Diagnostic(), HasSubstr("without inputs and variables"));
}

TEST_F(GraphRules, signature_c3) {
  mlir::Operation* op = FindFirst("signature");
  op->eraseOperand(0);
  op->setAttr("num_inputs", mlir::Builder(context()).getI64IntegerAttr(0));
  EXPECT_THAT(Diagnostic(), HasSubstr("every input that is needed, got none for node 'x'"));
}

}  // namespace
}  // namespace weft::ir
