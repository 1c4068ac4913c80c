// First and second derivatives of every differentiable op against central finite differences, in
// f64 and through the reference evaluator. The cases come from the op table (tests/ops).
//
// For random weights w and directions v, F(x) = sum w * op(x) is a function into the numbers, and
// so is G(x) = sum_i v_i . dF/dx_i(x), built by Gradients(). dF/dx and dG/dx as graphs are compared
// with (F(x + h e) - F(x - h e)) / 2h and the same of G, element by element.
#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "graph/interpreter.h"
#include "gtest/gtest.h"
#include "tests/ops/op_cases.h"

namespace weft {
namespace {

constexpr double kStep = 1e-5;
// The error of the difference quotient: about kStep^2 of truncation and 1e-16 / kStep of rounding,
// times what the third derivatives and the values amount to.
constexpr double kTolerance = 2e-6;

HostTensor Weights(const std::vector<int64_t>& shape, double phase) {
  HostTensor weights = *HostTensor::Create(DataType::kF64, shape);
  double angle = phase;
  for (double& value : weights.mutable_values<double>()) value = std::cos(angle += 1.7) + 0.2;
  return weights;
}

std::vector<int64_t> StaticShape(const Tensor& x) {
  std::vector<int64_t> shape;
  for (const DimExpr& dim : x.shape()) shape.push_back(*dim.Constant());
  return shape;
}

std::vector<int64_t> AllAxes(const Tensor& x) {
  std::vector<int64_t> axes;
  for (int64_t axis = 0; axis < x.rank(); ++axis) axes.push_back(axis);
  return axes;
}

// sum x * weights
Tensor Weighted(Graph& graph, Tensor x, double phase) {
  return ReduceSum(x * graph.Constant(Weights(StaticShape(x), phase)), AllAxes(x));
}

// A function of several float inputs into the numbers, and its gradients as a graph.
struct Function {
  Tensor value;
  std::vector<Tensor> gradients;
};

class Checker {
 public:
  explicit Checker(const OpCase& c) : case_(c), graph_("check") {
    for (size_t i = 0; i < c.inputs.size(); ++i) {
      Tensor x = MakeInput(graph_, c, i, DataType::kF64);
      inputs_.push_back(x);
      feeds_["x" + std::to_string(i)] = DrawInput(c, i, DataType::kF64);
      if (IsFloat(x.dtype())) {
        floats_.push_back(i);
        xs_.push_back(x);
      }
    }
  }

  void Run() {
    Tensor y = case_.build(graph_, inputs_)[0];
    ASSERT_TRUE(graph_.status().ok()) << graph_.status();
    ASSERT_TRUE(IsFloat(y.dtype())) << "a differentiable op gives floats";
    first_.value = Weighted(graph_, y, 0.3);
    first_.gradients = Gradients(first_.value, xs_);
    ASSERT_TRUE(graph_.status().ok()) << graph_.status();
    second_.value = Weighted(graph_, first_.gradients[0], 1.1);
    for (size_t i = 1; i < xs_.size(); ++i) {
      second_.value = second_.value + Weighted(graph_, first_.gradients[i], 1.1 + i);
    }
    second_.gradients = Gradients(second_.value, xs_);
    ASSERT_TRUE(graph_.status().ok()) << graph_.status();
    Compare(first_, "first");
    Compare(second_, "second");
  }

 private:
  double Evaluate(const Tensor& value, const TensorMap& feeds) {
    const auto result = EvaluateGraph(graph_, feeds, {value});
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? (*result)[0].values<double>()[0] : std::nan("");
  }

  void Compare(const Function& f, const char* order) {
    const auto gradients = EvaluateGraph(graph_, feeds_, f.gradients);
    ASSERT_TRUE(gradients.ok()) << gradients.status();
    for (size_t k = 0; k < floats_.size(); ++k) {
      const std::string name = "x" + std::to_string(floats_[k]);
      const HostTensor& gradient = (*gradients)[k];
      ASSERT_EQ(gradient.shape(), feeds_[name].shape()) << order << " of " << name;
      for (int64_t e = 0; e < gradient.num_elements(); ++e) {
        auto at = [&](double step) {
          TensorMap moved = feeds_;
          moved[name] = moved[name].Clone();
          moved[name].mutable_values<double>()[e] += step;
          return Evaluate(f.value, moved);
        };
        // stop_gradient is the one op whose gradient is not its derivative.
        const double numeric =
            case_.op == "stop_gradient" ? 0 : (at(kStep) - at(-kStep)) / (2 * kStep);
        const double analytic = gradient.values<double>()[e];
        const double scale = 1 + std::max(std::fabs(numeric), std::fabs(analytic));
        EXPECT_LE(std::fabs(analytic - numeric), kTolerance * scale)
            << order << " derivative for element " << e << " of " << name << ": analytic "
            << analytic << ", numeric " << numeric;
      }
    }
  }

  const OpCase& case_;
  Graph graph_;
  std::vector<Tensor> inputs_, xs_;
  std::vector<size_t> floats_;
  TensorMap feeds_;
  Function first_, second_;
};

std::vector<OpCase> DifferentiableCases() {
  std::vector<OpCase> cases;
  for (const OpInfo& op : AllOps()) {
    if (op.gradient == GradientKind::kNone || !op.accepts(DataType::kF64)) continue;
    for (OpCase& c : CasesOf(op)) {
      if (c.gradient) cases.push_back(std::move(c));
    }
  }
  return cases;
}

class GradientTest : public testing::TestWithParam<OpCase> {};

TEST_P(GradientTest, AgreesWithFiniteDifferences) { Checker(GetParam()).Run(); }

INSTANTIATE_TEST_SUITE_P(Ops, GradientTest, testing::ValuesIn(DifferentiableCases()),
                         [](const testing::TestParamInfo<OpCase>& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

// Gradients, taken in `dtype`, of the sum of what `build` makes of the inputs "x0", ..., as
// numbers.
std::vector<std::vector<float>> GradientsOf(
    const std::vector<std::vector<float>>& values,
    const std::function<Tensor(const std::vector<Tensor>&)>& build,
    DataType dtype = DataType::kF32) {
  Graph graph("exact");
  std::vector<Tensor> xs;
  TensorMap feeds;
  for (const std::vector<float>& value : values) {
    const std::string name = "x" + std::to_string(xs.size());
    const auto size = static_cast<int64_t>(value.size());
    xs.push_back(Cast(graph.Input(name, DataType::kF32, {size}), dtype));
    feeds[name] = *HostTensor::Create(DataType::kF32, {size});
    std::copy(value.begin(), value.end(), feeds[name].mutable_values<float>().begin());
  }
  std::vector<Tensor> made = Gradients(build(xs), xs);
  for (Tensor& gradient : made) gradient = Cast(gradient, DataType::kF32);
  EXPECT_TRUE(graph.status().ok()) << graph.status();
  const auto results = EvaluateGraph(graph, feeds, made);
  EXPECT_TRUE(results.ok()) << results.status();
  std::vector<std::vector<float>> gradients(values.size());
  for (size_t i = 0; results.ok() && i < values.size(); ++i) {
    const auto numbers = (*results)[i].values<float>();
    gradients[i].assign(numbers.begin(), numbers.end());
  }
  return gradients;
}

// The product of all would be infinite, or 0, where that of the others is neither.
TEST(GradientRange, ProductsOfFarElements) {
  auto product = [](const std::vector<Tensor>& x) { return ReduceProd(x[0], {0}); };
  EXPECT_EQ(GradientsOf({{0x1p100f, 0x1p60f, 0x1p-10f}}, product)[0],
            (std::vector<float>{0x1p50f, 0x1p90f, INFINITY}));
  EXPECT_EQ(GradientsOf({{0x1p-100f, 0x1p-60f, 0x1p10f}}, product)[0],
            (std::vector<float>{0x1p-50f, 0x1p-90f, 0}));
  EXPECT_EQ(GradientsOf({{INFINITY, 2, 0}}, product)[0][1 + 1], INFINITY);
  // In groups.
  std::vector<float> x(50, 1), expected(50, INFINITY);
  x[3] = 0x1p100f, x[40] = 0x1p10f, x[49] = 0x1p20f;
  expected[3] = 0x1p30f, expected[40] = 0x1p120f, expected[49] = 0x1p110f;
  EXPECT_EQ(GradientsOf({x}, product)[0], expected);
}

// a / b rounds up to a whole number that b does not go into a as often as.
TEST(GradientRange, RemainderCountsWholeTimes) {
  const auto gradients = GradientsOf({{25165826}, {3}}, [](const std::vector<Tensor>& x) {
    return ReduceSum(Rem(x[0], x[1]), {0});
  });
  EXPECT_EQ(gradients[0][0], 1);
  EXPECT_EQ(gradients[1][0], -8388608);
}

// What the places of x get is no part of what the value gets, however large.
TEST(GradientRange, PaddingAmongLargeGradients) {
  auto padded = [](const std::vector<Tensor>& x) {
    return ReduceSum(Pad(x[0], Reshape(x[1], {}), {0}, {1}, {0}) * x[2], {0});
  };
  auto gradient = [&](int64_t n, float first, DataType dtype) {
    std::vector<float> w(static_cast<size_t>(n) + 1, 1);
    w.front() = first;
    w.back() = 0.5f;
    return GradientsOf({std::vector<float>(static_cast<size_t>(n), 1), {1}, w}, padded, dtype)[1];
  };
  EXPECT_EQ(gradient(70000, 1, DataType::kF16), std::vector<float>{0.5f});
  EXPECT_EQ(gradient(1000, 1e8f, DataType::kF32), std::vector<float>{0.5f});
  EXPECT_EQ(gradient(1000, INFINITY, DataType::kF32), std::vector<float>{0.5f});
  // On all sides and between.
  auto around = [](const std::vector<Tensor>& x) {
    Tensor y = Pad(Reshape(x[0], {2, 2}), Reshape(x[1], {}), {1, 0}, {0, 2}, {1, 3});
    return ReduceSum(y * Reshape(x[2], {4, 7}), {0, 1});
  };
  std::vector<float> w(28);
  for (size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i);
  const auto gradients = GradientsOf({{1, 1, 1, 1}, {1}, w}, around);
  EXPECT_EQ(gradients[0], (std::vector<float>{7, 11, 21, 25}));
  EXPECT_EQ(gradients[1], (std::vector<float>{27 * 28 / 2 - 7 - 11 - 21 - 25}));
}

// Quotients in range of operands whose squares are not.
TEST(GradientRange, AnglesOfFarAndNearPoints) {
  auto angle = [](const std::vector<Tensor>& x) { return ReduceSum(Atan2(x[0], x[1]), {0}); };
  const std::vector<float> a = {1e20f, 1e-23f, 2e30f, -1e30f, INFINITY, 1};
  const std::vector<float> b = {1e20f, 1e-23f, 1e30f, 2e30f, 1, -INFINITY};
  const auto gradients = GradientsOf({a, b}, angle);
  const std::vector<float> da = {0.5e-20f, 0.5e23f, 0.2e-30f, 0.4e-30f, 0, 0};
  const std::vector<float> db = {-0.5e-20f, -0.5e23f, -0.4e-30f, 0.2e-30f, 0, 0};
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(gradients[0][i], da[i], std::fabs(da[i]) * 1e-6) << i;
    EXPECT_NEAR(gradients[1][i], db[i], std::fabs(db[i]) * 1e-6) << i;
  }
  const auto half = GradientsOf({{300, 3e-4f}, {300, -4e-4f}}, angle, DataType::kF16);
  EXPECT_NEAR(half[0][0], 1 / 600.0, 1e-5);
  EXPECT_NEAR(half[1][0], -1 / 600.0, 1e-5);
  EXPECT_NEAR(half[0][1], -1600, 4);
  EXPECT_NEAR(half[1][1], -1200, 4);
  // There is no angle at the origin.
  const auto origin = GradientsOf({{0}, {0}}, angle);
  EXPECT_TRUE(std::isnan(origin[0][0]));
  EXPECT_TRUE(std::isnan(origin[1][0]));
}

// d(a / b) / db = -(dy / b) (a / b), where dy (a / b) alone is beyond the largest number.
TEST(GradientRange, QuotientsOfLargeGradients) {
  auto divide = [](const std::vector<Tensor>& x) { return ReduceSum(x[0] / x[1] * x[2], {0}); };
  const auto half = GradientsOf({{60000}, {100}, {1000}}, divide, DataType::kF16);
  EXPECT_NEAR(half[1][0], -6000, 10);
  const auto single = GradientsOf({{1e30f}, {1e10f}, {1e25f}}, divide);
  EXPECT_NEAR(single[1][0], -1e35, 1e29);
  // Nor may small ones vanish on the way.
  const auto little = GradientsOf({{60000}, {1000}, {2e-5f}}, divide, DataType::kF16);
  EXPECT_NEAR(little[1][0], -1.2e-6, 1e-7);
  const auto tiny = GradientsOf({{1e38f}, {1e20f}, {1e-30f}}, divide);
  EXPECT_NEAR(tiny[1][0], -1e-32, 1e-37);
}

// Nor where a / b^2 alone is, by a small b; and what no gradient comes to gives none.
TEST(GradientRange, QuotientsBySmallNumbers) {
  auto divide = [](const std::vector<Tensor>& x) { return ReduceSum(x[0] / x[1] * x[2], {0}); };
  const auto half = GradientsOf(
      {{1, 1, 500, 500}, {.003f, .003f, .05f, .05f}, {1e-3f, 0, 1e-4f, 0}}, divide, DataType::kF16);
  EXPECT_NEAR(half[1][0], -111.1, 0.5);
  EXPECT_EQ(half[1][1], 0);
  EXPECT_NEAR(half[1][2], -20, 0.1);
  EXPECT_EQ(half[1][3], 0);
  for (const DataType dtype : {DataType::kF32, DataType::kBF16}) {
    const auto wide =
        GradientsOf({{1, 1, -1}, {1e-20f, 1e-20f, 1e20f}, {0, 1e-10f, 1e25f}}, divide, dtype);
    EXPECT_EQ(wide[1][0], 0);
    EXPECT_NEAR(wide[1][1], -1e30, 1e28);
    EXPECT_NEAR(wide[1][2], 1e-15, 1e-17);
  }
}

// More of one slice than 16 bits can count one by one.
TEST(GradientRange, SlicesGatheredOften) {
  for (DataType dtype : {DataType::kF16, DataType::kBF16}) {
    // bf16 has no 5000.
    const double expected = dtype == DataType::kF16 ? 5000 : 4992;
    for (int64_t axis : {0, 1}) {
      const auto gradients = GradientsOf(
          {{1, 1, 1, 1}, std::vector<float>(5000)},
          [&](const std::vector<Tensor>& x) {
            Tensor rows = axis == 0 ? Reshape(x[0], {4, 1}) : Reshape(x[0], {1, 4});
            return ReduceSum(Gather(rows, Cast(x[1], DataType::kI32), axis), {0, 1});
          },
          dtype);
      EXPECT_EQ(gradients[0], (std::vector<float>{static_cast<float>(expected), 0, 0, 0}));
    }
  }
}

// Nothing differentiable is left out: an op with a gradient that takes f64 has a case to check.
TEST(GradientCoverage, EveryDifferentiableOpIsChecked) {
  for (const OpInfo& op : AllOps()) {
    if (op.gradient == GradientKind::kNone || !op.accepts(DataType::kF64)) continue;
    bool checked = false;
    for (const OpCase& c : CasesOf(op)) checked |= c.gradient;
    EXPECT_TRUE(checked) << op.name << ": add a case to tests/ops/op_cases.cc";
  }
}

}  // namespace
}  // namespace weft
