#include "graph/ir/types.h"

#include <gtest/gtest.h>

#include "graph/ir/dialect.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"

namespace weft::ir {
namespace {

class TypesTest : public testing::Test {
 protected:
  TypesTest() { context_.loadDialect<WeftDialect>(); }
  mlir::MLIRContext context_;
};

TEST_F(TypesTest, ElementTypesRoundTrip) {
  for (int i = 1; i < kNumDataTypes; ++i) {
    auto dtype = static_cast<DataType>(i);
    EXPECT_EQ(DataTypeOfElement(ElementTypeOf(&context_, dtype)), dtype);
  }
  EXPECT_EQ(DataTypeOfElement(mlir::IntegerType::get(&context_, 16)), DataType::kInvalid);
}

TEST_F(TypesTest, ShapesRoundTrip) {
  Shape shape = {*DimExpr::Parse("2*batch+1"), 28, 0};
  mlir::RankedTensorType type = MakeTensorType(&context_, DataType::kBF16, shape);
  EXPECT_EQ(ShapeOf(type), shape);
  EXPECT_EQ(TypeString(type), "bf16[2*batch+1, 28, 0]");
  EXPECT_TRUE(IsTensorType(type));
  EXPECT_FALSE(MakeTensorType(&context_, DataType::kF32, {3}).getEncoding());
  // Open without a name, a name that is not canonical, another encoding: none of ours.
  mlir::Type f32 = mlir::Float32Type::get(&context_);
  EXPECT_FALSE(IsTensorType(mlir::RankedTensorType::get({mlir::ShapedType::kDynamic}, f32)));
  auto dims = mlir::ArrayAttr::get(&context_, {mlir::StringAttr::get(&context_, "1+batch")});
  EXPECT_FALSE(IsTensorType(mlir::RankedTensorType::get({mlir::ShapedType::kDynamic}, f32, dims)));
  EXPECT_FALSE(IsTensorType(mlir::RankedTensorType::get({3}, f32, dims)));
}

TEST_F(TypesTest, ElementsRoundTrip) {
  HostTensor tensors[] = {
      HostTensor::Of<float>({2, 2}, {1, 2, 3, 4}),
      HostTensor::Of<float>({3}, {5, 5, 5}),
      HostTensor::Of<bool>({9}, {true, false, true, true, false, false, true, false, true}),
      HostTensor::Of<bool>({3}, {true, true, true}),
      HostTensor::Scalar<bool>(false),
      HostTensor::Scalar<int64_t>(-7),
      HostTensor::Of<uint8_t>({2}, {200, 3}),
      HostTensor::Of<BF16>({2}, {BF16(1.5f), BF16(-2.0f)}),
      HostTensor::Of<double>({0, 4}, {}),
      HostTensor::Of<bool>({0}, {}),
  };
  for (const HostTensor& tensor : tensors) {
    absl::StatusOr<HostTensor> back = HostTensorOf(ElementsAttrOf(&context_, tensor));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->ToString(), tensor.ToString());
  }
  EXPECT_TRUE(ElementsAttrOf(&context_, tensors[1]).isSplat());
  EXPECT_EQ(SplatValueOf(ElementsAttrOf(&context_, tensors[1])), 5.0);
  EXPECT_EQ(SplatValueOf(ElementsAttrOf(&context_, tensors[3])), 1.0);
  EXPECT_EQ(SplatValueOf(ElementsAttrOf(&context_, tensors[0])), std::nullopt);
  // A splat may name more elements than there is memory.
  float one = 1;
  auto huge = SplatAttrOf(&context_, DataType::kF32, {int64_t{1} << 60}, &one);
  EXPECT_EQ(HostTensorOf(huge).status().code(), absl::StatusCode::kOutOfRange);
}

TEST_F(TypesTest, LocationsRoundTrip) {
  mlir::Location at =
      MakeLocation(&context_, "a/b", {{"train.cc", 30, "main"}, {"model.cc", 12, ""}});
  EXPECT_EQ(NodeNameOf(at), "a/b");
  std::vector<SourceLine> lines = SourceLinesOf(at);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].function, "main");
  EXPECT_EQ(lines[1].line, 12);
  EXPECT_EQ(Describe(at), "node 'a/b' (train.cc:30 for model.cc:12)");
  EXPECT_EQ(Describe(WithName(at, "c")), "node 'c' (train.cc:30 for model.cc:12)");
  EXPECT_EQ(Describe(MakeLocation(&context_, "x", {})), "node 'x'");
}

TEST_F(TypesTest, DialectLoadsAndVerifies) {
  mlir::OpBuilder builder(&context_);
  mlir::Location at = MakeLocation(&context_, "g", {});
  mlir::OperationState state(at, GraphOp::getOperationName());
  state.addAttribute("name", builder.getStringAttr("g"));
  state.addRegion();
  mlir::OwningOpRef<GraphOp> graph = llvm::cast<GraphOp>(builder.create(state));
  graph->getGraphBody().emplaceBlock();
  EXPECT_TRUE(mlir::succeeded(mlir::verify(*graph)));
}

}  // namespace
}  // namespace weft::ir
