// How gradients are put together. What each op's gradient is: tests/gradients.
#include <cmath>
#include <iterator>
#include <map>
#include <string>

#include "graph/graph.h"
#include "graph/interpreter.h"
#include "graph/ir/graph_impl.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

HostTensor Vector(std::vector<double> values) {
  return HostTensor::Of<double>({static_cast<int64_t>(values.size())},
                                absl::Span<const double>(values));
}

std::vector<double> Value(const Graph& graph, const Tensor& y, const TensorMap& feeds) {
  const auto values = EvaluateGraph(graph, feeds, {y});
  EXPECT_TRUE(values.ok()) << values.status();
  if (!values.ok()) return {};
  return {(*values)[0].values<double>().begin(), (*values)[0].values<double>().end()};
}

TEST(Gradients, OfAValueUsedTwiceAddUp) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {2});
  Tensor y = x * x + Sin(x) * x;
  Tensor dx = Gradients(y, {x})[0];
  const std::vector<double> value = Value(graph, dx, {{"x", Vector({0.5, -2})}});
  for (int i = 0; i < 2; ++i) {
    const double v = i == 0 ? 0.5 : -2;
    EXPECT_NEAR(value[i], 2 * v + std::cos(v) * v + std::sin(v), 1e-12);
  }
}

TEST(Gradients, OfWhatYDoesNotDependOnAreZeros) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {"n"}), z = graph.Input("z", DataType::kF64, {"n"});
  Tensor dz = Gradients(x * x, {z})[0];
  EXPECT_EQ(dz.shape(), z.shape());
  EXPECT_EQ(Value(graph, dz, {{"x", Vector({1, 2})}, {"z", Vector({3, 4})}}),
            (std::vector<double>{0, 0}));
}

std::vector<std::string> MarksFrom(const Graph& graph, int64_t first) {
  std::vector<std::string> marks;
  int64_t index = 0;
  for (mlir::Operation& op : *graph.impl()->graph_block()) {
    if (index++ < first) continue;
    auto mark = op.getAttrOfType<mlir::StringAttr>("weft.recompute");
    marks.push_back(mark ? mark.str() : "");
  }
  return marks;
}

// What a gradient reads of a scope to recompute, and the gradient of that, is told apart by level.
TEST(Gradients, OfRecomputedNodesAreMarkedByLevel) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {2}), y, z;
  {
    auto scope = graph.Recompute("layer");
    y = Sin(x * x);
  }
  z = y * 2.0;
  auto size = [&] {
    return std::distance(graph.impl()->graph_block()->begin(), graph.impl()->graph_block()->end());
  };
  const auto before = size();
  Tensor dx = Gradients(z, {x})[0];
  const auto between = size();
  Tensor ddx = Gradients(dx, {x})[0];
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  std::map<std::string, int> first, second;
  for (const std::string& mark : MarksFrom(graph, before)) ++first[mark];
  for (const std::string& mark : MarksFrom(graph, between)) {
    ++second[mark];
    --first[mark];
  }
  EXPECT_GT(first["layer:1"], 1);
  EXPECT_GT(first[""], 0);  // of the nodes outside
  EXPECT_EQ(first["layer:2"], 0);
  EXPECT_GT(second["layer:1"], 0);  // of the scope's own nodes, by the other paths
  EXPECT_GT(second["layer:2"], 1);
  EXPECT_EQ(second["layer"], 0);
  const TensorMap feeds = {{"x", Vector({0.5, -2})}};
  for (int i = 0; i < 2; ++i) {
    const double v = i == 0 ? 0.5 : -2;
    EXPECT_NEAR(Value(graph, dx, feeds)[i], 4 * v * std::cos(v * v), 1e-12);
    EXPECT_NEAR(Value(graph, ddx, feeds)[i], 4 * std::cos(v * v) - 8 * v * v * std::sin(v * v),
                1e-12);
  }
}

TEST(Gradients, AreWeighedByDy) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {2}), w = graph.Input("w", DataType::kF64, {2});
  Tensor dx = Gradients(x * x, {x}, w)[0];
  EXPECT_EQ(Value(graph, dx, {{"x", Vector({1, 2})}, {"w", Vector({10, -1})}}),
            (std::vector<double>{20, -4}));
}

TEST(Gradients, OfInnerValuesAndOfYItself) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {1});
  Tensor inner = x * 3.0;
  Tensor y = inner * inner;
  const std::vector<Tensor> gradients = Gradients(y, {x, inner, y});
  const TensorMap feeds = {{"x", Vector({2})}};
  EXPECT_EQ(Value(graph, gradients[0], feeds)[0], 36);
  EXPECT_EQ(Value(graph, gradients[1], feeds)[0], 12);
  EXPECT_EQ(Value(graph, gradients[2], feeds)[0], 1);
}

TEST(Gradients, StopAtStopGradient) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {1});
  Tensor dx = Gradients(x * StopGradient(x * x), {x})[0];
  EXPECT_EQ(Value(graph, dx, {{"x", Vector({3})}})[0], 9);
}

// x^y where the formulas would be 0 * inf.
TEST(Gradients, OfPowersAtZero) {
  Graph graph;
  Tensor a = graph.Input("a", DataType::kF64, {5}), b = graph.Input("b", DataType::kF64, {5});
  const std::vector<Tensor> gradients = Gradients(Pow(a, b), {a, b});
  const TensorMap feeds = {{"a", Vector({0, 0, 0, 0, -2})}, {"b", Vector({0, 1, 2, 3, 2})}};
  EXPECT_EQ(Value(graph, gradients[0], feeds), (std::vector<double>{0, 1, 0, 0, -4}));
  const std::vector<double> db = Value(graph, gradients[1], feeds);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(db[i], 0) << i;
  // d/dx x^2 and again, at 0, as models write it.
  Tensor square = Pow(a, 2.0);
  Tensor first = Gradients(square, {a})[0];
  EXPECT_EQ(Value(graph, first, feeds)[0], 0);
  EXPECT_EQ(Value(graph, Gradients(first, {a})[0], feeds)[0], 2);
}

// Ties and bounds in the wrong order included, a clamp is the maximum and minimum that it stands
// for.
TEST(Gradients, OfAClampAreThoseOfItsParts) {
  Graph graph;
  std::vector<double> xs, lows, highs;
  for (double x : {-2, -1, 0, 1, 2}) {
    for (double low : {-1, 0, 1}) {
      for (double high : {-1, 0, 1}) {
        xs.push_back(x), lows.push_back(low), highs.push_back(high);
      }
    }
  }
  std::vector<Tensor> inputs;
  TensorMap feeds = {{"x", Vector(xs)}, {"low", Vector(lows)}, {"high", Vector(highs)}};
  for (const char* name : {"x", "low", "high"}) {
    inputs.push_back(graph.Input(name, DataType::kF64, {static_cast<int64_t>(xs.size())}));
  }
  Tensor clamp = Clamp(inputs[0], inputs[1], inputs[2]);
  Tensor parts = Minimum(Maximum(inputs[0], inputs[1]), inputs[2]);
  EXPECT_EQ(Value(graph, clamp, feeds), Value(graph, parts, feeds));
  const std::vector<Tensor> of_clamp = Gradients(clamp, inputs),
                            of_parts = Gradients(parts, inputs);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Value(graph, of_clamp[i], feeds), Value(graph, of_parts[i], feeds)) << i;
  }
}

// More ties than f16 can count.
TEST(Gradients, OfManyTiesInHalfPrecision) {
  Graph graph;
  Tensor x = Full(graph, DataType::kF16, {DimExpr(100000)}, 1);
  Tensor dx = Gradients(ReduceMax(x, {0}), {x}, Full(graph, DataType::kF16, {}, 10000))[0];
  EXPECT_NEAR(Value(graph, Cast(dx, DataType::kF64), {})[0], 0.1, 1e-4);
}

// More uses, and iterations, than bf16 can count one by one.
TEST(Gradients, OfManyUsesInHalfPrecision) {
  Graph graph;
  Tensor x = Full(graph, DataType::kBF16, {}, 1), y = x;
  for (int i = 1; i < 1024; ++i) y = y + x;
  Tensor of_uses = Gradients(y, {x})[0];
  Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  Tensor sum = While(
      {zero, ZerosLike(x)}, [](const std::vector<Tensor>& v) { return Less(v[0], 1024.0); },
      [&](const std::vector<Tensor>& v) { return std::vector<Tensor>{v[0] + 1.0, v[1] + x}; },
      1024)[1];
  Tensor of_iterations = Gradients(sum, {x})[0];
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  EXPECT_EQ(of_uses.dtype(), DataType::kBF16);
  EXPECT_EQ(of_iterations.dtype(), DataType::kBF16);
  for (const Tensor& dx : {of_uses, of_iterations}) {
    EXPECT_EQ(Value(graph, Cast(dx, DataType::kF64), {}), std::vector<double>{1024});
  }
}

TEST(Gradients, OfAnyOrder) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {1});
  Tensor y = x * x * x * x;
  for (double expected : {32.0, 48.0, 48.0, 24.0, 0.0}) {
    y = Gradients(y, {x})[0];
    EXPECT_EQ(Value(graph, y, {{"x", Vector({2})}})[0], expected);
  }
}

TEST(Gradients, BroadcastBackOverAnOpenBatch) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {"n", 2}), b = graph.Input("b", DataType::kF64, {2});
  const std::vector<Tensor> gradients = Gradients((x + b) * x, {x, b});
  EXPECT_EQ(gradients[0].shape(), x.shape());
  const TensorMap feeds = {{"x", Vector({1, 2, 3, 4}).Reshaped({2, 2})}, {"b", Vector({5, 6})}};
  EXPECT_EQ(Value(graph, gradients[0], feeds), (std::vector<double>{7, 10, 11, 14}));
  EXPECT_EQ(Value(graph, gradients[1], feeds), (std::vector<double>{4, 6}));
}

TEST(Gradients, InsideABody) {
  // Newton's method for x^3 = c, with the derivative taken in the loop's body.
  Graph graph;
  Tensor c = graph.Input("c", DataType::kF64, {});
  Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  Tensor root = While(
      {zero, OnesLike(c)}, [](const std::vector<Tensor>& v) { return Less(v[0], 30.0); },
      [&](const std::vector<Tensor>& v) {
        Tensor f = v[1] * v[1] * v[1] - c;
        return std::vector<Tensor>{v[0] + 1.0, v[1] - f / Gradients(f, {v[1]})[0]};
      })[1];
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  EXPECT_NEAR(Value(graph, root, {{"c", HostTensor::Scalar<double>(27)}})[0], 3, 1e-12);
}

// A captured value that comes in twice, and a carried one that is captured as well.
TEST(Gradients, OfALoopCountEachUseOnce) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {});
  Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  Tensor y = While(
      {zero, x}, [](const std::vector<Tensor>& v) { return Less(v[0], 3.0); },
      [&](const std::vector<Tensor>& v) { return std::vector<Tensor>{v[0] + 1.0, v[1] * x}; },
      10)[1];
  Tensor dx = Gradients(y, {x})[0];
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  EXPECT_NEAR(Value(graph, dx, {{"x", HostTensor::Scalar<double>(2)}})[0], 4 * 8, 1e-12);
}

// A failed condition stops nothing before the error can be asked for.
TEST(Gradients, OfACondWithoutAPredicateAreErrorsNotCrashes) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {2});
  Tensor wrong = Less(x, graph.Input("y", DataType::kF64, {3}));
  Tensor y = Cond(
      wrong, [&] { return std::vector<Tensor>{x}; }, [&] { return std::vector<Tensor>{x}; })[0];
  EXPECT_FALSE(y.valid());
  EXPECT_FALSE(Gradients(y, {x})[0].valid());
  EXPECT_FALSE(graph.status().ok());
}

// A gradient that is not the derivative: rounding that lets it through, in a file and back.
TEST(Gradients, OfTheAuthors) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {2});
  Tensor y = CustomGradient(
      {x}, [](const std::vector<Tensor>& v) { return std::vector<Tensor>{Round(v[0])}; },
      [](const std::vector<Tensor>&, const std::vector<Tensor>&, const std::vector<Tensor>& dy) {
        return std::vector<Tensor>{dy[0] * 10.0};
      })[0];
  y.Named("y");
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  auto back = Graph::FromText(*graph.ToText());
  ASSERT_TRUE(back.ok()) << back.status();
  for (Graph* each : {&graph, &*back}) {
    Tensor square = each->Find("y") * each->Find("y");
    Tensor dx = Gradients(square, {each->Find("x")})[0];
    ASSERT_TRUE(each->status().ok()) << each->status();
    const TensorMap feeds = {{"x", Vector({1.7, -3.2})}};
    EXPECT_EQ(Value(*each, square, feeds), (std::vector<double>{4, 9}));
    EXPECT_EQ(Value(*each, dx, feeds), (std::vector<double>{40, -60}));
    // 10 dy for dy = 2 y, and again.
    EXPECT_EQ(Value(*each, Gradients(dx, {each->Find("x")})[0], feeds),
              (std::vector<double>{200, 200}));
  }
}

TEST(Gradients, OfTheAuthorsSeeTheirArgumentsAlone) {
  auto expect = [](const char* part, int gradients, bool outside) {
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF64, {2}), z = graph.Input("z", DataType::kF64, {2});
    const std::vector<Tensor> y = CustomGradient(
        {x}, [&](const auto& v) { return std::vector<Tensor>{outside ? v[0] * z : v[0]}; },
        [&](const auto&, const auto&, const auto& dy) {
          return std::vector<Tensor>(gradients, dy[0]);
        });
    ASSERT_EQ(y.size(), 1u);
    EXPECT_FALSE(y[0].valid());
    EXPECT_NE(graph.status().message().find(part), std::string::npos) << graph.status();
    EXPECT_NE(graph.status().message().find("gradient_test.cc"), std::string::npos);
  };
  expect("got 'z' from outside; pass it in", 1, true);
  expect("1 gradients, one for each value, got 2", 2, false);
}

int Count(const Graph& graph, const char* op) {
  int count = 0;
  graph.impl()->module->walk([&](mlir::Operation* each) { count += ir::IsOp(each, op); });
  return count;
}

// A line is not printed again where a branch or an iteration runs once more for its adjoint.
TEST(Gradients, OfControlFlowDoNotPrintAgain) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {});
  auto branch = [&] {
    return std::vector<Tensor>{While(
        {Print(x, "start")}, [](const std::vector<Tensor>& v) { return Less(v[0], 9.0); },
        [](const std::vector<Tensor>& v) {
          return std::vector<Tensor>{Print(v[0] * v[0], "square")};
        },
        5)[0]};
  };
  Tensor y = Cond(Greater(x, 1.0), branch, [&] { return std::vector<Tensor>{x}; })[0];
  EXPECT_EQ(Count(graph, "print"), 2);
  Tensor dx = Gradients(y, {x})[0];
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  EXPECT_EQ(Count(graph, "print"), 2);
  // 2, 4, 16.
  EXPECT_NEAR(Value(graph, dx, {{"x", HostTensor::Scalar<double>(2)}})[0], 4 * 8, 1e-12);

  Tensor z = While(
      {x}, [](const std::vector<Tensor>& v) { return Less(Print(v[0], "at"), 9.0); },
      [](const std::vector<Tensor>& v) {
        return std::vector<Tensor>{Print(v[0] * v[0], "square")};
      },
      5)[0];
  EXPECT_EQ(Count(graph, "print"), 4);
  Tensor dz = Gradients(z, {x})[0];
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  EXPECT_EQ(Count(graph, "print"), 4);
  EXPECT_NEAR(Value(graph, dz, {{"x", HostTensor::Scalar<double>(2)}})[0], 4 * 8, 1e-12);

  // Nor is what is only printed kept for it.
  const int pushes = Count(graph, "stack_push");
  Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  Tensor power = While(
      {zero, x}, [](const std::vector<Tensor>& v) { return Less(v[0], 3.0); },
      [&](const std::vector<Tensor>& v) {
        return std::vector<Tensor>{Print(v[0], "at") + 1.0, v[1] * x};
      },
      5)[1];
  Gradients(power, {x});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  EXPECT_EQ(Count(graph, "stack_push"), pushes + 1);
}

// What the gradient of an author's prints runs for the first time there, once for each iteration;
// what its function prints ran before.
TEST(Gradients, OfTheAuthorsPrintInControlFlow) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {});
  auto square = [](bool prints) {
    return [prints](const std::vector<Tensor>& v) {
      return CustomGradient(
          {v[0]},
          [prints](const auto& in) {
            return std::vector{prints ? Print(in[0], "forward") * in[0] : in[0] * in[0]};
          },
          [](const auto& in, const auto&, const auto& dy) {
            return std::vector{Print(dy[0], "back") * in[0] * 2.0};
          });
    };
  };
  auto loop = [&](bool prints) {
    return While({x}, [](const auto& v) { return Less(v[0], 9.0); }, square(prints), 5)[0];
  };
  auto branch = [&](bool prints) {
    auto then_body = [&] { return square(prints)({x}); };
    return Cond(Greater(x, 1.0), then_body, [&] { return std::vector{x}; })[0];
  };
  // Of 2: 4, 16; and 4.
  auto expect = [&](const Tensor& y, bool prints, int times, double derivative) {
    const Tensor dx = Gradients(y, {x})[0];
    // Where the function prints nothing, the gradient does not need it to run.
    EXPECT_EQ(Count(graph, "stop_gradient") > 0, prints);
    for (const std::vector<Tensor>& wanted : {std::vector{dx}, {y, dx}}) {
      testing::internal::CaptureStderr();
      const auto values = EvaluateGraph(graph, {{"x", HostTensor::Scalar<double>(2)}}, wanted);
      const std::string printed = testing::internal::GetCapturedStderr();
      ASSERT_TRUE(values.ok()) << values.status();
      EXPECT_EQ(values->back().values<double>()[0], derivative);
      auto lines = [&](const std::string& message) {
        int count = 0;
        for (size_t at = 0; (at = printed.find(message, at)) != printed.npos; ++at) ++count;
        return count;
      };
      EXPECT_EQ(lines("back"), times) << printed;
      EXPECT_EQ(lines("forward"), prints ? times : 0) << printed;
    }
  };
  for (const bool prints : {false, true}) {
    SCOPED_TRACE(prints);
    expect(loop(prints), prints, 2, 4 * 8);
    expect(branch(prints), prints, 1, 2 * 2);
  }
}

TEST(Gradients, ErrorsSayWhatAndWhere) {
  auto expect = [](const Graph& graph, const std::string& part) {
    EXPECT_NE(std::string(graph.status().message()).find(part), std::string::npos)
        << graph.status();
  };
  {
    Graph graph;
    Tensor x = graph.Input("x", DataType::kI32, {2});
    Gradients(x * x, {x});
    expect(graph, "expected y to be of floats");
    expect(graph, "gradient_test.cc");
  }
  {
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {2}), i = graph.Input("i", DataType::kI32, {2});
    Gradients(x * x, {i});
    expect(graph, "expected xs to be of floats");
  }
  {
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {2});
    Gradients(x * x, {x}, graph.Input("w", DataType::kF32, {3}));
    expect(graph, "expected dy to have y's type f32[2], got f32[3]");
  }
  {
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {});
    Tensor y = While(
        {x}, [](const std::vector<Tensor>& v) { return Less(v[0], 3.0); },
        [](const std::vector<Tensor>& v) { return std::vector<Tensor>{v[0] * 2.0}; })[0];
    Gradients(y, {x});
    expect(graph, "max_iterations");
    expect(graph, "while");
  }
}

TEST(Gradients, NodesNameTheCallAndTheForwardLine) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {1});
  const int forward = __LINE__ + 1;
  Tensor y = Tanh(x);
  const int call = __LINE__ + 1;
  Tensor dx = Gradients(y, {x})[0];
  ASSERT_TRUE(graph.status().ok());
  auto lines = [](const Tensor& t) { return ir::SourceLinesOf(ir::ValueOf(t).getLoc()); };
  ASSERT_EQ(lines(dx).size(), 2u);
  EXPECT_EQ(lines(dx)[0].line, call);
  EXPECT_EQ(lines(dx)[1].line, forward);
  Tensor again = Gradients(dx, {x})[0];
  ASSERT_EQ(lines(again).size(), 2u);
  EXPECT_EQ(lines(again)[1].line, forward);
}

// 50,000 ops in a line: neither recursion nor quadratic time.
TEST(Gradients, OfALongChain) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF64, {1});
  Tensor y = x;
  for (int i = 0; i < 50000; ++i) y = -y;
  Tensor dx = Gradients(y, {x})[0];
  EXPECT_EQ(Value(graph, dx, {{"x", Vector({3})}})[0], 1);
}

}  // namespace
}  // namespace weft
