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

// Every case builds under every dtype that its op states, runs, and gives what was inferred (which
// the evaluator checks).
TEST(OpCases, BuildAndRunUnderEveryDType) {
  for (const OpInfo& op : AllOps()) {
    for (const OpCase& c : CasesOf(op)) {
      for (DataType dtype : DTypesOf(c)) {
        SCOPED_TRACE(c.name + " " + std::string(NameOf(dtype)));
        Graph graph;
        std::vector<Tensor> inputs;
        TensorMap feeds;
        for (size_t i = 0; i < c.inputs.size(); ++i) {
          inputs.push_back(MakeInput(graph, c, i, dtype));
          feeds["x" + std::to_string(i)] = DrawInput(c, i, dtype);
        }
        const std::vector<Tensor> results = c.build(graph, inputs);
        ASSERT_TRUE(graph.status().ok()) << graph.status();
        const auto values = EvaluateGraph(graph, feeds, results);
        ASSERT_TRUE(values.ok()) << values.status();
      }
    }
  }
}

}  // namespace
}  // namespace weft
