// Element-wise ops at the numbers where code goes wrong: infinities, NaN, both zeros, subnormal
// numbers, the ends of the range, halves between whole numbers, the extremes of integers, and all
// pairs and triples of them. The rules are those of graph/ops/elementwise.td: what is NaN in the
// reference is NaN, infinities are the same, exact ops give the same number and the same zero, the
// others may give 0 for what is subnormal and either zero, and are else as near as the table says.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "compiler/api.h"
#include "graph/interpreter.h"
#include "graph/ir/op_call.h"
#include "graph/ops/op_info.h"
#include "graph/reference/elementwise.h"
#include "gtest/gtest.h"
#include "runtime/session.h"
#include "tests/conformance/targets.h"
#include "tests/conformance/tolerance.h"

namespace weft {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

std::vector<double> SpecialFloats(DataType dtype) {
  const FloatFormat format = FormatOf(dtype);
  const double smallest = std::ldexp(1, format.lowest), unit = std::ldexp(1, -format.bits);
  const double largest = std::ldexp(2 - unit, format.highest);
  // 88.5 and 709: about where exp ends; 103 and 745: where its subnormal results do.
  std::vector<double> values = {0,
                                0.3,
                                0.5,
                                1,
                                1 + unit,
                                1.5,
                                2,
                                2.5,
                                3,
                                17,
                                20,
                                88.5,
                                103,
                                709,
                                745,
                                5e4,
                                smallest,
                                smallest * unit,
                                smallest * (1 - unit),
                                smallest * 1.5,
                                std::ldexp(1, format.bits) - 0.5,
                                std::ldexp(1, format.bits + 1) - 1,
                                largest / 2,
                                largest,
                                kInf};
  for (size_t i = values.size(); i-- > 0;) values.push_back(-values[i]);
  values.push_back(std::nan(""));
  return values;
}

std::vector<int64_t> SpecialInts(DataType dtype) {
  int64_t low = std::numeric_limits<int64_t>::min(), high = std::numeric_limits<int64_t>::max();
  if (dtype == DataType::kI32) low = INT32_MIN, high = INT32_MAX;
  if (dtype == DataType::kI8) low = INT8_MIN, high = INT8_MAX;
  if (dtype == DataType::kU8) low = 0, high = UINT8_MAX;
  std::vector<int64_t> values = {0, 1, 2, 3, 7, 100, low, low + 1, high / 2, high - 1, high};
  if (low < 0) values.insert(values.end(), {-1, -2, -3, -7, -100, low / 2});
  return values;
}

// The special values of a dtype as a vector.
HostTensor Specials(DataType dtype) {
  if (dtype == DataType::kBool) return HostTensor::Of<bool>({2}, {false, true});
  if (IsFloat(dtype)) {
    const std::vector<double> values = SpecialFloats(dtype);
    HostTensor tensor = *HostTensor::Create(DataType::kF64, {static_cast<int64_t>(values.size())});
    std::copy(values.begin(), values.end(), tensor.mutable_values<double>().begin());
    return *reference::Cast(tensor, dtype);
  }
  const std::vector<int64_t> values = SpecialInts(dtype);
  HostTensor tensor = *HostTensor::Create(DataType::kI64, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.mutable_values<int64_t>().begin());
  return *reference::Cast(tensor, dtype);
}

// Operand `index` of tensors that hold together every combination of the operands' values.
HostTensor Combined(const std::vector<HostTensor>& values, size_t index) {
  int64_t total = 1, inner = 1;
  for (size_t i = 0; i < values.size(); ++i) {
    total *= values[i].num_elements();
    if (i > index) inner *= values[i].num_elements();
  }
  const HostTensor& of = values[index];
  HostTensor combined = *HostTensor::Create(of.dtype(), {total});
  const size_t size = SizeOf(of.dtype());
  for (int64_t i = 0; i < total; ++i) {
    std::copy_n(static_cast<const char*>(of.data()) + (i / inner % of.num_elements()) * size, size,
                static_cast<char*>(combined.mutable_data()) + i * size);
  }
  return combined;
}

// Ops whose results are exact, or are one of the operands: zeros and subnormal numbers included.
bool IsExact(const OpInfo& op) {
  static const std::set<std::string_view> kExact = {
      "add",   "sub",  "mul",   "div",   "neg",    "abs",  "sqrt",
      "floor", "ceil", "round", "trunc", "select", "cast", "stop_gradient"};
  return kExact.contains(op.name);
}

// Ops that may give either zero, as the table says, and are exact otherwise.
bool IsExactButForZeros(const OpInfo& op) {
  return op.name == "maximum" || op.name == "minimum" || op.name == "clamp" || op.name == "sign";
}

bool Agree(const OpInfo& op, DataType dtype, double x, double y) {
  if (std::isnan(y)) return std::isnan(x);
  if (x == 0 && y == 0 && IsExact(op)) return std::signbit(x) == std::signbit(y);
  if (x == y) return true;
  if (!std::isfinite(x) || !std::isfinite(y)) return false;
  if (IsExact(op) || IsExactButForZeros(op)) return false;
  const double smallest = std::ldexp(1, FormatOf(dtype).lowest);
  if (x == 0 && std::fabs(y) < smallest) return true;
  // What is computed in f32 is rounded once more.
  const double ulps = SizeOf(dtype) == 2 ? std::min(op.test.ulps, 1) : op.test.ulps;
  return std::fabs(x - y) <= ulps * UnitInLastPlace(dtype, std::max(std::fabs(y), op.test.scale));
}

class SpecialValues : public TargetTest, public testing::WithParamInterface<std::string> {};

TEST_P(SpecialValues, CompiledCodeAgreesWithTheReference) {
  const OpInfo& op = *FindOp(GetParam());
  Graph graph("special");
  TensorMap feeds;
  std::vector<std::pair<std::string, Tensor>> outputs;
  for (DataType dtype : op.dtypes) {
    std::vector<HostTensor> values;
    for (const OperandInfo& operand : op.operands) {
      values.push_back(Specials(operand.name == "condition" ? DataType::kBool : dtype));
    }
    std::vector<Tensor> inputs;
    for (size_t i = 0; i < values.size(); ++i) {
      const std::string name = absl::StrCat(std::string(NameOf(dtype)), "_", i);
      feeds[name] = Combined(values, i);
      inputs.push_back(graph.Input(name, values[i].dtype(), {feeds[name].shape()[0]}));
    }
    // The types that results may have, where an attribute says so.
    std::vector<DataType> results = {DataType::kInvalid};
    if (op.result_dtype == "attribute") results.assign(op.dtypes.begin(), op.dtypes.end());
    for (DataType result : results) {
      ir::OpCall call(op.index);
      for (const Tensor& input : inputs) call.Take(input);
      if (result != DataType::kInvalid) call.DType("dtype", result);
      const std::string name =
          absl::StrCat(std::string(NameOf(dtype)),
                       result == DataType::kInvalid ? "" : "_to_" + std::string(NameOf(result)));
      outputs.emplace_back(name, call.Build().at(0));
    }
  }
  graph.AddSignature("run", outputs);
  ASSERT_TRUE(graph.status().ok()) << graph.status();

  const auto package = CompilePackage(graph, OptionsOfTest());
  ASSERT_TRUE(package.ok()) << package.status();
  const auto session = Session::FromPackage(*package, {.threads = 1, .device = DeviceOfTest()});
  ASSERT_TRUE(session.ok()) << session.status();
  const auto reference = Interpreter(graph).RunSignature("run", feeds);
  ASSERT_TRUE(reference.ok()) << reference.status();
  const auto compiled = (*session)->Run("run", {feeds.begin(), feeds.end()});
  ASSERT_TRUE(compiled.ok()) << compiled.status();

  for (const auto& [name, expected] : *reference) {
    const HostTensor& got = compiled->at(name);
    if (!IsFloat(expected.dtype())) {
      for (int64_t i = 0; i < expected.num_elements(); ++i) {
        const size_t size = SizeOf(expected.dtype());
        if (std::equal(static_cast<const char*>(got.data()) + i * size,
                       static_cast<const char*>(got.data()) + (i + 1) * size,
                       static_cast<const char*>(expected.data()) + i * size)) {
          continue;
        }
        ADD_FAILURE() << name << " differs at element " << i;
        break;
      }
      continue;
    }
    const HostTensor x = *reference::Cast(got, DataType::kF64);
    const HostTensor y = *reference::Cast(expected, DataType::kF64);
    int failures = 0;
    for (int64_t i = 0; i < y.num_elements() && failures < 5; ++i) {
      const double a = x.values<double>()[i], b = y.values<double>()[i];
      if (Agree(op, expected.dtype(), a, b)) continue;
      ++failures;
      std::string operands;
      for (size_t k = 0; k < op.operands.size(); ++k) {
        const std::string input = absl::StrCat(name.substr(0, name.find('_')), "_", k);
        const HostTensor operand = *reference::Cast(feeds.at(input), DataType::kF64);
        absl::StrAppend(&operands, k == 0 ? "" : ", ", operand.values<double>()[i]);
      }
      ADD_FAILURE() << op.name << "(" << operands << ") in " << name << " is " << a
                    << ", the reference " << b;
    }
  }
}

std::vector<std::string> ElementwiseOps() {
  std::vector<std::string> names;
  for (const OpInfo& op : AllOps()) {
    if (op.elementwise) names.emplace_back(op.name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(Ops, SpecialValues, testing::ValuesIn(ElementwiseOps()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace weft
