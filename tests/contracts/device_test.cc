// The same graph on another device: a GPU, emulated and checked, gives what this processor gives,
// in training, prediction, loops and branches; what cannot run there is refused in words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "compiler/api.h"
#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"
#include "proto/container.h"
#include "runtime/devices.h"
#include "runtime/ptx_emulator/emulator_device.h"
#include "runtime/session.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::shared_ptr<Device> Emulator(const std::string& generation) {
  return MakeDevice("emulator:" + generation, 1).value();
}

std::string PackageFor(const Graph& graph, const std::vector<std::string>& targets) {
  CompileOptions options;
  options.targets = targets;
  return CompilePackage(graph, options).value();
}

absl::StatusOr<std::unique_ptr<Session>> Open(const std::string& package,
                                              std::shared_ptr<Device> device = nullptr) {
  return Session::FromPackage(package, {.threads = 1, .device = std::move(device)});
}

// Convolutions, statistics of the batch, dropout, pooling, and an optimizer that clips by a norm.
Graph Network() {
  Graph graph("network");
  Layers layers(graph, 3);
  Tensor image = graph.Input("image", DataType::kF32, {"batch", 6, 6, 2});
  Tensor label = graph.Input("label", DataType::kI32, {"batch"});
  auto model = [&](bool training) {
    layers.SetTraining(training);
    // A bias would have a gradient of 0, but for rounding, of which Adam would make whole steps.
    Conv2DOptions conv;
    conv.use_bias = false;
    Tensor x = Relu(layers.BatchNorm("norm", layers.Conv2D("conv", image, 8, {3, 3}, conv)));
    x = layers.Dropout(Flatten(MaxPool2D(x, {2, 2})), 0.4);
    return layers.Dense("logits", Tanh(layers.Dense("hidden", x, 24)), 10);
  };
  Tensor loss = Mean(SoftmaxCrossEntropy(model(true), label));
  AdamOptions options;
  options.clipping.norm = 1;
  graph.AddSignature("train_step", {{"loss", loss}},
                     Concatenate(Adam(graph, options).Minimize(loss), layers.Updates()));
  Tensor logits = model(false);
  graph.AddSignature("predict", {{"class", ArgMax(logits, -1)}, {"p", Softmax(logits)}});
  EXPECT_TRUE(graph.status().ok()) << graph.status();
  return graph;
}

NamedTensors Feeds(int64_t batch) {
  HostTensor image = *HostTensor::Create(DataType::kF32, {batch, 6, 6, 2});
  int64_t i = 0;
  for (float& pixel : image.mutable_values<float>()) pixel = static_cast<float>(i++ % 37) / 37;
  HostTensor label = *HostTensor::Create(DataType::kI32, {batch});
  for (int32_t& value : label.mutable_values<int32_t>()) value = static_cast<int32_t>(i++ % 10);
  return {{"image", image}, {"label", label}};
}

void ExpectNear(const HostTensor& a, const HostTensor& b, double tolerance,
                const std::string& what) {
  ASSERT_EQ(a.shape(), b.shape()) << what;
  if (a.dtype() != DataType::kF32) {
    EXPECT_EQ(a.ToString(1 << 12), b.ToString(1 << 12)) << what;
    return;
  }
  for (int64_t i = 0; i < a.num_elements(); ++i) {
    const double x = a.values<float>()[i], y = b.values<float>()[i];
    ASSERT_LE(std::fabs(x - y), tolerance * std::max(1.0, std::fabs(y))) << what << " " << i;
  }
}

// Sums are added up in another order there; random numbers are the same bits.
TEST(Devices, TrainingAgreesWithThisProcessor) {
  const std::string package = PackageFor(Network(), {"cuda:sm_80", "cpu:x86-64-v3"});
  const auto here = Open(package), there = Open(package, Emulator("sm_80"));
  ASSERT_TRUE(here.ok()) << here.status();
  ASSERT_TRUE(there.ok()) << there.status();
  for (Session* session : {here->get(), there->get()}) {
    const auto init = session->Run("init", {});
    ASSERT_TRUE(init.ok()) << init.status();
  }
  for (const int64_t batch : {4, 7, 4}) {
    const auto a = (*here)->Run("train_step", Feeds(batch));
    const auto b = (*there)->Run("train_step", Feeds(batch));
    ASSERT_TRUE(a.ok()) << a.status();
    ASSERT_TRUE(b.ok()) << b.status();
    ExpectNear(b->at("loss"), a->at("loss"), 1e-4, "loss");
  }
  NamedTensors feeds = Feeds(3);
  feeds.erase("label");
  const auto a = (*here)->Run("predict", feeds), b = (*there)->Run("predict", feeds);
  ASSERT_TRUE(a.ok()) << a.status();
  ASSERT_TRUE(b.ok()) << b.status();
  for (const auto& [name, value] : *a) ExpectNear(b->at(name), value, 1e-3, name);
  const auto variables = (*there)->GetVariables();
  ASSERT_TRUE(variables.ok()) << variables.status();
  const auto expected = (*here)->GetVariables();
  ASSERT_TRUE(expected.ok()) << expected.status();
  for (const auto& [name, value] : *expected) {
    ExpectNear(variables->at(name), value, 1e-3, name);
  }
}

TEST(Devices, LoopsBranchesAndAssertions) {
  Graph graph("flow");
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  const std::vector<Tensor> halved = While(
      {x}, [](const std::vector<Tensor>& v) { return Greater(ReduceMax(v[0], {0}), 1.0f); },
      [](const std::vector<Tensor>& v) { return std::vector{v[0] * 0.5f}; }, 100);
  const std::vector<Tensor> chosen = Cond(
      Greater(ReduceSum(x, {0}), 10.0f), [&] { return std::vector{halved[0] + 1.0f}; },
      [&] { return std::vector{-halved[0]}; });
  graph.AddSignature("run", {{"y", CheckNumerics(chosen[0], "y must be finite")}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const auto session = Open(PackageFor(graph, {"cuda:sm_70"}), Emulator("sm_90"));
  ASSERT_TRUE(session.ok()) << session.status();
  const auto run = [&](const std::vector<float>& values) {
    return (*session)->Run(
        "run", {{"x", HostTensor::Of<float>({static_cast<int64_t>(values.size())}, values)}});
  };
  EXPECT_THAT(run({8, 4})->at("y").values<float>(), ::testing::ElementsAre(2, 1.5));
  EXPECT_THAT(run({3, 2, 1})->at("y").values<float>(), ::testing::ElementsAre(-0.75, -0.5, -0.25));
  const auto infinite = run({-INFINITY, 1});
  EXPECT_THAT(std::string(infinite.status().message()), HasSubstr("y must be finite"));
}

TEST(Devices, PackagesForOthersAreRefused) {
  const std::string for_cpu = PackageFor(Network(), {"cpu:x86-64-v3"});
  EXPECT_THAT(std::string(Open(for_cpu, Emulator("sm_80")).status().message()),
              AllOf(HasSubstr("no code for the emulator"), HasSubstr("--target cuda:sm_80")));
  const std::string for_gpu = PackageFor(Network(), {"cuda:sm_90a"});
  EXPECT_THAT(std::string(Open(for_gpu).status().message()),
              AllOf(HasSubstr("no code for the cpu"), HasSubstr("is for another device")));
  EXPECT_THAT(std::string(Open(for_gpu, Emulator("sm_80")).status().message()),
              HasSubstr("cuda:sm_90a is newer than cuda:sm_80"));
  EXPECT_TRUE(Open(for_gpu, Emulator("sm_90")).ok());
  EXPECT_THAT(std::string(MakeDevice("gpu", 1).status().message()),
              AllOf(HasSubstr("'gpu'"), HasSubstr("emulator:sm_80")));
}

TEST(Devices, TooLittleMemoryIsTold) {
  const std::string package = PackageFor(Network(), {"cuda:sm_80"});
  const auto device = MakeEmulatorDevice({.sm = 80, .memory_bytes = 64 << 10});
  ASSERT_TRUE(device.ok()) << device.status();
  const auto session = Open(package, *device);
  ASSERT_TRUE(session.ok()) << session.status();
  ASSERT_TRUE((*session)->Run("init", {}).ok());
  const auto step = (*session)->Run("train_step", Feeds(200));
  EXPECT_EQ(step.status().code(), absl::StatusCode::kResourceExhausted) << step.status();
}

// A package whose code does something else than its plan says: what it does is found, and named.
TEST(Devices, FindingsNameKernelNodeAndLine) {
  Graph graph("findings");
  Tensor x = graph.Input("x", DataType::kF32, {300});
  graph.AddSignature("run", {{"y", Exp(x) + 1.0f}});
  const std::string package = PackageFor(graph, {"cuda:sm_80"});
  const auto container = Container::Open(Bytes::Of(package));
  ASSERT_TRUE(container.ok()) << container.status();
  const auto run_with = [&](const std::string& from, const std::string& to) {
    std::string code(container->Section("code.sm_80").value());
    const size_t at = code.find(from);
    EXPECT_NE(at, std::string::npos) << from << " is not in\n" << code;
    code.replace(at, from.size(), to);
    std::vector<SectionToWrite> sections;
    for (const std::string& name : container->Names()) {
      sections.push_back(
          {name, name == "code.sm_80" ? std::string_view(code) : container->Section(name).value(),
           12});
    }
    const auto session = Open(WriteContainer(sections), Emulator("sm_80"));
    if (!session.ok()) return std::string(session.status().message());
    HostTensor ones = *HostTensor::Create(DataType::kF32, {300});
    return std::string((*session)->Run("run", {{"x", ones}}).status().message());
  };
  EXPECT_EQ(run_with("st.global", "st.global"), "");
  // Nothing is stored; a store is where only loads may be; no such instruction.
  EXPECT_THAT(run_with("\tst.global", "\tld.global"), HasSubstr("line"));
  const std::string unwritten = run_with("\t@", "\tret;\n\t@");
  EXPECT_THAT(unwritten, AllOf(HasSubstr("bytes of result 0 unwritten"), HasSubstr("exp"),
                               HasSubstr("device_test.cc:")));
  EXPECT_THAT(run_with(".version", ".varsion"), HasSubstr("line"));
}

}  // namespace
}  // namespace weft
