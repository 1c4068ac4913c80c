// The registry is complete: every op has cases, an evaluator, and gradients or a reason for none.
#include "tests/ops/op_cases.h"

#include <set>

#include "graph/interpreter.h"
#include "graph/ops/evaluate.h"
#include "graph/ops/gradient.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

TEST(OpCases, EveryOpHasCases) {
  std::set<std::string> without;
  for (const auto& [op, reason] : OpsWithoutCases()) {
    EXPECT_NE(FindOp(op), nullptr) << op;
    EXPECT_FALSE(reason.empty()) << op;
    without.insert(op);
  }
  for (const OpInfo& op : AllOps()) {
    EXPECT_NE(CasesOf(op).empty(), without.count(std::string(op.name)) == 0)
        << op.name << ": add cases to tests/ops/op_cases.cc";
  }
}

TEST(OpCases, NamesAreUnique) {
  std::set<std::string> names;
  for (const OpInfo& op : AllOps()) {
    for (const OpCase& c : CasesOf(op)) EXPECT_TRUE(names.insert(c.name).second) << c.name;
  }
}

TEST(Registry, EveryOpSaysHowItIsDifferentiated) {
  for (const OpInfo& op : AllOps()) {
    if (op.gradient == GradientKind::kNone) {
      EXPECT_FALSE(op.no_gradient_reason.empty()) << op.name;
    } else {
      EXPECT_NE(GradientOf(op), nullptr) << op.name;
    }
    EXPECT_EQ(EvaluateOf(op) != nullptr, op.has_evaluate) << op.name;
    EXPECT_FALSE(op.summary.empty()) << op.name;
    EXPECT_FALSE(op.dtypes.empty()) << op.name;
  }
}

// Builds the case and evaluates it, which checks that it gives what was inferred.
void BuildAndRun(const OpCase& c, DataType dtype, bool open) {
  SCOPED_TRACE(c.name + " " + std::string(NameOf(dtype)) + (open ? " open" : ""));
  Graph graph;
  std::vector<Tensor> inputs;
  TensorMap feeds;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    inputs.push_back(MakeInput(graph, c, i, dtype, open));
    feeds["x" + std::to_string(i)] = DrawInput(c, i, dtype);
  }
  const std::vector<Tensor> results = c.build(graph, inputs);
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const auto values = EvaluateGraph(graph, feeds, results);
  ASSERT_TRUE(values.ok()) << values.status();
}

TEST(OpCases, BuildAndRunUnderEveryDType) {
  for (const OpInfo& op : AllOps()) {
    for (const OpCase& c : CasesOf(op)) {
      for (DataType dtype : DTypesOf(c)) {
        BuildAndRun(c, dtype, false);
        if (CanBeOpen(c)) BuildAndRun(c, dtype, true);
      }
    }
  }
}

// Gradients of graphs with open dimensions have the open shapes of what they belong to.
TEST(OpCases, DifferentiateWithOpenDimensions) {
  for (const OpInfo& op : AllOps()) {
    if (op.gradient == GradientKind::kNone) continue;
    for (const OpCase& c : CasesOf(op)) {
      if (!CanBeOpen(c)) continue;
      SCOPED_TRACE(c.name);
      Graph graph;
      std::vector<Tensor> inputs, floats;
      for (size_t i = 0; i < c.inputs.size(); ++i) {
        inputs.push_back(MakeInput(graph, c, i, DataType::kF32, true));
        if (IsFloat(inputs.back().dtype())) floats.push_back(inputs.back());
      }
      const Tensor y = c.build(graph, inputs)[0];
      if (!IsFloat(y.dtype())) continue;
      const std::vector<Tensor> gradients = Gradients(y, floats);
      ASSERT_TRUE(graph.status().ok()) << graph.status();
      for (size_t i = 0; i < floats.size(); ++i) {
        EXPECT_EQ(gradients[i].shape(), floats[i].shape());
      }
    }
  }
}

}  // namespace
}  // namespace weft
