// Indices that name nothing mean the same everywhere: gather gives 0, scatter_add drops, one_hot
// gives zeros, by the reference evaluator, by folding at compile time, and by compiled code of
// every target, whatever the index is.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "compiler/api.h"
#include "compiler/pass_runner.h"
#include "graph/graph.h"
#include "graph/interpreter.h"
#include "runtime/session.h"
#include "tests/conformance/targets.h"

namespace weft {
namespace {

constexpr int64_t kRows = 4;

template <typename T>
HostTensor Indices() {
  std::vector<T> indices = {
      0, 3, 1, 2, 4, 100, std::numeric_limits<T>::max(), std::numeric_limits<T>::min()};
  if constexpr (std::is_signed_v<T>) {
    indices.insert(indices.end(), {-1, -2, -3, -4, -5});
  }
  if constexpr (sizeof(T) == 8) {
    // Of which the low 32 bits, or 31, are those of an index that is there.
    for (const int64_t high : {int64_t{1} << 31, int64_t{1} << 32, int64_t{1} << 62}) {
      for (const int64_t low : {0, 1, 3}) {
        indices.push_back(high + low);
        indices.push_back(-high + low);
      }
    }
    // Of which the offset in bytes wraps around to that of an index that is there.
    for (const int64_t element : {4, 12}) {
      indices.push_back(std::numeric_limits<int64_t>::max() / element + 1);
      indices.push_back(std::numeric_limits<int64_t>::min() / element);
    }
  }
  return HostTensor::Of<T>({static_cast<int64_t>(indices.size())}, indices);
}

HostTensor Ramp(const std::vector<int64_t>& shape, float start) {
  HostTensor tensor = *HostTensor::Create(DataType::kF32, shape);
  for (float& value : tensor.mutable_values<float>()) value = start++;
  return tensor;
}

// Results of one gather, scatter_add and one_hot, alone and among other ops. `constant`: indices
// and data are in the graph. `open`: sizes are known only when it runs.
Graph Model(const NamedTensors& feeds, bool constant, bool open) {
  Graph graph("indices");
  const auto input = [&](const std::string& name, const std::vector<std::string>& dims) {
    const HostTensor& value = feeds.at(name);
    if (constant) return graph.Constant(value);
    std::vector<Graph::Dim> shape;
    for (size_t i = 0; i < dims.size(); ++i) {
      shape.push_back(open ? Graph::Dim(DimExpr::Symbol(dims[i])) : Graph::Dim(value.shape()[i]));
    }
    return graph.Input(name, value.dtype(), shape);
  };
  Tensor indices = input("indices", {"count"});
  Tensor data = input("data", {"rows", "columns"});
  Tensor updates = input("updates", {"count", "columns"});
  std::vector<std::pair<std::string, Tensor>> outputs = {
      {"one_hot", OneHot(indices, DimExpr(kRows), DataType::kF32)},
      {"one_hot_i8", OneHot(indices, DimExpr(kRows), DataType::kI8)},
  };
  if (indices.dtype() != DataType::kU8) {
    Tensor rows = Gather(data, indices, 0);
    outputs.insert(outputs.end(),
                   {{"rows", rows},
                    {"columns", Gather(data, indices, 1)},
                    {"doubled", Gather(data + data, indices, 0) * 2.0},
                    {"bytes", Gather(Cast(data, DataType::kU8), indices, 0)},
                    {"scattered", ScatterAdd(data, indices, updates)},
                    {"gradient", Gradients(ReduceSum(rows * updates, {0, 1}), {data})[0]}});
  }
  graph.AddSignature("f", outputs);
  return graph;
}

std::string Bits(const HostTensor& tensor) {
  return {static_cast<const char*>(tensor.data()), tensor.size_bytes()};
}

template <typename T>
void ExpectTheSame(const std::string& target) {
  const HostTensor indices = Indices<T>();
  const int64_t count = indices.num_elements();
  const NamedTensors all = {
      {"indices", indices}, {"data", Ramp({kRows, 3}, 1)}, {"updates", Ramp({count, 3}, -5)}};
  NamedTensors expected;
  for (const bool constant : {false, true}) {
    for (const bool open : {false, true}) {
      if (constant && open) continue;
      const Graph graph = Model(all, constant, open);
      ASSERT_TRUE(graph.status().ok()) << graph.status();
      const NamedTensors feeds = constant ? NamedTensors() : all;
      Interpreter interpreter(graph);
      absl::StatusOr<TensorMap> reference = interpreter.RunSignature("f", feeds);
      ASSERT_TRUE(reference.ok()) << reference.status();
      if (expected.empty()) expected = *reference;
      for (const bool optimised : {true, false}) {
        SCOPED_TRACE(target + (constant ? ", constant" : "") + (open ? ", open" : "") +
                     (optimised ? "" : ", without passes"));
        CompileOptions options;
        options.targets = {target};
        if (!optimised) options.disabled_passes = OptionalPasses();
        absl::StatusOr<std::string> package = CompilePackage(graph, options);
        ASSERT_TRUE(package.ok()) << package.status();
        auto session = Session::FromPackage(*package, {.threads = 2, .device = DeviceFor(target)});
        ASSERT_TRUE(session.ok()) << session.status();
        NamedTensors needed;
        for (const auto& signature : (*session)->Signatures()) {
          for (const auto& value : signature.inputs) needed[value.name] = feeds.at(value.name);
        }
        auto outputs = (*session)->Run("f", needed);
        ASSERT_TRUE(outputs.ok()) << outputs.status();
        for (const auto& [name, value] : expected) {
          EXPECT_TRUE(Bits(outputs->at(name)) == Bits(value))
              << name << " is " << outputs->at(name).ToString(100) << "\n  instead of "
              << value.ToString(100);
        }
      }
    }
  }
  // And that is what has to come out: a one for each index inside.
  for (int64_t i = 0; i < count; ++i) {
    const auto index = static_cast<int64_t>(indices.values<T>()[i]);
    for (int64_t column = 0; column < kRows; ++column) {
      EXPECT_EQ(expected.at("one_hot").values<float>()[i * kRows + column],
                index == column ? 1.0f : 0.0f)
          << "index " << index;
    }
  }
}

using IndicesTest = EachTargetTest;

INSTANTIATE_TEST_SUITE_P(Targets, IndicesTest,
                         testing::Values("cpu:native", "cpu:x86-64-v3", "cpu:x86-64-v4",
                                         "cuda:sm_80"),
                         NameOfTarget);

TEST_P(IndicesTest, I64) { ExpectTheSame<int64_t>(GetParam()); }
TEST_P(IndicesTest, I32) { ExpectTheSame<int32_t>(GetParam()); }
TEST_P(IndicesTest, U8) { ExpectTheSame<uint8_t>(GetParam()); }

}  // namespace
}  // namespace weft
