// What plans look like: memory that is shared, copies that are not made, certificates, blame.
#include <algorithm>
#include <string>
#include <vector>

#include "compiler/api.h"
#include "graph/graph.h"
#include "gtest/gtest.h"
#include "proto/container.h"
#include "proto/plan.pb.h"

namespace weft {
namespace {

Plan PlanOf(const Graph& graph, const std::string& signature, const CompileOptions& base = {}) {
  CompileOptions options = base;
  options.signatures = {signature};
  absl::StatusOr<std::string> package = CompilePackage(graph, options);
  EXPECT_TRUE(package.ok()) << package.status();
  if (!package.ok()) return {};
  auto container = Container::Open(Bytes::Of(*package));
  EXPECT_TRUE(container.ok()) << container.status();
  PackageManifest manifest;
  const std::string bytes(*container->Section("manifest"));
  EXPECT_TRUE(manifest.ParseFromString(bytes));
  return manifest.targets(0).plans(0);
}

CompileOptions Without(const std::string& pass) {
  CompileOptions options;
  options.disabled_passes = {pass};
  return options;
}

int Count(const Plan& plan, Buffer::Space space) {
  return static_cast<int>(std::count_if(plan.buffers().begin(), plan.buffers().end(),
                                        [&](const Buffer& b) { return b.space() == space; }));
}

int Copies(const Plan& plan) {
  int copies = 0;
  for (const Block& block : plan.blocks()) {
    for (const Step& step : block.steps()) copies += step.has_copy();
  }
  return copies;
}

// Transposes keep ops apart, so that each is a kernel whatever is fused.
Tensor Turn(Tensor x) { return Transpose(x, {1, 0}); }

TEST(PlanTest, ChainUsesOneOrTwoBuffers) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", 8});
  Tensor y = x;
  for (int i = 0; i < 6; ++i) y = Turn(Exp(y));
  graph.AddSignature("f", {{"y", y}});
  EXPECT_LE(Count(PlanOf(graph, "f"), Buffer::ARENA), 11);
  const Plan reused = PlanOf(graph, "f", Without("in_place"));
  // Offsets are a relation: each lives together with its operand and its consumer only.
  for (const Buffer& buffer : reused.buffers()) EXPECT_LE(buffer.below_size(), 2);
  const Plan apart = PlanOf(graph, "f", Without("reuse"));
  int deepest = 0;
  for (const Buffer& buffer : apart.buffers()) {
    if (buffer.space() == Buffer::ARENA) deepest += buffer.below_size();
  }
  EXPECT_GE(deepest, Count(apart, Buffer::ARENA) - 1);
}

TEST(PlanTest, ResultsAreComputedInPlace) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {8, 8});
  // The first kernel's value dies in the second.
  graph.AddSignature("f", {{"y", Turn(Exp(Neg(Turn(x))))}});
  const Plan with = PlanOf(graph, "f"), without = PlanOf(graph, "f", Without("in_place"));
  EXPECT_EQ(Copies(with), 0);
  EXPECT_LE(Count(with, Buffer::ARENA), Count(without, Buffer::ARENA));
}

TEST(PlanTest, VariableIsUpdatedInPlace) {
  Graph graph;
  Variable v = graph.AddVariable("v", HostTensor::Of<float>({4}, {1, 2, 3, 4}));
  Tensor next = Mul(v, 2.0);
  graph.AddSignature("step", {}, {v.Assign(next)});
  const Plan with = PlanOf(graph, "step");
  EXPECT_EQ(Copies(with), 0);
  EXPECT_EQ(Count(with, Buffer::ARENA), 0);
  EXPECT_EQ(with.commit_step(), 0u);
  ASSERT_EQ(with.assigned_variables_size(), 1);
  const Plan without = PlanOf(graph, "step", Without("in_place"));
  EXPECT_EQ(Copies(without), 1);
  EXPECT_EQ(without.commit_step(), 1u);
}

TEST(PlanTest, VariableThatIsReadLaterIsNotOverwritten) {
  Graph graph;
  Variable v = graph.AddVariable("v", HostTensor::Of<float>({2, 3}, {1, 2, 3, 4, 5, 6}));
  Tensor old = v.Read();
  // Reads the old value at other places than it writes.
  graph.AddSignature("step", {}, {v.Assign(Reshape(Turn(old), {2, 3}))});
  EXPECT_EQ(Copies(PlanOf(graph, "step")), 1);
}

TEST(PlanTest, NothingIsWrittenBeforeAnAssertion) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {});
  Variable v = graph.AddVariable("v", HostTensor::Scalar<float>(1));
  Tensor next = Add(v, x);
  Tensor checked = Assert(Greater(Exp(next), 0.0), next, "never");
  graph.AddSignature("step", {{"y", checked}}, {v.Assign(next)});
  const Plan plan = PlanOf(graph, "step");
  int assertion = -1;
  for (int i = 0; i < plan.blocks(0).steps_size(); ++i) {
    if (plan.blocks(0).steps(i).has_assert_step()) assertion = i;
  }
  ASSERT_GE(assertion, 0);
  EXPECT_GT(static_cast<int>(plan.commit_step()), assertion);
}

// A run that is stopped within a loop changes no variable.
TEST(PlanTest, NothingIsWrittenBeforeALoop) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {});
  Variable v = graph.AddVariable("v", HostTensor::Scalar<float>(1));
  Tensor next = v.Assign(v + 1.0);
  Tensor y = While(
      {x}, [](const std::vector<Tensor>& c) { return Less(c[0], 1e9); },
      [](const std::vector<Tensor>& c) { return std::vector<Tensor>{c[0] * 1.5}; })[0];
  graph.AddSignature("step", {{"y", y}}, {next});
  const Plan plan = PlanOf(graph, "step");
  int loop = -1;
  for (int i = 0; i < plan.blocks(0).steps_size(); ++i) {
    if (plan.blocks(0).steps(i).has_while_step()) loop = i;
  }
  ASSERT_GE(loop, 0);
  EXPECT_GT(static_cast<int>(plan.commit_step()), loop);
}

// Deadlines take effect between tiles: many parts of a reduction are many tiles, and what cannot be
// cut is refused.
TEST(PlanTest, TilesAreBounded) {
  auto compile = [](int64_t size) {
    Graph graph;
    Tensor x = graph.Input("x", DataType::kF32, {});
    Tensor many =
        Broadcast(x, {size}) + Cast(Iota(graph, {size}, 0, DataType::kI64), DataType::kF32);
    graph.AddSignature("f", {{"y", ReduceSum(many, {0}).Named("endless")}});
    CompileOptions options;
    options.signatures = {"f"};
    return CompilePackage(graph, options).status();
  };
  EXPECT_TRUE(compile(int64_t{1} << 30).ok());
  EXPECT_TRUE(compile(int64_t{1} << 40).ok()) << compile(int64_t{1} << 40);
  const absl::Status status = compile((int64_t{1} << 40) + 15);  // a prime
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("node 'endless' (compiler/plan_test.cc:"), std::string::npos)
      << status;
}

TEST(PlanTest, LoopCarriesWithoutCopies) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4});
  Tensor start = Exp(x);
  Tensor zero = graph.Constant(HostTensor::Scalar<float>(0));
  std::vector<Tensor> y = While(
      {start, zero}, [](const std::vector<Tensor>& v) { return Less(v[1], 5.0); },
      [](const std::vector<Tensor>& v) {
        return std::vector<Tensor>{Mul(v[0], 1.5), Add(v[1], 1.0)};
      });
  graph.AddSignature("f", {{"y", y[0]}});
  // The constant that counting starts from is copied; nothing else is.
  EXPECT_EQ(Copies(PlanOf(graph, "f")), 1);
  EXPECT_GE(Copies(PlanOf(graph, "f", Without("in_place"))), 2);
}

// A loop that fills a stack writes what it pushes and no more: else its time would grow with the
// square of the iterations.
TEST(PlanTest, GradientsOfLoopsPushInPlace) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {64});
  Tensor w = graph.Input("w", DataType::kF32, {64});
  Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  Tensor y = While(
      {zero, x}, [](const std::vector<Tensor>& v) { return Less(v[0], 900.0); },
      [&](const std::vector<Tensor>& v) {
        return std::vector<Tensor>{Add(v[0], 1.0), Tanh(Mul(v[1], w))};
      },
      1000)[1];
  const std::vector<Tensor> gradients = Gradients(y, {x, w});
  graph.AddSignature("f", {{"dx", gradients[0]}, {"dw", gradients[1]}});
  const Plan plan = PlanOf(graph, "f");
  int pushes = 0;
  for (const auto& block : plan.blocks()) {
    for (const Step& step : block.steps()) {
      if (!step.has_launch() || step.label() != "stack_push") continue;
      ++pushes;
      const auto& buffers = step.launch().buffers();
      bool in_place = false;
      for (int i = 0; i + 1 < buffers.size(); ++i) {
        in_place |= buffers[i].buffer() == buffers[buffers.size() - 1].buffer();
      }
      EXPECT_TRUE(in_place) << step.label();
    }
  }
  EXPECT_EQ(pushes, 1);
}

TEST(PlanTest, EqualKernelsAreOne) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {64, 32});
  Tensor y = graph.Input("y", DataType::kF32, {128, 128});
  graph.AddSignature("f", {{"a", Exp(x)}, {"b", Exp(y)}});
  EXPECT_EQ(PlanOf(graph, "f").kernels_size(), 1);
  EXPECT_EQ(PlanOf(graph, "f", Without("merge_kernels")).kernels_size(), 2);
}

TEST(PlanTest, StepsNameTheirNodes) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4});
  graph.AddSignature("f", {{"y", Exp(Neg(x).Named("negative")).Named("power")}});
  const Plan plan = PlanOf(graph, "f");
  ASSERT_EQ(plan.blocks(0).steps_size(), 1);
  const Step& step = plan.blocks(0).steps(0);
  EXPECT_EQ(step.label(), "fusion(neg, exp)");
  EXPECT_EQ(std::vector<std::string>(step.nodes().begin(), step.nodes().end()),
            (std::vector<std::string>{"power", "negative"}));
  EXPECT_NE(step.location().find("plan_test.cc:"), std::string::npos) << step.location();
}

// What a gradient adds is blamed on the forward node's line as well as on that of the gradient.
TEST(PlanTest, GradientStepsNameTheForwardLine) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4, 8});
  Tensor w = graph.Input("w", DataType::kF32, {8, 16});
  const int forward = __LINE__ + 1;
  Tensor y = Exp(MatMul(x, w));
  const int gradient = __LINE__ + 1;
  const std::vector<Tensor> gradients = Gradients(y, {x, w});
  graph.AddSignature("f", {{"y", y}, {"dx", gradients[0]}, {"dw", gradients[1]}});
  const Plan plan = PlanOf(graph, "f");
  const auto ends_with = [](const std::string& text, const std::string& end) {
    return text.size() >= end.size() &&
           text.compare(text.size() - end.size(), end.size(), end) == 0;
  };
  const std::string there = "plan_test.cc:" + std::to_string(forward);
  const std::string back = "plan_test.cc:" + std::to_string(gradient) + " for ";
  int of_gradient = 0;
  for (const Step& step : plan.blocks(0).steps()) {
    EXPECT_TRUE(ends_with(step.location(), there)) << step.label() << " at " << step.location();
    of_gradient += step.location().find(back) != std::string::npos;
  }
  EXPECT_GE(of_gradient, 2);  // the products for x and for w
}

TEST(PlanTest, AssertionsSayWhatTheyExpect) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {});
  Tensor y = Assert(Greater(x, 0.0), x, "");
  graph.AddSignature("f", {{"y", Assert(Less(x, 9.0), y, "expected less than 9")}});
  const Plan plan = PlanOf(graph, "f");
  std::vector<std::string> messages;
  for (const Step& step : plan.blocks(0).steps()) {
    if (!step.has_assert_step()) continue;
    messages.push_back(step.assert_step().message());
    EXPECT_NE(step.location().find("plan_test.cc:"), std::string::npos) << step.location();
  }
  EXPECT_EQ(messages,
            (std::vector<std::string>{"expected a condition that holds", "expected less than 9"}));
}

TEST(PlanTest, ConstantsAreStoredOnce) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {3, 2});
  const HostTensor values = HostTensor::Of<float>({3, 2}, {1, 2, 3, 4, 5, 6});
  graph.AddSignature(
      "f", {{"a", Mul(x, graph.Constant(values))}, {"b", Turn(Add(x, graph.Constant(values)))}});
  const Plan plan = PlanOf(graph, "f", Without("cse"));
  std::vector<uint64_t> offsets;
  for (const Buffer& buffer : plan.buffers()) {
    if (buffer.space() == Buffer::CONSTANT) offsets.push_back(buffer.constant_offset());
  }
  ASSERT_EQ(offsets.size(), 2u);
  EXPECT_EQ(offsets[0], offsets[1]);
}

}  // namespace
}  // namespace weft
