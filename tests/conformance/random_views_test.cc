// Random graphs of ops that move elements, in whole numbers: every shape is another, dimensions of
// one view do not nest with those of the next, and results are exact. Compiled code agrees with the
// reference evaluator. A failure names the seed.
#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "compiler/api.h"
#include "graph/graph.h"
#include "graph/interpreter.h"
#include "gtest/gtest.h"
#include "runtime/session.h"
#include "tests/conformance/targets.h"

namespace weft {
namespace {

constexpr int64_t kMaxElements = 600;

class Views {
 public:
  explicit Views(uint64_t seed) : graph_("views"), engine_(seed) {}

  void Build(int steps) {
    for (int i = 0; i < 3; ++i) {
      std::vector<int64_t> shape;
      for (int64_t rank = Draw(1, 4); rank > 0; --rank) {
        shape.push_back(std::vector<int64_t>{1, 1, 2, 3, 4, 5, 6}[Draw(0, 6)]);
      }
      values_.push_back(AddInput(shape, -100, 100));
    }
    for (int i = 0; i < steps; ++i) {
      const Tensor value = Step();
      ASSERT_TRUE(graph_.status().ok()) << graph_.status();
      if (value.valid() && Elements(value) <= kMaxElements) values_.push_back(value);
    }
    std::vector<std::pair<std::string, Tensor>> outputs;
    for (size_t i = values_.size(); i-- > 3 && outputs.size() < 5;) {
      if (outputs.size() < 2 || Draw(0, 2) == 0) {
        outputs.emplace_back("y" + std::to_string(outputs.size()), values_[i]);
      }
    }
    graph_.AddSignature("run", outputs);
  }

  const Graph& graph() const { return graph_; }
  const TensorMap& feeds() const { return feeds_; }

 private:
  int64_t Draw(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine_);
  }
  static std::vector<int64_t> SizesOf(const Tensor& x) {
    std::vector<int64_t> sizes;
    for (const DimExpr& dim : x.shape()) sizes.push_back(*dim.Constant());
    return sizes;
  }
  static Shape ShapeOf(const std::vector<int64_t>& sizes) { return {sizes.begin(), sizes.end()}; }
  static int64_t Elements(const Tensor& x) {
    const std::vector<int64_t> sizes = SizesOf(x);
    return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
  }

  Tensor AddInput(const std::vector<int64_t>& sizes, int64_t low, int64_t high) {
    const std::string name = "x" + std::to_string(feeds_.size());
    HostTensor value = *HostTensor::Create(DataType::kI32, sizes);
    for (int32_t& v : value.mutable_values<int32_t>()) v = static_cast<int32_t>(Draw(low, high));
    feeds_[name] = std::move(value);
    return graph_.Input(name, DataType::kI32, {sizes.begin(), sizes.end()});
  }

  // Other dimensions for the same elements.
  Shape Refactored(int64_t elements) {
    std::vector<int64_t> sizes;
    for (int64_t factor = 2; elements > 1; ++factor) {
      for (; elements % factor == 0; elements /= factor) sizes.push_back(factor);
    }
    std::shuffle(sizes.begin(), sizes.end(), engine_);
    while (sizes.size() > 1 && (sizes.size() > 4 || Draw(0, 2) > 0)) {
      const auto at = static_cast<size_t>(Draw(0, static_cast<int64_t>(sizes.size()) - 2));
      sizes[at] *= sizes[at + 1];
      sizes.erase(sizes.begin() + static_cast<int64_t>(at) + 1);
    }
    if (Draw(0, 3) == 0)
      sizes.insert(sizes.begin() + Draw(0, static_cast<int64_t>(sizes.size())), 1);
    return ShapeOf(sizes);
  }

  Tensor Step() {
    const Tensor x =
        values_[static_cast<size_t>(Draw(0, static_cast<int64_t>(values_.size()) - 1))];
    const std::vector<int64_t> sizes = SizesOf(x);
    const auto rank = static_cast<int64_t>(sizes.size());
    const int64_t axis = rank == 0 ? 0 : Draw(0, rank - 1);
    switch (Draw(0, 11)) {
      case 0:
      case 1:
        return Reshape(x, Refactored(Elements(x)));
      case 2:
      case 3: {
        std::vector<int64_t> to = sizes;
        for (int64_t& size : to) {
          if (size == 1) size = Draw(1, 5);
        }
        if (rank < 4 && Draw(0, 2) == 0) to.insert(to.begin(), Draw(1, 4));
        return Broadcast(x, ShapeOf(to));
      }
      case 4: {
        std::vector<int64_t> permutation(sizes.size());
        std::iota(permutation.begin(), permutation.end(), 0);
        std::shuffle(permutation.begin(), permutation.end(), engine_);
        return Transpose(x, permutation);
      }
      case 5: {
        std::vector<int64_t> starts, limits, steps;
        for (const int64_t size : sizes) {
          starts.push_back(Draw(0, size - 1));
          limits.push_back(Draw(starts.back() + 1, size));
          steps.push_back(Draw(1, 2));
        }
        return Slice(x, ShapeOf(starts), ShapeOf(limits), steps);
      }
      case 6:
        return rank == 0 ? Tensor() : Reverse(x, {axis});
      case 7: {
        std::vector<int64_t> low, high, interior;
        for (size_t i = 0; i < sizes.size(); ++i) {
          low.push_back(Draw(0, 1));
          high.push_back(Draw(0, 2));
          interior.push_back(Draw(0, 5) == 0 ? 1 : 0);
        }
        return Pad(x, int32_t{7}, ShapeOf(low), ShapeOf(high), interior);
      }
      case 8:
        return rank == 0 ? Tensor() : Concat({x, Reverse(x, {axis}), x}, axis);
      case 9: {
        if (rank == 0) return Tensor();
        std::vector<int64_t> shape(static_cast<size_t>(Draw(0, 2)));
        for (int64_t& size : shape) size = Draw(1, 5);
        return Gather(x, AddInput(shape, -1, sizes[static_cast<size_t>(axis)]), axis);
      }
      case 10:
        return rank == 0 ? Tensor() : ReduceSum(x, {axis}, Draw(0, 1) == 0);
      default: {
        // With another of as many elements, or itself in another order.
        for (int tries = 0; tries < 8; ++tries) {
          const Tensor y =
              values_[static_cast<size_t>(Draw(0, static_cast<int64_t>(values_.size()) - 1))];
          if (Elements(y) == Elements(x)) return x * int32_t{3} - Reshape(y, ShapeOf(sizes));
        }
        return x * x;
      }
    }
  }

  Graph graph_;
  TensorMap feeds_;
  std::mt19937_64 engine_;
  std::vector<Tensor> values_;
};

void Compare(uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Views views(seed);
  views.Build(14);
  ASSERT_TRUE(views.graph().status().ok()) << views.graph().status();
  const auto package = CompilePackage(views.graph(), OptionsOfTest());
  ASSERT_TRUE(package.ok()) << package.status();
  const auto session = Session::FromPackage(*package, {.threads = 1, .device = DeviceOfTest()});
  ASSERT_TRUE(session.ok()) << session.status();
  NamedTensors feeds;
  const auto signatures = (*session)->Signatures();
  for (const auto& input : signatures.at(0).inputs) {
    feeds[input.name] = views.feeds().at(input.name);
  }
  Interpreter interpreter(views.graph());
  const auto reference = interpreter.RunSignature("run", views.feeds());
  ASSERT_TRUE(reference.ok()) << reference.status();
  const auto compiled = (*session)->Run("run", feeds);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  for (const auto& [name, value] : *reference) {
    EXPECT_EQ(compiled->at(name).ToString(1 << 12), value.ToString(1 << 12)) << name;
  }
}

TEST(RandomViews, CompiledAgreeWithTheReference) {
  for (uint64_t seed = 1; seed <= 400 && !HasFailure(); ++seed) Compare(seed);
}

}  // namespace
}  // namespace weft
