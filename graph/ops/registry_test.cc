// Nothing is missing from the op table.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "graph/ops/evaluate.h"
#include "graph/ops/gradient.h"
#include "graph/ops/infer.h"
#include "graph/ops/op_info.h"

namespace weft {
namespace {

TEST(Registry, EveryOpIsComplete) {
  EXPECT_GE(AllOps().size(), 70u);
  std::string last;
  for (const OpInfo& op : AllOps()) {
    SCOPED_TRACE(op.name);
    EXPECT_LT(last, op.name);
    last = op.name;
    EXPECT_EQ(&AllOps()[op.index], &op);
    EXPECT_EQ(FindOp(op.name), &op);
    EXPECT_EQ(FindOp("weft." + last), &op);
    EXPECT_FALSE(op.summary.empty());
    EXPECT_GE(op.version, 1);
    EXPECT_FALSE(op.dtypes.empty());
    EXPECT_NE(op.infer, nullptr);
    EXPECT_EQ(EvaluateOf(op) != nullptr, op.has_evaluate);
    EXPECT_EQ(GradientOf(op) != nullptr, op.gradient != GradientKind::kNone);
    EXPECT_EQ(op.no_gradient_reason.empty(), op.gradient != GradientKind::kNone);
    EXPECT_LT(op.test.low, op.test.high);
    for (size_t i = 0; i < op.constraints.size(); ++i) {
      EXPECT_TRUE(op.constraints[i].starts_with("C" + std::to_string(i + 1) + ": "));
    }
    std::set<std::string_view> names;
    for (const OperandInfo& operand : op.operands) {
      EXPECT_TRUE(names.insert(operand.name).second) << operand.name;
    }
    for (const AttrInfo& attribute : op.attributes) {
      EXPECT_TRUE(names.insert(attribute.name).second) << attribute.name;
      EXPECT_EQ(op.FindAttribute(attribute.name), &attribute);
    }
  }
}

TEST(Registry, SuggestsNames) {
  EXPECT_EQ(FindOp("matmull"), nullptr);
  EXPECT_EQ(NearestOp("matmull"), "; did you mean 'matmul'?");
  EXPECT_EQ(NearestOp("MatMul"), "; did you mean 'matmul'?");
  EXPECT_EQ(NearestOp("quantum_entangle"), "");
  EXPECT_EQ(NearestOp(std::string(5000, 'a')), "");
}

}  // namespace
}  // namespace weft
