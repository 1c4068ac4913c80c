// Matrix products and convolutions of f32, and their gradients, computed in tf32: as near to the
// exact values as compiler/api.h says.
#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "compiler/api.h"
#include "graph/interpreter.h"
#include "gtest/gtest.h"
#include "runtime/session.h"
#include "tests/conformance/targets.h"

namespace weft {
namespace {

using Shapes = std::vector<std::vector<int64_t>>;

// A contraction of two operands.
struct Case {
  const char* name;
  Shapes operands;
  std::vector<int64_t> result;
  std::function<Tensor(Tensor a, Tensor b)> op;
};

const Case kCases[] = {
    {"matmul", {{70, 83}, {83, 52}}, {70, 52}, [](Tensor a, Tensor b) { return MatMul(a, b); }},
    {"transposed",
     {{64, 96}, {40, 64}},
     {96, 40},
     [](Tensor a, Tensor b) { return MatMul(a, b, true, true); }},
    {"batches",
     {{3, 20, 36}, {3, 36, 24}},
     {3, 20, 24},
     [](Tensor a, Tensor b) { return MatMul(a, b); }},
    {"conv2d",
     {{2, 9, 8, 12}, {3, 3, 12, 20}},
     {2, 5, 8, 20},
     [](Tensor a, Tensor b) { return Conv2D(a, b, {2, 1}, {1, 1, 1, 1}, {1, 1}); }},
    {"groups",
     {{1, 6, 7, 10}, {2, 3, 5, 8}},
     {1, 5, 5, 8},
     [](Tensor a, Tensor b) { return Conv2D(a, b, {1, 1}, {0, 0, 0, 0}, {1, 1}, 2); }},
    {"depthwise",
     {{1, 6, 7, 8}, {2, 3, 1, 8}},
     {1, 5, 5, 8},
     [](Tensor a, Tensor b) { return Conv2D(a, b, {1, 1}, {0, 0, 0, 0}, {1, 1}, 8); }},
};

// The contraction and the gradients of both operands: each is linear in two of a, b and dy.
Graph Build(const Case& c, DataType dtype) {
  Graph graph;
  auto input = [&](const char* name, const std::vector<int64_t>& sizes) {
    return graph.Input(name, dtype, std::vector<Graph::Dim>(sizes.begin(), sizes.end()));
  };
  Tensor a = input("a", c.operands[0]), b = input("b", c.operands[1]), dy = input("dy", c.result);
  Tensor y = c.op(a, b);
  const std::vector<Tensor> gradients = Gradients(y, {a, b}, dy);
  graph.AddSignature("run", {{"y", y}, {"da", gradients[0]}, {"db", gradients[1]}});
  return graph;
}

HostTensor Normal(const std::vector<int64_t>& shape, unsigned seed) {
  HostTensor tensor = *HostTensor::Create(DataType::kF32, shape);
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  for (float& value : tensor.mutable_values<float>()) value = normal(engine);
  return tensor;
}

HostTensor Widened(const HostTensor& narrow, bool magnitudes) {
  HostTensor wide = *HostTensor::Create(DataType::kF64, narrow.shape());
  const auto from = narrow.values<float>();
  for (size_t i = 0; i < from.size(); ++i) {
    const double value = from[i];
    wide.mutable_values<double>()[i] = magnitudes ? std::fabs(value) : value;
  }
  return wide;
}

TEST(Tf32, IsAsExactAsItSays) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    const TensorMap feeds = {{"a", Normal(c.operands[0], 1)},
                             {"b", Normal(c.operands[1], 2)},
                             {"dy", Normal(c.result, 3)}};
    TensorMap wide, magnitudes;
    for (const auto& [name, value] : feeds) {
      wide[name] = Widened(value, false);
      magnitudes[name] = Widened(value, true);
    }
    const Graph exact_graph = Build(c, DataType::kF64), graph = Build(c, DataType::kF32);
    ASSERT_TRUE(exact_graph.status().ok()) << exact_graph.status();
    ASSERT_TRUE(graph.status().ok()) << graph.status();
    const auto exact = Interpreter(exact_graph).RunSignature("run", wide);
    // What the magnitudes of each sum's products come to.
    const auto sums = Interpreter(exact_graph).RunSignature("run", magnitudes);
    ASSERT_TRUE(exact.ok() && sums.ok()) << exact.status() << sums.status();
    for (const MatmulPrecision precision : {MatmulPrecision::kF32, MatmulPrecision::kTf32}) {
      const bool tf32 = precision == MatmulPrecision::kTf32;
      SCOPED_TRACE(tf32 ? "tf32" : "f32");
      CompileOptions options = OptionsOfTest();
      options.matmul_precision = precision;
      const auto package = CompilePackage(graph, options);
      ASSERT_TRUE(package.ok()) << package.status();
      auto session = Session::FromPackage(*package, {.threads = 1, .device = DeviceOfTest()});
      ASSERT_TRUE(session.ok()) << session.status();
      const auto results = (*session)->Run("run", NamedTensors(feeds.begin(), feeds.end()));
      ASSERT_TRUE(results.ok()) << results.status();
      for (const auto& [name, value] : *results) {
        SCOPED_TRACE(name);
        // Each operand is rounded by 2^-11 of it, and each partial sum, of one product or several,
        // by 2^-24 of what cannot be more than the magnitudes of all.
        const double rounding = tf32 ? 0x1p-10 + 0x1p-22 : 0;
        constexpr double kMostProducts = 256;
        const double adding = kMostProducts * 0x1p-24 * (1 + rounding);
        bool beyond_f32 = false;
        for (size_t i = 0; i < value.values<float>().size(); ++i) {
          const double sum = sums->at(name).values<double>()[i];
          const double error =
              std::fabs(double{value.values<float>()[i]} - exact->at(name).values<double>()[i]);
          ASSERT_LE(error, (rounding + adding) * sum) << i;
          beyond_f32 |= error > adding * sum;
        }
        // Depthwise stays in f32.
        EXPECT_EQ(beyond_f32, tf32 && c.name != std::string("depthwise"));
      }
    }
  }
}

}  // namespace
}  // namespace weft
