#include "tests/conformance/random_graph.h"

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace weft {
namespace {

// Values are [rows, kColumns] in the middle of the graph; ops that change the shape come back to
// it.
constexpr int64_t kRows = 6, kColumns = 20;

class Generator {
 public:
  Generator(uint64_t seed, bool open) : random_(seed), graph_("random") {
    rows_ = open ? DimExpr::Symbol("n") : DimExpr(kRows);
    for (int i = 0; i < 3; ++i) AddInput({rows_, DimExpr(kColumns)}, {kRows, kColumns});
    AddInput({DimExpr(kColumns)}, {kColumns});
    AddInput({DimExpr(kColumns), DimExpr(kColumns)}, {kColumns, kColumns});
    values_ = {inputs_[0], inputs_[1], inputs_[2], Broadcast(inputs_[3], inputs_[0].shape())};
  }

  RandomGraph Make(int num_nodes) {
    while (graph_.NumNodes() < num_nodes) values_.push_back(Step());
    std::vector<std::pair<std::string, Tensor>> outputs;
    Tensor sum;
    for (size_t i = 0; i < 4; ++i) {
      Tensor value = values_[values_.size() - 1 - std::min(i * 2, values_.size() - 1)];
      outputs.emplace_back("y" + std::to_string(i), value);
      Tensor total = ReduceSum(value * value, {0, 1});
      sum = i == 0 ? total : sum + total;
    }
    graph_.AddSignature("run", outputs);
    outputs.clear();
    for (const Tensor& gradient : Gradients(sum, inputs_)) {
      outputs.emplace_back("dx" + std::to_string(outputs.size()), gradient);
    }
    graph_.AddSignature("gradient", outputs);
    return {std::move(graph_), std::move(feeds_)};
  }

 private:
  int64_t Draw(int64_t end) { return static_cast<int64_t>(random_() % end); }
  Tensor Any() { return values_[Draw(static_cast<int64_t>(values_.size()))]; }

  void AddInput(const Shape& shape, const std::vector<int64_t>& sizes) {
    const std::string name = "x" + std::to_string(inputs_.size());
    inputs_.push_back(
        graph_.Input(name, DataType::kF32, std::vector<Graph::Dim>(shape.begin(), shape.end())));
    HostTensor value = *HostTensor::Create(DataType::kF32, sizes);
    for (float& v : value.mutable_values<float>()) {
      v = static_cast<float>(Draw(1 << 20)) / (1 << 19) - 1;
    }
    feeds_[name] = value;
  }

  // One more value of [rows, kColumns], in [-1, 1] or so.
  Tensor Step() {
    Tensor a = Any(), b = Any();
    switch (Draw(24)) {
      case 0:
        return (a + b) * 0.5;
      case 1:
        return a * b;
      case 2:
        return a - b * 0.25;
      case 3:
        return Tanh(a + 0.3);
      case 4:
        return Logistic(a * 2.0) - 0.5;
      case 5:
        return Exp(a - 1.0) * 0.5;
      case 6:
        return Sqrt(a * a + 0.1);
      case 7:
        return a / (b * b + 1.0);
      case 8:
        // The condition is of an input: the same however `a` was rounded.
        return Select(Greater(inputs_[Draw(3)], 0.1), a, b);
      case 9:
        return Tanh(MatMul(a, inputs_[4], false, Draw(2) == 1) * 0.3);
      case 10:
        return a - ReduceSum(a, {1}, true) * 0.05;
      case 11:
        return b * ReduceMax(a, {1}, true) * 0.5;
      case 12:
        return a * 0.5 + ReduceSum(b, {0}) * 0.05;
      case 13: {  // softmax of the rows
        Tensor e = Exp(a - StopGradient(ReduceMax(a, {1}, true)));
        return e / ReduceSum(e, {1}, true);
      }
      case 14:
        return Tanh(MatMul(MatMul(a, b, false, true), Any()) * 0.05);
      case 15:
        return Transpose(Reshape(Transpose(a, {1, 0}), {DimExpr(kColumns), rows_}), {1, 0});
      case 16: {  // the halves change places
        Tensor left = Slice(a, {DimExpr(0), DimExpr(0)}, {rows_, DimExpr(7)}, {1, 1});
        Tensor right = Slice(b, {DimExpr(0), DimExpr(7)}, {rows_, DimExpr(kColumns)}, {1, 1});
        return Concat({right, left}, 1);
      }
      case 17: {
        Tensor inner = Slice(a, {DimExpr(0), DimExpr(2)}, {rows_, DimExpr(kColumns)}, {1, 1});
        return Pad(inner, 0.5, {DimExpr(0), DimExpr(2)}, {DimExpr(0), DimExpr(0)}, {0, 0});
      }
      case 18:
        return CumSum(a, 1, Draw(2) == 1, Draw(2) == 1) * 0.05 + b * 0.5;
      case 19: {  // softmax of quarters of the rows
        Tensor quarters = Reshape(Tanh(a), {rows_ * 4, DimExpr(5)});
        Tensor e = Exp(quarters - StopGradient(ReduceMax(quarters, {1}, true)));
        return Reshape(e / ReduceSum(e, {1}, true), {rows_, DimExpr(kColumns)}) + b * 0.5;
      }
      case 20: {
        Tensor halves = Reshape(a * 0.5, {rows_ * 2, DimExpr(10)});
        Tensor sum = ReduceSum(halves * halves, {0}) * 0.05;
        return Reshape(halves - sum, {rows_, DimExpr(kColumns)});
      }
      case 21: {
        Tensor line = Reshape(a, {rows_ * kColumns});
        return Reshape(Sqrt(line * line + 0.2), {rows_, DimExpr(kColumns)}) * 0.5;
      }
      case 22: {
        Tensor product = MatMul(a, inputs_[4]) * 0.1;
        return Tanh(product + Iota(graph_, a.shape(), 1, DataType::kF32) * 0.02);
      }
      default: {
        Tensor cube = Reshape(a, {rows_, DimExpr(4), DimExpr(5)});
        Tensor mean = ReduceSum(cube, {1}, true) * 0.25;
        return Reshape(cube - mean, {rows_, DimExpr(kColumns)});
      }
    }
  }

  std::mt19937_64 random_;
  Graph graph_;
  DimExpr rows_;
  TensorMap feeds_;
  std::vector<Tensor> inputs_, values_;
};

}  // namespace

RandomGraph MakeRandomGraph(uint64_t seed, int num_nodes, bool open) {
  return Generator(seed, open).Make(num_nodes);
}

}  // namespace weft
