#include "compiler/plan_dialect/plan.h"

#include <string>

#include "graph/ir/types.h"
#include "gtest/gtest.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"

namespace weft::plan {
namespace {

class PlanDialectTest : public testing::Test {
 protected:
  PlanDialectTest() {
    context_.loadDialect<PlanDialect, mlir::func::FuncDialect>();
    // Verification writes what it rejects; the tests ask for whether.
    context_.getDiagEngine().registerHandler([this](mlir::Diagnostic& diagnostic) {
      message_ = diagnostic.str();
      return llvm::success();
    });
  }
  bool Parses(const std::string& body) {
    message_.clear();
    return static_cast<bool>(mlir::parseSourceString<mlir::ModuleOp>(body, &context_));
  }
  mlir::RankedTensorType Type(const Shape& shape) {
    return ir::MakeTensorType(&context_, DataType::kF32, shape);
  }
  mlir::MLIRContext context_;
  std::string message_;
};

constexpr char kFusion[] = R"(
func.func @f(%a: tensor<2xf32>, %b: tensor<3xf32>) -> tensor<2xf32> {
  %r = "plan.fusion"(%a, %b) <{}> ({
  ^bb0(%x: tensor<2xf32>, %y: tensor<$Ixf32>):
    "plan.yield"(%$Y) : (tensor<$Oxf32>) -> ()
  }) {kind = "loop"} : (tensor<2xf32>, tensor<3xf32>) -> tensor<2xf32>
  return %r : tensor<2xf32>
})";

std::string Fusion(const std::string& argument, const std::string& yields,
                   const std::string& size) {
  std::string text = kFusion;
  auto replace = [&](const std::string& from, const std::string& to) {
    text.replace(text.find(from), from.size(), to);
  };
  replace("<{}> ", "");
  replace("$I", argument);
  replace("$Y", yields);
  replace("$O", size);
  return text;
}

TEST_F(PlanDialectTest, FusionTypesAgree) {
  EXPECT_TRUE(Parses(Fusion("3", "x", "2"))) << message_;
  EXPECT_FALSE(Parses(Fusion("4", "x", "2")));
  EXPECT_NE(message_.find("body arguments"), std::string::npos) << message_;
  EXPECT_FALSE(Parses(Fusion("3", "y", "3")));
  EXPECT_NE(message_.find("yields"), std::string::npos) << message_;
}

TEST_F(PlanDialectTest, PartialSumsAreVerified) {
  auto sums = [&](const std::string& contraction, const std::string& b, const std::string& y,
                  int64_t length) {
    return Parses("func.func @f(%a: tensor<4x100xbf16>, %b: " + b + ") -> " + y +
                  " {\n %r = \"plan.partial_sums\"(%a, %b) {contraction = \"" + contraction +
                  "\", options = {}, length = " + std::to_string(length) +
                  " : i64} : (tensor<4x100xbf16>, " + b + ") -> " + y + "\n return %r : " + y +
                  "\n}");
  };
  const std::string b = "tensor<100x5xbf16>", y = "tensor<2x4x5xf32>";
  EXPECT_TRUE(sums("matmul", b, y, 64)) << message_;
  EXPECT_FALSE(sums("add", b, y, 64));
  EXPECT_NE(message_.find("got 'add'"), std::string::npos) << message_;
  EXPECT_FALSE(sums("matmul", "tensor<100x5xf32>", y, 64));
  EXPECT_NE(message_.find("operands of one dtype"), std::string::npos) << message_;
  EXPECT_FALSE(sums("matmul", b, "tensor<2x4x5xbf16>", 64));
  EXPECT_FALSE(sums("matmul", b, y, 0));
  EXPECT_NE(message_.find("a step or more"), std::string::npos) << message_;
  EXPECT_FALSE(sums("matmul", b, "tensor<1x4x5xf32>", 100));
  EXPECT_FALSE(sums("matmul", b, "tensor<f32>", 100));
}

TEST_F(PlanDialectTest, WeightIsVerified) {
  auto weight = [&](const std::string& index, const std::string& type) {
    return Parses("func.func @f() -> " + type + " {\n %r = \"plan.weight\"() {index = " + index +
                  "} : () -> " + type + "\n return %r : " + type + "\n}");
  };
  EXPECT_TRUE(weight("3 : i64", "tensor<6x100xf32>")) << message_;
  EXPECT_TRUE(weight("0 : i64", "tensor<f32>")) << message_;
  EXPECT_FALSE(weight("-1 : i64", "tensor<6x100xf32>"));
  EXPECT_NE(message_.find("not negative, got -1"), std::string::npos) << message_;
  EXPECT_FALSE(weight("0 : i64", "tensor<?x100xf32, [\"n\", \"\"]>"));
  EXPECT_NE(message_.find("static shape"), std::string::npos) << message_;
  EXPECT_FALSE(weight("0 : i32", "tensor<6x100xf32>"));
}

TEST_F(PlanDialectTest, BarrierIsVerified) {
  auto barrier = [&](const std::string& from, const std::string& to) {
    return Parses("func.func @f(%x: " + from + ") -> " + to +
                  " {\n %r = \"plan.barrier\"(%x) {label = \"a:1\"} : (" + from + ") -> " + to +
                  "\n return %r : " + to + "\n}");
  };
  EXPECT_TRUE(barrier("tensor<2xf32>", "tensor<2xf32>")) << message_;
  EXPECT_FALSE(barrier("tensor<2xf32>", "tensor<3xf32>"));
}

TEST_F(PlanDialectTest, PackedType) {
  EXPECT_EQ(PackedType(Type({784, 100}), 48, 1, 1, false), Type({1, 3, 784, 48}));
  EXPECT_EQ(PackedType(Type({100, 784}), 48, 1, 1, true), Type({1, 3, 784, 48}));
  EXPECT_EQ(PackedType(Type({5, 7, 100}), 32, 1, 1, false), Type({5, 1, 4, 7, 32}));
  EXPECT_EQ(PackedType(Type({3, 3, 8, 64}), 16, 3, 2, false), Type({2, 2, 72, 16}));
  const DimExpr n = DimExpr::Symbol("n");
  EXPECT_EQ(PackedType(Type({4, n}), 16, 1, 1, false), Type({1, DimExpr::CeilDiv(n, 16), 4, 16}));
}

TEST_F(PlanDialectTest, PackIsVerified) {
  auto pack = [&](const std::string& attributes, const std::string& result) {
    return Parses("func.func @f(%x: tensor<6x100xf32>) -> tensor<" + result +
                  "xf32> {\n %r = \"plan.pack\"(%x) {" + attributes +
                  "} : (tensor<6x100xf32>) -> tensor<" + result + "xf32>\n return %r : tensor<" +
                  result + "xf32>\n}");
  };
  EXPECT_TRUE(pack("panel = 48 : i64", "1x3x6x48")) << message_;
  EXPECT_FALSE(pack("panel = 48 : i64", "1x2x6x48"));
  EXPECT_FALSE(pack("panel = 0 : i64", "1x2x6x48"));
  EXPECT_FALSE(pack("panel = 16 : i64, groups = 3 : i64", "3x3x6x16"));
  EXPECT_FALSE(pack("panel = 16 : i64, groups = 2 : i64, transpose = true", "2x1x100x16"));
}

}  // namespace
}  // namespace weft::plan
