// Random graphs of ops that move elements, in whole numbers: every shape is another, dimensions of
// one view do not nest with those of the next, and results are exact. Where some dimensions are
// open, one package is run at several sizes, 0 among them. Compiled code agrees with the reference
// evaluator. A failure names the seed.
#include <algorithm>
#include <map>
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

// Of open dimensions.
using Sizes = std::map<std::string, int64_t>;

class Views {
 public:
  // Without open dimensions, or with "m" and "n".
  Views(uint64_t seed, bool open) : graph_("views"), open_(open), engine_(seed) {}

  void Build(int steps) {
    for (int i = 0; i < 3; ++i) {
      Shape shape;
      for (int64_t rank = Draw(1, 4); rank > 0; --rank) {
        shape.push_back(std::vector<int64_t>{1, 1, 2, 3, 4, 5, 6}[Draw(0, 6)]);
        if (open_ && Draw(0, 2) == 0) shape.back() = OpenSize();
      }
      // One that gives all open dimensions their sizes.
      if (open_ && i == 0) shape = {DimExpr::Symbol("n"), 2, DimExpr::Symbol("m")};
      values_.push_back(AddInput(shape, -100, 100));
    }
    for (int i = 0; i < steps; ++i) {
      const Tensor value = Step();
      ASSERT_TRUE(graph_.status().ok()) << graph_.status();
      if (value.valid() && *NumElements(value.shape()).Evaluate(Most()) <= kMaxElements) {
        values_.push_back(value);
      }
    }
    std::vector<std::pair<std::string, Tensor>> outputs;
    for (size_t i = values_.size(); i-- > 3 && outputs.size() < 5;) {
      if (outputs.size() < 2 || Draw(0, 2) == 0) {
        outputs.emplace_back("y" + std::to_string(outputs.size()), values_[i]);
      }
    }
    if (open_) outputs.emplace_back("sum", ReduceSum(values_[0], {1}));
    graph_.AddSignature("run", outputs);
  }

  const Graph& graph() const { return graph_; }

  TensorMap Feeds(const Sizes& sizes) {
    TensorMap feeds;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      std::vector<int64_t> shape;
      for (const DimExpr& dim : inputs_[i].shape) shape.push_back(*dim.Evaluate(sizes));
      HostTensor value = *HostTensor::Create(DataType::kI32, shape);
      for (int32_t& v : value.mutable_values<int32_t>()) {
        v = static_cast<int32_t>(Draw(inputs_[i].low, inputs_[i].high));
      }
      feeds["x" + std::to_string(i)] = std::move(value);
    }
    return feeds;
  }

 private:
  struct Input {
    Shape shape;
    int64_t low, high;
  };

  // The largest that are fed.
  static Sizes Most() { return {{"m", 5}, {"n", 4}}; }

  int64_t Draw(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine_);
  }
  DimExpr OpenSize() { return DimExpr::Symbol(Draw(0, 1) == 0 ? "m" : "n"); }
  Tensor AnyValue() {
    return values_[static_cast<size_t>(Draw(0, static_cast<int64_t>(values_.size()) - 1))];
  }

  Tensor AddInput(const Shape& shape, int64_t low, int64_t high) {
    inputs_.push_back({shape, low, high});
    return graph_.Input("x" + std::to_string(inputs_.size() - 1), DataType::kI32,
                        {shape.begin(), shape.end()});
  }

  // Other dimensions for the same elements.
  Shape Refactored(const Shape& shape) {
    Shape sizes;
    for (DimExpr dim : shape) {
      for (const int64_t factor : {2, 3, 5, 7}) {
        while (auto rest = DimExpr::DivideExactly(dim, factor)) {
          sizes.push_back(factor);
          dim = *rest;
        }
      }
      if (dim != DimExpr(1)) sizes.push_back(dim);
    }
    std::shuffle(sizes.begin(), sizes.end(), engine_);
    while (sizes.size() > 1 && (sizes.size() > 4 || Draw(0, 2) > 0)) {
      const auto at = static_cast<size_t>(Draw(0, static_cast<int64_t>(sizes.size()) - 2));
      sizes[at] = sizes[at] * sizes[at + 1];
      sizes.erase(sizes.begin() + static_cast<int64_t>(at) + 1);
    }
    if (Draw(0, 3) == 0) {
      sizes.insert(sizes.begin() + Draw(0, static_cast<int64_t>(sizes.size())), 1);
    }
    return sizes;
  }

  Tensor Step() {
    const Tensor x = AnyValue();
    const Shape shape = x.shape();
    const auto rank = static_cast<int64_t>(shape.size());
    const int64_t axis = rank == 0 ? 0 : Draw(0, rank - 1);
    switch (Draw(0, 11)) {
      case 0:
      case 1:
        return Reshape(x, Refactored(shape));
      case 2:
      case 3: {
        Shape to = shape;
        for (DimExpr& size : to) {
          if (size != DimExpr(1)) continue;
          size = open_ && Draw(0, 3) == 0 ? OpenSize() : DimExpr(Draw(1, 5));
        }
        if (rank < 4 && Draw(0, 2) == 0) to.insert(to.begin(), Draw(1, 4));
        return Broadcast(x, to);
      }
      case 4: {
        std::vector<int64_t> permutation(shape.size());
        std::iota(permutation.begin(), permutation.end(), 0);
        std::shuffle(permutation.begin(), permutation.end(), engine_);
        return Transpose(x, permutation);
      }
      case 5: {
        Shape starts, limits;
        std::vector<int64_t> steps;
        for (const DimExpr& size : shape) {
          const int64_t known = size.Constant().value_or(0);
          const int64_t start = known > 0 ? Draw(0, known - 1) : 0;
          starts.push_back(start);
          limits.push_back(known > 0 ? DimExpr(Draw(start + 1, known)) : size);
          steps.push_back(Draw(1, 2));
        }
        return Slice(x, starts, limits, steps);
      }
      case 6:
        return rank == 0 ? Tensor() : Reverse(x, {axis});
      case 7: {
        Shape low, high;
        std::vector<int64_t> interior;
        for (size_t i = 0; i < shape.size(); ++i) {
          low.push_back(Draw(0, 1));
          high.push_back(Draw(0, 2));
          interior.push_back(Draw(0, 5) == 0 ? 1 : 0);
        }
        return Pad(x, int32_t{7}, low, high, interior);
      }
      case 8:
        return rank == 0 ? Tensor() : Concat({x, Reverse(x, {axis}), x}, axis);
      case 9: {
        if (rank == 0) return Tensor();
        Shape indices;
        for (int64_t left = Draw(0, 2); left > 0; --left) indices.push_back(Draw(1, 5));
        const int64_t high = *shape[static_cast<size_t>(axis)].Evaluate(Most());
        return Gather(x, AddInput(indices, -1, high), axis);
      }
      case 10:
        return rank == 0 ? Tensor() : ReduceSum(x, {axis}, Draw(0, 1) == 0);
      default: {
        // With another of as many elements, or itself in another order.
        for (int tries = 0; tries < 8; ++tries) {
          const Tensor y = AnyValue();
          if (NumElements(y.shape()) == NumElements(shape)) {
            return x * int32_t{3} - Reshape(y, shape);
          }
        }
        return x * x;
      }
    }
  }

  Graph graph_;
  const bool open_;
  std::vector<Input> inputs_;
  std::mt19937_64 engine_;
  std::vector<Tensor> values_;
};

void Compare(uint64_t seed, bool open) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Views views(seed, open);
  views.Build(14);
  ASSERT_TRUE(views.graph().status().ok()) << views.graph().status();
  const auto package = CompilePackage(views.graph(), OptionsOfTest());
  ASSERT_TRUE(package.ok()) << package.status();
  const auto session = Session::FromPackage(*package, {.threads = 1, .device = DeviceOfTest()});
  ASSERT_TRUE(session.ok()) << session.status();
  Interpreter interpreter(views.graph());
  const auto signatures = (*session)->Signatures();
  std::vector<Sizes> all = {{{"m", 5}, {"n", 4}}};
  if (open) {
    all.insert(all.end(), {{{"m", 0}, {"n", 3}}, {{"m", 2}, {"n", 0}}, {{"m", 1}, {"n", 1}}});
  }
  for (const Sizes& sizes : all) {
    SCOPED_TRACE("m " + std::to_string(sizes.at("m")) + ", n " + std::to_string(sizes.at("n")));
    const TensorMap given = views.Feeds(sizes);
    NamedTensors feeds;
    for (const auto& input : signatures.at(0).inputs) feeds[input.name] = given.at(input.name);
    const auto reference = interpreter.RunSignature("run", given);
    ASSERT_TRUE(reference.ok()) << reference.status();
    const auto compiled = (*session)->Run("run", feeds);
    ASSERT_TRUE(compiled.ok()) << compiled.status();
    for (const auto& [name, value] : *reference) {
      EXPECT_EQ(compiled->at(name).ToString(1 << 12), value.ToString(1 << 12)) << name;
    }
  }
}

using RandomViews = TargetTest;

TEST_F(RandomViews, CompiledAgreeWithTheReference) {
  for (uint64_t seed = 1; seed <= 250 && !HasFailure(); ++seed) Compare(seed, /*open=*/false);
}

TEST_F(RandomViews, OpenOnesAgreeAtEverySize) {
  for (uint64_t seed = 1; seed <= 200 && !HasFailure(); ++seed) Compare(seed, /*open=*/true);
}

}  // namespace
}  // namespace weft
