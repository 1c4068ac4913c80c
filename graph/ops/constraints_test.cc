// Every numbered constraint of the op table can fail, and names itself when it does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "graph/ir/graph_impl.h"
#include "graph/ops/constraint_cases.h"
#include "graph/ops/op_info.h"
#include "mlir/IR/Verifier.h"

namespace weft {

void PrintTo(const ConstraintCase& c, std::ostream* out) { *out << NameOf(c); }

namespace {

using testing::HasSubstr;
using testing::StartsWith;

// An input of a type such as "f32[batch, 3]".
mlir::Value InputOf(Graph& graph, const std::string& type, int index) {
  size_t bracket = type.find('[');
  std::vector<Graph::Dim> dims;
  std::string inside = type.substr(bracket + 1, type.size() - bracket - 2);
  for (size_t at = 0; at < inside.size();) {
    size_t comma = std::min(inside.find(", ", at), inside.size());
    dims.emplace_back(*DimExpr::Parse(inside.substr(at, comma - at)));
    at = comma + 2;
  }
  std::string name = absl::StrCat("in", index);
  return ir::ValueOf(graph.Input(name, *DataTypeOf(type.substr(0, bracket)), dims));
}

mlir::Attribute ToAttribute(mlir::MLIRContext* context, const AttributeValue& value) {
  mlir::Builder builder(context);
  if (auto* i = std::get_if<int64_t>(&value)) return builder.getI64IntegerAttr(*i);
  if (auto* b = std::get_if<bool>(&value)) return builder.getBoolAttr(*b);
  if (auto* s = std::get_if<std::string>(&value)) return builder.getStringAttr(*s);
  if (auto* d = std::get_if<DataType>(&value)) {
    return mlir::TypeAttr::get(ir::ElementTypeOf(context, *d));
  }
  if (auto* dims = std::get_if<Shape>(&value)) return ir::DimArrayAttr(context, *dims);
  return builder.getDenseI64ArrayAttr(std::get<std::vector<int64_t>>(value));
}

mlir::Operation* Create(Graph& graph, const ConstraintCase& c) {
  ir::GraphImpl* impl = graph.impl();
  std::vector<mlir::Value> operands;
  for (const std::string& type : c.operands) {
    operands.push_back(InputOf(graph, type, static_cast<int>(operands.size())));
  }
  mlir::NamedAttrList attributes;
  for (const auto& [name, value] : c.attributes) {
    attributes.append(name, ToAttribute(&impl->context, value));
  }
  return impl->CreateNode(*FindOp(c.op), c.op, operands, attributes.getAttrs(),
                          SourceLocation::current());
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class Constraint : public testing::TestWithParam<ConstraintCase> {};

TEST_P(Constraint, Holds) {
  const ConstraintCase& c = GetParam();
  Graph graph;
  if (c.build) {
    c.build(graph);
    ASSERT_FALSE(graph.status().ok());
  } else {
    mlir::Operation* op = Create(graph, c);
    ASSERT_EQ(op != nullptr, c.constraint == 0) << graph.status();
    if (op != nullptr) {
      std::vector<std::string> results;
      for (mlir::Type type : op->getResultTypes()) results.push_back(ir::TypeString(type));
      EXPECT_EQ(results, c.results);
      EXPECT_TRUE(mlir::succeeded(mlir::verify(*graph.impl()->module)));
      return;
    }
  }
  std::string message(graph.status().message());
  EXPECT_THAT(message, StartsWith(c.op + ": "));
  // Inputs in bodies are refused before there is a node.
  if (NameOf(c) == "input_c2") return;
  EXPECT_THAT(message, HasSubstr(absl::StrCat("(C", c.constraint, ")")));
  EXPECT_THAT(message, HasSubstr(".cc:")) << "names no source line";
}

INSTANTIATE_TEST_SUITE_P(Ops, Constraint, testing::ValuesIn(ConstraintCases()),
                         [](const auto& info) { return NameOf(info.param); });

TEST(Constraints, EachHasACase) {
  // Broken only by a file or by a pass, which import and the IR verifier refuse: their tests, of
  // the same names, are in graph/graph_def and graph/ir.
  const std::set<std::string> kElsewhere = {"input_c1",     "initializer_c1", "initializer_c2",
                                            "signature_c2", "signature_c3",   "custom_gradient_c1"};
  const std::string elsewhere =
      ReadFile("graph/graph_def/graph_def_test.cc") + ReadFile("graph/ir/graph_rules_test.cc");
  for (const std::string& name : kElsewhere) {
    EXPECT_THAT(elsewhere, HasSubstr(", " + name + ") {")) << "has no test of its own";
  }
  std::set<std::string> names;
  for (const ConstraintCase& c : ConstraintCases()) {
    EXPECT_TRUE(names.insert(NameOf(c)).second) << NameOf(c) << " is there twice";
  }
  for (const OpInfo& op : AllOps()) {
    for (size_t i = 1; i <= op.constraints.size(); ++i) {
      std::string name = absl::StrCat(std::string(op.name), "_c", i);
      EXPECT_EQ(names.contains(name), !kElsewhere.contains(name))
          << name << ": cases are in graph/ops/constraint_cases.cc";
    }
    // Ops of the builder have a good case with their result types; the rest is built by hand.
    if (op.in_builder) {
      EXPECT_TRUE(names.contains(std::string(op.name)))
          << op.name << ": add a good case to graph/ops/constraint_cases.cc";
    }
  }
}

}  // namespace
}  // namespace weft
