// The reference evaluator against values that NumPy made (golden.json; see README.md).
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/interpreter.h"
#include "graph/ir/graph_impl.h"
#include "graph/reference/elementwise.h"
#include "gtest/gtest.h"
#include "mlir/IR/Builders.h"
#include "nlohmann/json.hpp"
#include "tests/golden/golden_file.h"

namespace weft {
namespace {

using Json = nlohmann::json;

mlir::Attribute AttributeOf(mlir::MLIRContext* context, AttrKind kind, const Json& value) {
  mlir::Builder builder(context);
  switch (kind) {
    case AttrKind::kInt:
      return builder.getI64IntegerAttr(value.get<int64_t>());
    case AttrKind::kBool:
      return builder.getBoolAttr(value.get<bool>());
    case AttrKind::kInts:
      return builder.getDenseI64ArrayAttr(value.get<std::vector<int64_t>>());
    case AttrKind::kDType:
      return mlir::TypeAttr::get(ir::ElementTypeOf(context, *DataTypeOf(value.get<std::string>())));
    case AttrKind::kDims: {
      std::vector<mlir::Attribute> dims;
      for (const Json& dim : value) dims.push_back(builder.getStringAttr(dim.get<std::string>()));
      return builder.getArrayAttr(dims);
    }
    default:
      return builder.getStringAttr(value.get<std::string>());
  }
}

// Distance of neighbours at |x|, in the dtype.
double UnitInLastPlace(DataType dtype, double x) {
  const int bits = dtype == DataType::kF64   ? 52
                   : dtype == DataType::kF32 ? 23
                   : dtype == DataType::kF16 ? 10
                                             : 7;
  return std::ldexp(1, std::ilogb(std::max(std::fabs(x), 1e-30)) - bits);
}

void ExpectClose(const HostTensor& actual, const HostTensor& expected, double ulps, double scale) {
  ASSERT_EQ(actual.dtype(), expected.dtype());
  ASSERT_EQ(actual.shape(), expected.shape());
  if (expected.dtype() == DataType::kI64) {
    EXPECT_EQ(actual.values<int64_t>(), expected.values<int64_t>());
    return;
  }
  const HostTensor a = *reference::Cast(actual, DataType::kF64);
  const HostTensor e = *reference::Cast(expected, DataType::kF64);
  for (int64_t i = 0; i < a.num_elements(); ++i) {
    const double x = a.values<double>()[i], y = e.values<double>()[i];
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double allowed =
        IsFloat(expected.dtype())
            ? ulps * UnitInLastPlace(expected.dtype(), std::max(std::fabs(y), scale))
            : 0;
    EXPECT_LE(std::fabs(x - y), allowed) << "element " << i << ": " << x << ", expected " << y;
  }
}

void RunCase(const Json& c) {
  const OpInfo* info = FindOp(c["op"].get<std::string>());
  ASSERT_NE(info, nullptr) << c["op"];
  Graph graph("golden");
  ir::GraphImpl* impl = graph.impl();
  std::vector<mlir::Value> operands;
  TensorMap feeds;
  for (const Json& json : c["operands"]) {
    const std::string name = "x" + std::to_string(operands.size());
    feeds[name] = GoldenTensor(json);
    const std::vector<int64_t>& shape = feeds[name].shape();
    Tensor input =
        graph.Input(name, feeds[name].dtype(), std::vector<Graph::Dim>(shape.begin(), shape.end()));
    ASSERT_TRUE(input.valid()) << graph.status();
    operands.push_back(ir::ValueOf(input));
  }
  std::vector<mlir::NamedAttribute> attributes;
  for (const auto& [name, value] : c["attributes"].items()) {
    const AttrInfo* attribute = info->FindAttribute(name);
    ASSERT_NE(attribute, nullptr) << name;
    attributes.emplace_back(mlir::StringAttr::get(&impl->context, name),
                            AttributeOf(&impl->context, attribute->kind, value));
  }
  mlir::Operation* op =
      impl->CreateNode(*info, "y", operands, attributes, SourceLocation::current());
  ASSERT_NE(op, nullptr) << graph.status();
  std::vector<Tensor> fetches;
  for (mlir::Value result : op->getResults()) fetches.push_back(impl->Wrap(result));
  const auto results = EvaluateGraph(graph, feeds, fetches);
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->size(), c["results"].size());
  for (size_t i = 0; i < results->size(); ++i) {
    ExpectClose((*results)[i], GoldenTensor(c["results"][i]), c["ulps"].get<double>(),
                c["scale"].get<double>());
  }
}

Json ReadCases() { return ReadGoldenFile("golden.json"); }

TEST(Golden, EvaluatorGivesNumPysValues) {
  const Json cases = ReadCases();
  ASSERT_GT(cases.size(), 600u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json shown = {cases[i]["op"], cases[i]["attributes"]};
    SCOPED_TRACE("case " + std::to_string(i) + ": " + shown.dump());
    RunCase(cases[i]);
  }
}

// Dtypes that an evaluator treats alike.
std::string ClassOf(DataType dtype) {
  if (IsFloat(dtype)) return SizeOf(dtype) == 2 ? "floats of 16 bits" : "f32 or f64";
  return dtype == DataType::kBool || dtype == DataType::kU8 ? std::string(NameOf(dtype))
                                                            : "signed integers";
}

// Where a case has the dtype that the op table speaks of: in its attribute, or else in its data.
DataType DataTypeOfCase(const OpInfo& op, const Json& c) {
  if (op.FindAttribute("dtype") != nullptr && op.name != "cast") {
    return *DataTypeOf(c["attributes"]["dtype"].get<std::string>());
  }
  const size_t first = op.operands[0].name == "condition" ? 1 : 0;
  return *DataTypeOf(c["operands"][first]["dtype"].get<std::string>());
}

// An op that can be evaluated has golden values in each class of the dtypes that it takes, or is
// built from bodies, or has no values to have.
TEST(Golden, EveryEvaluatorIsGuarded) {
  const std::set<std::string_view> guarded_elsewhere = {
      // Evaluate their bodies: graph/interpreter_test.cc, graph/gradient/gradient_test.cc.
      "while", "cond", "custom_gradient", "constant",
      "print",  // give what they are given: graph/interpreter_test.cc
  };
  std::set<std::pair<std::string, std::string>> guarded;
  for (const Json& c : ReadCases()) {
    const OpInfo* op = FindOp(c["op"].get<std::string>());
    ASSERT_NE(op, nullptr) << c["op"];
    guarded.emplace(op->name, ClassOf(DataTypeOfCase(*op, c)));
    if (op->name != "cast") continue;
    guarded.emplace("cast to", ClassOf(*DataTypeOf(c["attributes"]["dtype"].get<std::string>())));
  }
  for (const OpInfo& op : AllOps()) {
    if (!op.has_evaluate || guarded_elsewhere.count(op.name) > 0) continue;
    for (const DataType dtype : op.dtypes) {
      EXPECT_EQ(guarded.count({std::string(op.name), ClassOf(dtype)}), 1u)
          << op.name << " of " << ClassOf(dtype) << ": add cases to tests/golden/make_golden.py";
      if (op.name != "cast") continue;
      EXPECT_EQ(guarded.count({"cast to", ClassOf(dtype)}), 1u)
          << "cast to " << ClassOf(dtype) << ": add cases to tests/golden/make_golden.py";
    }
  }
}

}  // namespace
}  // namespace weft
