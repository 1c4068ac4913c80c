#include "tests/conformance/random_program.h"

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace weft {
namespace {

using Values = std::vector<Tensor>;

constexpr int64_t kColumns = 4;
// Of bodies within bodies.
constexpr int kMaxDepth = 2;

class Generator {
 public:
  Generator(uint64_t seed, bool open, int64_t rows) : random_(seed), graph_("program") {
    rows_ = open ? DimExpr::Symbol("n") : DimExpr(rows);
    for (int i = 0; i < 2; ++i) {
      const std::string name = "x" + std::to_string(i);
      inputs_.push_back(graph_.Input(name, DataType::kI32, {rows_, kColumns}));
      feeds_[name] = Small(rows);
    }
    for (int i = 0; i < 2 && !open; ++i) {
      variables_.push_back(graph_.AddVariable("v" + std::to_string(i), Small(rows)));
    }
  }

  RandomProgram Make(int num_steps) {
    Values values = inputs_;
    for (const Variable& variable : variables_) values.push_back(variable.Read());
    while (num_steps-- > 0) Add(values, 0);
    std::vector<std::pair<std::string, Tensor>> outputs;
    for (int i = 0; i < 3; ++i) outputs.emplace_back("y" + std::to_string(i), Recent(values, 9));
    Values targets;
    for (const Variable& variable : variables_) {
      targets.push_back(
          variable.Assign(Draw(3) == 0 ? Recent(values, 1 << 20) : Recent(values, 6)));
      // What is assigned may be an output as well.
      if (Draw(2) == 0) outputs.emplace_back(variable.name() + "_new", targets.back());
    }
    graph_.AddSignature("run", outputs, targets);
    return {std::move(graph_), std::move(feeds_)};
  }

 private:
  int64_t Draw(int64_t end) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(end)); }
  HostTensor Small(int64_t rows) {
    HostTensor tensor = *HostTensor::Create(DataType::kI32, {rows, kColumns});
    for (int32_t& v : tensor.mutable_values<int32_t>()) v = static_cast<int32_t>(Draw(7)) - 3;
    return tensor;
  }
  // One of the last few, so that what is made is used.
  Tensor Recent(const Values& values, int64_t count) {
    const auto size = static_cast<int64_t>(values.size());
    return values[static_cast<size_t>(size - 1 - Draw(std::min(size, count)))];
  }
  Shape Whole() const { return {rows_, kColumns}; }
  Tensor Spread(Tensor x) { return Broadcast(x, Whole()); }
  // Each element in [0, end).
  Tensor Within(Tensor x, double end) { return Rem(Rem(x, end) + end, end); }
  Tensor Total(Tensor x) { return ReduceSum(x, {0, 1}); }

  void Add(Values& values, int depth) {
    const Values added =
        depth < kMaxDepth && Draw(5) == 0 ? Body(values, depth) : Values{Step(values)};
    values.insert(values.end(), added.begin(), added.end());
  }

  // A branch or a loop on some of the values.
  Values Body(const Values& values, int depth) {
    Values operands(static_cast<size_t>(1 + Draw(3)));
    for (Tensor& operand : operands) operand = Recent(values, 8);
    if (Draw(2) == 0) {
      const auto results = static_cast<size_t>(1 + Draw(3));
      auto branch = [&] {
        Values inner = operands;
        for (int64_t n = Draw(5); n > 0; --n) Add(inner, depth + 1);
        Values chosen(results);
        for (Tensor& value : chosen) value = Recent(inner, 4);
        return chosen;
      };
      return Cond(Greater(Total(Recent(values, 8)), 0.0), branch, branch);
    }
    // A counter, carried values, and what the body uses besides.
    const double iterations = static_cast<double>(Draw(5));
    const size_t carried = operands.size();
    Values initial = {graph_.Constant(HostTensor::Scalar<int32_t>(0))};
    initial.insert(initial.end(), operands.begin(), operands.end());
    const Tensor captured = Recent(values, 8);
    Values results = While(
        initial, [&](const Values& v) { return Less(v[0], iterations); },
        [&](const Values& v) {
          Values inner(v.begin() + 1, v.end());
          if (Draw(2) == 0) inner.push_back(captured);
          for (int64_t n = Draw(5); n > 0; --n) Add(inner, depth + 1);
          Values next = {v[0] + 1.0};
          for (size_t i = 0; i < carried; ++i) next.push_back(Recent(inner, 5));
          return next;
        },
        Draw(2) == 0 ? 0 : 9);
    results.erase(results.begin());
    return results;
  }

  // One more value of [rows, kColumns].
  Tensor Step(const Values& values) {
    const Tensor a = Recent(values, 8), b = Recent(values, 8);
    switch (Draw(26)) {
      case 0:
        return a + b;
      case 1:
        return a - b;
      case 2:
        return a * b;
      case 3:
        return Maximum(a, b);
      case 4:
        return Minimum(a, b);
      case 5:
        return -a;
      case 6:
        return a / b;
      case 7:
        return Rem(a, b);
      case 8:
        return Draw(2) == 0 ? Xor(a, b) : And(Not(a), b);
      case 9:
        return Select(Greater(a, b), b, a);
      case 10:
        return Clamp(a, -5.0, b);
      case 11:
        return Reshape(Transpose(a, {1, 0}), Whole());
      case 12:
        return Reverse(a, {Draw(2)});
      case 13:
        return Spread(ReduceSum(a, {Draw(2)}, true)) + b;
      case 14:
        return Spread(ReduceMax(a, {Draw(2)}, true)) - b;
      case 15:
        return b - Spread(Total(a));
      case 16:
        return CumSum(a, Draw(2), Draw(2) == 0, Draw(2) == 0);
      case 17: {  // the halves change places, one upside down
        const Tensor left = Slice(a, {0, 0}, {rows_, 1}, {1, 1});
        const Tensor right = Slice(b, {0, 1}, {rows_, kColumns}, {1, 1});
        return Concat({Reverse(right, {0}), left}, 1);
      }
      case 18: {  // every other column, spread out again
        const Tensor some = Slice(a, {0, 0}, {rows_, kColumns}, {1, 2});
        return Pad(some, 1.0, {0, 0}, {0, 1}, {0, 1}) + b;
      }
      case 19:
        return MatMul(a, MatMul(b, a, true, false));
      case 20:  // indices that reach outside on both sides
        return Gather(a, Within(ReduceSum(b, {0}), 7.0) - 1.0, 1) * 2.0 +
               Slice(Concat({b, b, b}, 1), {0, 0}, {rows_, kColumns}, {1, 1});
      case 21: {
        const Tensor places = Within(ReduceSum(b, {1}), 7.0) - 1.0;
        return ScatterAdd(a, places, b);
      }
      case 22: {
        const Tensor hot = OneHot(Cast(ArgMax(a, 1), DataType::kI32), kColumns, DataType::kI32);
        return hot * b;
      }
      case 23:
        return Cast(Cast(a, Draw(2) == 0 ? DataType::kI8 : DataType::kI64), DataType::kI32) - b;
      case 24: {  // small enough to be exact in f32
        const Tensor image = Reshape(Cast(Within(a, 8.0), DataType::kF32), {1, rows_, kColumns, 1});
        HostTensor filter = *HostTensor::Create(DataType::kF32, {3, 3, 1, 1});
        for (float& v : filter.mutable_values<float>()) v = static_cast<float>(Draw(5)) - 2;
        const Tensor y = Conv2D(image, graph_.Constant(filter), {1, 1}, {1, 1, 1, 1}, {1, 1}, 1);
        return Cast(Reshape(y, Whole()), DataType::kI32) + b;
      }
      default:
        return Assert(ReduceAnd(Equal(a, a), {0, 1}), a, "equal to itself") + b;
    }
  }

  std::mt19937_64 random_;
  Graph graph_;
  DimExpr rows_;
  TensorMap feeds_;
  Values inputs_;
  std::vector<Variable> variables_;
};

}  // namespace

RandomProgram MakeRandomProgram(uint64_t seed, int num_steps, bool open, int64_t rows) {
  return Generator(seed, open, rows).Make(num_steps);
}

}  // namespace weft
