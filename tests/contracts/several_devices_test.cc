// Nodes and variables on several devices: training, files, packages, and what is said where a
// device or code for it is not there. tests/conformance/placement_test has random graphs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "compiler/api.h"
#include "graph/graph.h"
#include "graph/layers/functions.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"
#include "proto/container.h"
#include "proto/graph.pb.h"
#include "proto/plan.pb.h"
#include "runtime/devices.h"
#include "runtime/package.h"
#include "runtime/session.h"
#include "runtime/testing/far_device.h"
#include "tests/conformance/manifest.h"
#include "tests/contracts/near.h"
#include "tests/contracts/two_devices.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

// Sums are added up in another order there.
constexpr double kTolerance = 1e-4;

HostTensor Ramp(const std::vector<int64_t>& shape, float step) {
  HostTensor tensor = *HostTensor::Create(DataType::kF32, shape);
  int i = 0;
  for (float& value : tensor.mutable_values<float>()) {
    value = step * static_cast<float>(i++ % 11 - 5);
  }
  return tensor;
}

// Two layers, of which the first is on `first`, where its variables live, and so are the
// optimizer's for them.
Graph Network(const std::string& first, const AdamOptions& options = {}) {
  Graph graph("network");
  Tensor x = graph.Input("x", DataType::kF32, {"batch", 6});
  Tensor target = graph.Input("target", DataType::kF32, {"batch", 2});
  Tensor hidden;
  {
    const ScopeGuard there = graph.WithDevice(first);
    Variable w = graph.AddVariable("w1", Ramp({6, 8}, 0.1f));
    Variable b = graph.AddVariable("b1", Ramp({8}, 0.05f));
    const ScopeGuard again = graph.Recompute("block");
    hidden = Tanh(MatMul(x, w).Named("product") + b).Named("hidden");
  }
  Variable w = graph.AddVariable("w2", Ramp({8, 2}, 0.1f));
  Tensor y = MatMul(hidden, w);
  Tensor error = y - target;
  Tensor loss = Mean(error * error);
  graph.AddSignature("predict", {{"y", y}, {"hidden", hidden}});
  graph.AddSignature("train_step", {{"loss", loss}}, Adam(graph, options).Minimize(loss));
  EXPECT_TRUE(graph.status().ok()) << graph.status();
  return graph;
}

NamedTensors Feeds(int64_t batch) {
  return {{"x", Ramp({batch, 6}, 0.2f)}, {"target", Ramp({batch, 2}, 0.3f)}};
}

std::string Package(const Graph& graph, const std::map<std::string, std::string>& targets) {
  CompileOptions options;
  options.device_targets = targets;
  return CompilePackage(graph, options).value();
}

void ExpectEqualRuns(Session& a, Session& b) {
  for (Session* session : {&a, &b}) {
    const absl::Status init = session->Run("init", {}).status();
    ASSERT_TRUE(init.ok()) << init;
  }
  double first = 0, last = 0;
  for (const int64_t batch : {3, 5, 3, 5, 3}) {
    const auto x = a.Run("train_step", Feeds(batch)), y = b.Run("train_step", Feeds(batch));
    ASSERT_TRUE(x.ok()) << x.status();
    ASSERT_TRUE(y.ok()) << y.status();
    ExpectNear(x->at("loss"), y->at("loss"), kTolerance, "loss");
    last = x->at("loss").values<float>()[0];
    if (first == 0) first = last;
  }
  EXPECT_LT(last, first);
  const auto expected = b.GetVariables(), variables = a.GetVariables();
  ASSERT_TRUE(variables.ok()) << variables.status();
  for (const auto& [name, value] : *expected)
    ExpectNear(variables->at(name), value, kTolerance, name);
  NamedTensors feeds = Feeds(4);
  feeds.erase("target");
  const auto x = a.Run("predict", feeds), y = b.Run("predict", feeds);
  ASSERT_TRUE(x.ok()) << x.status();
  for (const auto& [name, value] : *y) ExpectNear(x->at(name), value, kTolerance, name);
}

TEST(SeveralDevices, TrainingAgreesWithOneDevice) {
  const auto here = Session::FromPackage(Package(Network(""), {}), {.threads = 1});
  ASSERT_TRUE(here.ok()) << here.status();
  const std::string package = Package(Network(kGpu), {{kGpu, kGpuTarget}});
  const auto both = Session::FromPackage(package, With(Emulator()));
  ASSERT_TRUE(both.ok()) << both.status();
  ExpectEqualRuns(**both, **here);

  // Values cross between the sessions by a checkpoint.
  const std::string path = testing::TempDir() + "/several.safetensors";
  ASSERT_TRUE((*both)->SaveCheckpoint(path).ok());
  const auto again = Session::FromPackage(package, With(Emulator()));
  ASSERT_TRUE((*again)->RestoreCheckpoint(path).ok());
  ExpectNear(*(*again)->GetVariable("w1"), *(*both)->GetVariable("w1"), kTolerance, "w1");

  // The same by a session with a compiler, and where the session itself runs on the GPU.
  CompileOptions compile;
  compile.device_targets = {{kGpu, kGpuTarget}};
  const auto compiling =
      Session::WithPlanner(MakePlanner(Network(kGpu), compile).value(), With(Emulator()));
  ASSERT_TRUE(compiling.ok()) << compiling.status();
  ExpectEqualRuns(**compiling, **here);
  compile.targets = {kGpuTarget};
  compile.device_targets = {{"cpu", "cpu:native"}};
  SessionOptions there;
  there.device = Emulator();
  const auto from_gpu = Session::WithPlanner(MakePlanner(Network("cpu"), compile).value(), there);
  ASSERT_TRUE(from_gpu.ok()) << from_gpu.status();
  ExpectEqualRuns(**from_gpu, **here);
}

// Without a word, nodes of the name that the session's own device has are there; who gives another
// device for it is heard.
TEST(SeveralDevices, TheSessionsOwnDeviceHasItsName) {
  const auto here = Session::FromPackage(Package(Network(""), {}), {.threads = 1});
  ASSERT_TRUE(here.ok()) << here.status();
  const std::string package = Package(Network(kGpu), {{kGpu, "cpu:native"}});
  const auto far = std::make_shared<FarDevice>(kGpu), other = std::make_shared<FarDevice>();
  SessionOptions alone;
  alone.device = far;
  SessionOptions found = With(other, "cuda:7");
  found.device = far;
  for (const SessionOptions& options : {alone, found}) {
    const auto session = Session::FromPackage(package, options);
    ASSERT_TRUE(session.ok()) << session.status();
    ExpectEqualRuns(**session, **here);
  }
  SessionOptions replaced = With(other);
  replaced.device = far;
  const auto session = Session::FromPackage(package, replaced);
  ASSERT_TRUE(session.ok()) << session.status();
  ASSERT_TRUE((*session)->Run("init", {}).ok());
  other->FailAfter(0);
  EXPECT_THAT(std::string((*session)->Run("train_step", Feeds(3)).status().message()),
              HasSubstr("the far failed"));
  other->FailAfter(-1);
  SessionOptions seven;
  seven.device = std::make_shared<FarDevice>("cuda:7");
  EXPECT_THAT(std::string(Session::FromPackage(package, seven).status().message()),
              AllOf(HasSubstr("placed on 'cuda:0'"), HasSubstr("only cuda:7 and cpu")));
}

// The same package with another manifest.
std::string WithManifest(const std::string& package, const PackageManifest& manifest) {
  const Container container = Container::Open(Bytes::Of(package)).value();
  const std::string bytes = manifest.SerializeAsString();
  std::vector<SectionToWrite> sections = container.Sections();
  for (SectionToWrite& section : sections) {
    if (section.name == "manifest") section.bytes = bytes;
  }
  return WriteContainer(sections);
}

// On this processor, nodes of "cpu" are where the session runs, whatever others would be found by
// that name. Some packages say of variables where they live though that is so.
TEST(SeveralDevices, TheProcessorOfASessionIsThatOfItsNodes) {
  const auto here = Session::FromPackage(Package(Network(""), {}), {.threads = 1});
  ASSERT_TRUE(here.ok()) << here.status();
  const std::string package = Package(Network("cpu"), {});
  PackageManifest manifest = ManifestOf(package);
  EXPECT_EQ(manifest.min_consumer(), 1);
  for (PackageVariable& variable : *manifest.mutable_variables()) variable.set_device("cpu");
  SessionOptions by_name, refusing;
  by_name.threads = refusing.threads = 1;
  by_name.find_device = [](const std::string& name) { return MakeDevice(name, 1); };
  refusing.find_device = [](const std::string& name) -> absl::StatusOr<std::shared_ptr<Device>> {
    return absl::FailedPreconditionError("no device");
  };
  for (const std::string& each : {package, WithManifest(package, manifest)}) {
    EXPECT_THAT(DevicesOfPackage(Bytes::Of(each)).value(), IsEmpty());
    for (const SessionOptions& options : {by_name, refusing}) {
      const auto session = Session::FromPackage(each, options);
      ASSERT_TRUE(session.ok()) << session.status();
      ExpectEqualRuns(**session, **here);
    }
  }
}

// Also where values are compiled in, and sizes.
TEST(SeveralDevices, FrozenVariablesGoWhereTheyAreRead) {
  CompileOptions options;
  options.signatures = {"predict"};
  options.freeze = true;
  options.specialize = {{"batch", {4}}};
  options.variables = {
      {"w1", Ramp({6, 8}, 0.3f)}, {"b1", Ramp({8}, 0.2f)}, {"w2", Ramp({8, 2}, 0.1f)}};
  const auto here = Session::FromPackage(CompilePackage(Network(""), options).value());
  options.device_targets = {{kGpu, kGpuTarget}};
  const auto both =
      Session::FromPackage(CompilePackage(Network(kGpu), options).value(), With(Emulator()));
  ASSERT_TRUE(both.ok()) << both.status();
  for (const int64_t batch : {4, 5}) {
    NamedTensors feeds = Feeds(batch);
    feeds.erase("target");
    const auto x = (*both)->Run("predict", feeds), y = (*here)->Run("predict", feeds);
    ASSERT_TRUE(x.ok()) << x.status();
    for (const auto& [name, value] : *y) ExpectNear(x->at(name), value, kTolerance, name);
  }
}

TEST(SeveralDevices, GradientsAndStateAreWhereTheirNodesAre) {
  const GraphDef def = Network(kGpu).ToGraphDef().value();
  std::map<std::string, std::string> devices;
  for (const proto::NodeDef& node : def.nodes()) {
    for (const proto::NamedAttr& attr : node.attrs()) {
      if (attr.name() == "weft.device") devices[node.name()] = attr.value().s();
    }
  }
  EXPECT_EQ(devices["block/product"], kGpu);
  EXPECT_EQ(devices["block/hidden"], kGpu);
  int products = 0, there = 0;
  for (const proto::NodeDef& node : def.nodes()) {
    if (node.op() != "matmul") continue;
    ++products;
    there += devices.contains(node.name());
  }
  // Of the first layer: forward and the gradient of w1; x needs none.
  EXPECT_EQ(there, 2);
  EXPECT_EQ(products, 5);
  std::map<std::string, std::string> variables;
  for (const proto::VariableDef& variable : def.variables()) {
    variables[variable.name()] = variable.device();
  }
  for (const char* on_gpu : {"w1", "b1", "adam/m/w1", "adam/v/w1", "adam/m/b1"}) {
    EXPECT_EQ(variables.at(on_gpu), kGpu) << on_gpu;
  }
  for (const char* here : {"w2", "adam/m/w2", "adam/v/w2", "adam/step"}) {
    EXPECT_EQ(variables.at(here), "") << here;
  }
}

// Of a step's updates only numbers cross: no weights, no gradients, no moments, however gradients
// are clipped, and wherever the optimizer is asked.
TEST(SeveralDevices, UpdatesAreWhereTheVariablesAre) {
  for (const Clipping& clipping : {Clipping{}, Clipping{.norm = 1}, Clipping{.value = 0.5}}) {
    for (const std::string asked : {"", kGpu}) {
      Graph graph;
      Tensor x = graph.Input("x", DataType::kF32, {64});
      Variable here = graph.AddVariable("here", Ramp({64}, 0.1f)), there;
      Tensor near = ReduceSum(here * x, {0}), far;
      {
        const ScopeGuard scope = graph.WithDevice(kGpu);
        there = graph.AddVariable("there", Ramp({64}, 0.1f));
        far = ReduceSum(there * there, {0});
      }
      EXPECT_EQ(there.device(), kGpu);
      EXPECT_EQ(there.Read().device(), kGpu);
      EXPECT_EQ(far.device(), kGpu);
      EXPECT_EQ(here.device(), "");
      EXPECT_EQ(x.device(), "");
      {
        const ScopeGuard scope = graph.WithDevice(asked);
        graph.AddSignature("train_step", {},
                           Adam(graph, {.clipping = clipping}).Minimize(near + far));
      }
      ASSERT_TRUE(graph.status().ok()) << graph.status();
      EXPECT_EQ(graph.Variables().size(), 7u);
      for (const Variable& variable : graph.Variables()) {
        const bool is_far = absl::EndsWith(variable.name(), "there") ||
                            (asked == kGpu && variable.name() == "adam/step");
        EXPECT_EQ(variable.device(), is_far ? kGpu : "") << variable.name();
      }
      const PackageManifest manifest = ManifestOf(Package(graph, {{kGpu, kGpuTarget}}));
      int crossings = 0;
      for (const Plan& plan : manifest.targets(0).plans()) {
        if (plan.signature() != "train_step") continue;
        for (const Step& step : plan.blocks(0).steps()) {
          if (!step.has_copy()) continue;
          const Copy& copy = step.copy();
          if (plan.buffers(static_cast<int>(copy.source().buffer())).device() ==
              plan.buffers(static_cast<int>(copy.destination().buffer())).device()) {
            continue;
          }
          ++crossings;
          EXPECT_LE(plan.formulas(static_cast<int>(copy.size())).value(), 8);
        }
      }
      EXPECT_GT(crossings, 0) << clipping.norm << " " << asked;
    }
  }
}

TEST(SeveralDevices, FilesKeepThem) {
  const Graph graph = Network(kGpu);
  EXPECT_THAT(graph.Devices(), ElementsAre(Pair(kGpu, HasSubstr("several_devices_test.cc:"))));
  const std::string text = graph.ToText().value();
  const std::string path = testing::TempDir() + "/several.weft";
  ASSERT_TRUE(graph.Save(path).ok());
  for (const auto& loaded : {Graph::Load(path), Graph::FromText(text), graph.Clone()}) {
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(loaded->ToText().value(), text);
    EXPECT_EQ(loaded->Devices(), graph.Devices());
  }
}

TEST(SeveralDevices, OnlySuchPackagesNeedANewerRuntime) {
  const std::string plain = Package(Network(""), {});
  EXPECT_EQ(ManifestOf(plain).min_consumer(), 1);
  EXPECT_EQ(ManifestOf(Package(Network(kGpu), {{kGpu, kGpuTarget}})).min_consumer(), 2);
  // A processor is where the session runs anyway; its name changes nothing.
  CompileOptions ignoring;
  ignoring.ignore_devices = true;
  EXPECT_TRUE(CompilePackage(Network(kGpu), ignoring).value() == plain);
  EXPECT_TRUE(CompilePackage(Network("cpu"), ignoring).value() == plain);
  EXPECT_EQ(ManifestOf(Package(Network("cpu"), {})).targets(0).devices_size(), 0);
}

TEST(SeveralDevices, WhatIsMissingIsNamed) {
  const Graph graph = Network(kGpu);
  EXPECT_THAT(std::string(CompilePackage(graph, {}).status().message()),
              AllOf(HasSubstr("several_devices_test.cc:"), HasSubstr("placed on 'cuda:0'"),
                    HasSubstr("--target cuda:0=cuda:sm_80"), HasSubstr("--ignore-devices")));
  const std::string package = Package(graph, {{kGpu, kGpuTarget}});
  const absl::Status alone = Session::FromPackage(package, {.threads = 1}).status();
  EXPECT_EQ(alone.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(alone.message()),
              AllOf(HasSubstr("several_devices_test.cc:"), HasSubstr("placed on 'cuda:0'"),
                    HasSubstr("only cpu")));
  EXPECT_THAT(
      std::string(Session::FromPackage(package, With(Emulator(), "cuda:7")).status().message()),
      AllOf(HasSubstr("placed on 'cuda:0'"), HasSubstr("no such device")));
  const absl::Status null = Session::FromPackage(package, With(nullptr)).status();
  EXPECT_EQ(null.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(null.message()),
              AllOf(HasSubstr("placed on 'cuda:0'"), HasSubstr("find_device (SessionOptions)")));
  EXPECT_THAT(
      std::string(
          Session::FromPackage(package, With(Emulator("emulator:sm_70"))).status().message()),
      AllOf(HasSubstr("placed on 'cuda:0'"), HasSubstr("newer than cuda:sm_70"),
            HasSubstr("--target cuda:0=cuda:sm_70")));
  CompileOptions options;
  options.device_targets = {{"gpu", kGpuTarget}};
  EXPECT_THAT(std::string(CompilePackage(graph, options).status().message()),
              AllOf(HasSubstr("'cpu' or 'cuda:0'"), HasSubstr("got 'gpu'")));
  // Whether or not somebody gave it a target, and where some signatures alone are asked for.
  for (const bool given : {false, true}) {
    options.device_targets.clear();
    if (given) options.device_targets = {{kGpu, kGpuTarget}};
    for (const std::vector<std::string>& signatures :
         {std::vector<std::string>{}, std::vector<std::string>{"predict"}}) {
      options.signatures = signatures;
      const absl::Status refused =
          WriteArtifact(graph, options, Artifact::kObject, testing::TempDir() + "/several.o");
      EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(
          std::string(refused.message()),
          AllOf(HasSubstr("(tests/contracts/several_devices_test.cc:"),
                HasSubstr("is placed on 'cuda:0'"), HasSubstr("--ignore-devices"),
                HasSubstr("run on one processor; make a package"), Not(HasSubstr("--target"))));
    }
  }
}

// What no signature needs may be anywhere.
TEST(SeveralDevices, ArtifactsAreOfWhatSignaturesNeed) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4});
  graph.AddSignature("here", {{"y", x + 1.0f}});
  const ScopeGuard there = graph.WithDevice(kGpu);
  Tensor metric = Exp(x);
  const std::string path = testing::TempDir() + "/here.o";
  absl::Status written = WriteArtifact(graph, {}, Artifact::kObject, path);
  EXPECT_TRUE(written.ok()) << written;
  graph.AddSignature("there", {{"y", metric}});
  CompileOptions options;
  options.signatures = {"here"};
  written = WriteArtifact(graph, options, Artifact::kObject, path);
  EXPECT_TRUE(written.ok()) << written;
  EXPECT_THAT(std::string(WriteArtifact(graph, {}, Artifact::kObject, path).message()),
              HasSubstr("is placed on 'cuda:0'"));
}

TEST(SeveralDevices, NamesAreChecked) {
  for (const char* bad : {"gpu", "cuda", "cuda:", "cuda:01", "cuda:-1", "cuda:12345", "CPU"}) {
    Graph graph;
    const ScopeGuard scope = graph.WithDevice(bad);
    EXPECT_THAT(std::string(graph.status().message()),
                AllOf(HasSubstr("expected a device, 'cpu' or 'cuda:0'"), HasSubstr(bad),
                      HasSubstr("several_devices_test.cc:")));
  }
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4});
  const auto device_of = [&](const Tensor& tensor) {
    const GraphDef def = graph.ToGraphDef().value();
    for (const proto::NodeDef& node : def.nodes()) {
      if (node.name() != tensor.name()) continue;
      for (const proto::NamedAttr& attr : node.attrs()) {
        if (attr.name() == "weft.device") return attr.value().s();
      }
    }
    return std::string();
  };
  const ScopeGuard outer = graph.WithDevice("cuda:1");
  Tensor a = Exp(x), b, c;
  {
    const ScopeGuard inner = graph.WithDevice("cpu");
    const ScopeGuard named = graph.Scope("layer");
    b = Exp(x);
    const ScopeGuard main = graph.WithDevice("");
    c = Exp(x);
  }
  EXPECT_EQ(device_of(a), "cuda:1");
  EXPECT_EQ(device_of(b), "cpu");
  EXPECT_EQ(device_of(c), "");
  EXPECT_EQ(device_of(Exp(x)), "cuda:1");
  EXPECT_EQ(device_of(x), "");
}

// A custom gradient is the nodes of its body, as a loop is that of its: where these say nothing,
// they are where the session runs, and nobody asks for the device of the scope around. The
// adjoint's are there once gradients are taken.
TEST(SeveralDevices, CustomGradientsAreWhereTheirNodesAre) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4});
  const auto on = [&](const std::string& device, const Tensor& v) {
    const ScopeGuard there = graph.WithDevice(device);
    return std::vector{v * 2.0};
  };
  Tensor here, there;
  {
    const ScopeGuard around = graph.WithDevice(kGpu);
    here = CustomGradient(
        {x}, [&](const auto& v) { return on("", v[0]); },
        [&](const auto&, const auto&, const auto& dy) { return on("cuda:1", dy[0]); })[0];
  }
  there = CustomGradient(
      {x}, [&](const auto& v) { return on(kGpu, v[0]); },
      [&](const auto&, const auto&, const auto& dy) { return on("", dy[0]); })[0];
  graph.AddSignature("here", {{"y", here}});
  graph.AddSignature("there", {{"y", there}});
  graph.AddSignature("gradient", {{"y", Gradients(ReduceSum(here, {0}), {x})[0]}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const auto devices_of = [&](const char* signature) {
    CompileOptions options;
    options.signatures = {signature};
    options.device_targets = {{kGpu, kGpuTarget}, {"cuda:1", kGpuTarget}};
    std::vector<std::string> devices;
    const PackageManifest manifest = ManifestOf(CompilePackage(graph, options).value());
    for (const TargetPlans& placed : manifest.targets(0).devices()) {
      devices.push_back(placed.device());
    }
    return devices;
  };
  EXPECT_THAT(devices_of("here"), IsEmpty());
  EXPECT_THAT(devices_of("there"), ElementsAre(kGpu));
  EXPECT_THAT(devices_of("gradient"), ElementsAre("cuda:1"));
  CompileOptions alone;
  alone.signatures = {"here"};
  EXPECT_TRUE(CompilePackage(graph, alone).ok());
}

// What is clipped in functions of others is clipped where it is.
TEST(SeveralDevices, ClippingInBodiesIsWhereTheValuesAre) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {4}), b = graph.Input("b", DataType::kF32, {4});
  Tensor custom, loop;
  std::vector<Tensor> results;
  {
    const ScopeGuard scope = graph.WithDevice(kGpu);
    custom = CustomGradient(
        {x}, [](const auto& v) { return std::vector{v[0] * 2.0}; },
        [](const auto&, const auto&, const auto& dy) { return ClipByValue(dy, 1.0); })[0];
    // Both what is carried and what is taken from outside are where the loop is.
    loop = While(
        {x, ZerosLike(x)}, [](const auto& v) { return Less(ReduceSum(v[0], {0}), 100.0); },
        [&](const auto& v) {
          const ScopeGuard elsewhere = graph.WithDevice("cpu");
          EXPECT_EQ(v[0].device(), kGpu);
          return ClipByValue({v[0], b}, 3.0);
        },
        /*max_iterations=*/3)[0];
    // Its result is where the node is that makes it, or what is handed on.
    results = CustomGradient(
        {x, Exp(x)},
        [&](const auto& v) {
          const ScopeGuard main = graph.WithDevice("");
          return std::vector{v[0] * v[1], v[1], v[0]};
        },
        [](const auto&, const auto&, const auto& dy) { return std::vector{dy[0], dy[1]}; });
  }
  EXPECT_EQ(custom.device(), kGpu);
  EXPECT_EQ(loop.device(), kGpu);
  EXPECT_EQ(results[0].device(), "");
  EXPECT_EQ(results[1].device(), kGpu);
  EXPECT_EQ(results[2].device(), "");
  graph.AddSignature("run", {{"loop", loop}});
  graph.AddSignature("gradient", {{"y", Gradients(ReduceSum(custom, {0}), {x})[0]}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const GraphDef def = graph.ToGraphDef().value();
  int clamps = 0;
  const auto look = [&](const auto& nodes) {
    for (const proto::NodeDef& node : nodes) {
      if (node.op() != "clamp") continue;
      ++clamps;
      const bool there =
          std::any_of(node.attrs().begin(), node.attrs().end(), [](const auto& attr) {
            return attr.name() == "weft.device" && attr.value().s() == kGpu;
          });
      EXPECT_TRUE(there) << node.name();
    }
  };
  look(def.nodes());
  for (const proto::FunctionDef& function : def.functions()) look(function.nodes());
  // Of the adjoint, of its copy where it was asked for, and of the loop.
  EXPECT_EQ(clamps, 4);
}

// Assertions, prints and conditions look at values where these are; several names may mean one
// device, which then need not be another one either.
TEST(SeveralDevices, ValuesAreLookedAtWhereTheyAre) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  Tensor largest, shown;
  {
    const ScopeGuard there = graph.WithDevice("cuda:0");
    largest = ReduceMax(x, {0});
    shown = Print(CheckNumerics(x, "x must be finite"), "x", 2);
  }
  const ScopeGuard there = graph.WithDevice("cuda:1");
  const std::vector<Tensor> halved = While(
      {shown}, [](const std::vector<Tensor>& v) { return Greater(ReduceMax(v[0], {0}), 1.0); },
      [](const std::vector<Tensor>& v) { return std::vector{v[0] * 0.5}; }, 100);
  const std::vector<Tensor> chosen = Cond(
      Greater(largest, 10.0), [&] { return std::vector{halved[0] + 1.0}; },
      [&] { return std::vector{-halved[0]}; });
  graph.AddSignature("run", {{"y", chosen[0]}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const std::string package = Package(graph, {{"cuda:0", "cpu:native"}, {"cuda:1", "cpu:native"}});
  const auto cpu = MakeDevice("cpu", 2).value();
  const auto far = std::make_shared<FarDevice>();
  for (const std::vector<std::shared_ptr<Device>>& devices :
       {std::vector<std::shared_ptr<Device>>{far, std::make_shared<FarDevice>()},
        {far, far},
        {cpu, cpu},
        {cpu, far}}) {
    SessionOptions options;
    options.find_device = [=](const std::string& name) -> absl::StatusOr<std::shared_ptr<Device>> {
      return devices[name == "cuda:1"];
    };
    const auto session = Session::FromPackage(package, options);
    ASSERT_TRUE(session.ok()) << session.status();
    const auto run = [&](const std::vector<float>& values) {
      return (*session)->Run(
          "run", {{"x", HostTensor::Of<float>({static_cast<int64_t>(values.size())}, values)}});
    };
    testing::internal::CaptureStderr();
    const auto large = run({16, 4});
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "x: f32[2] [16, 4]\n");
    ASSERT_TRUE(large.ok()) << large.status();
    EXPECT_THAT(large->at("y").values<float>(), ElementsAre(2, 1.25));
    EXPECT_THAT(run({3, 2, 1})->at("y").values<float>(), ElementsAre(-0.75, -0.5, -0.25));
    EXPECT_THAT(std::string(run({INFINITY, 1}).status().message()), HasSubstr("x must be finite"));
  }
}

// A state that is carried on lies in the output that takes its place; that one device writes it
// while another one is still to read it changes nothing.
TEST(SeveralDevices, FeedsMayLieInOutputsOfOtherDevices) {
  Graph graph;
  Tensor y = graph.Input("y", DataType::kF32, {"n"});
  Tensor x, next;
  {
    const ScopeGuard there = graph.WithDevice(kGpu);
    x = graph.Input("x", DataType::kF32, {"n"});
    next = x + 1.0;
  }
  graph.AddSignature("run", {{"x", y * 2.0}, {"y", next}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const auto session = Session::FromPackage(Package(graph, {{kGpu, "cpu:native"}}),
                                            With(std::make_shared<FarDevice>()));
  ASSERT_TRUE(session.ok()) << session.status();
  NamedTensors state = {{"x", HostTensor::Of<float>({2}, {1, 2})},
                        {"y", HostTensor::Of<float>({2}, {10, 20})}};
  for (int i = 0; i < 3; ++i) {
    const absl::Status status = (*session)->RunInto("run", state, &state);
    ASSERT_TRUE(status.ok()) << status;
  }
  EXPECT_THAT(state["x"].values<float>(), ElementsAre(42, 82));
  EXPECT_THAT(state["y"].values<float>(), ElementsAre(5, 7));
}

// What crosses between two devices that are both elsewhere goes through memory of the host.
TEST(SeveralDevices, TheCertificateCountsWhatCrossesOnTheHost) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  Tensor first, second;
  {
    const ScopeGuard there = graph.WithDevice("cuda:0");
    first = Tanh(x);
  }
  {
    const ScopeGuard there = graph.WithDevice("cuda:1");
    second = ReduceSum(first, {0});
  }
  graph.AddSignature("run", {{"y", second}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const std::string package = Package(graph, {{"cuda:0", "cpu:native"}, {"cuda:1", "cpu:native"}});
  const auto far = std::make_shared<FarDevice>(), other = std::make_shared<FarDevice>();
  const auto open = [&](const std::shared_ptr<Device>& one, int64_t max_memory_bytes) {
    SessionOptions options;
    options.threads = 1;
    options.max_memory_bytes = max_memory_bytes;
    options.find_device = [=](const std::string& name) { return name == "cuda:1" ? one : far; };
    return Session::FromPackage(package, options).value();
  };
  const auto peak = [](Session& session) {
    return (*session.Prepare("run", {{1001}}))->peak_bytes();
  };
  const int64_t apart = peak(*open(other, 0));
  EXPECT_EQ(apart - peak(*open(far, 0)), 1001 * 4);
  EXPECT_TRUE(open(other, apart)->Prepare("run", {{1001}}).ok());
  const absl::Status refused = open(other, apart - 1)->Prepare("run", {{1001}}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
}

// A budget is for the device that the targets are for, where values are computed again; what is
// elsewhere does not count.
TEST(SeveralDevices, AMemoryBudgetIsForTheMainDevice) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {64, 64});
  Variable v = graph.AddVariable("v", Ramp({64, 64}, 0.1f));
  Tensor there;
  {
    const ScopeGuard scope = graph.WithDevice(kGpu);
    there = Tanh(MatMul(x, x));
    for (int i = 0; i < 4; ++i) there = Tanh(MatMul(there, there)) + there;
  }
  Tensor y = there + v.Read();
  for (int i = 0; i < 6; ++i) y = Tanh(Exp(Tanh(y) * 0.1)) * 0.5;
  Tensor loss = Mean(MatMul(y, y));
  graph.AddSignature("step", {{"loss", loss}}, Sgd(graph, {}).Minimize(loss));
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  CompileOptions options;
  options.targets = {"cpu:x86-64-v3"};
  options.device_targets = {{kGpu, "cpu:x86-64-v3"}};
  const auto package = CompilePackage(graph, options);
  ASSERT_TRUE(package.ok()) << package.status();
  options.memory_budget = 1;
  const auto needed = [&](const std::vector<std::string>& disabled) {
    options.disabled_passes = disabled;
    const std::string message(CompilePackage(graph, options).status().message());
    EXPECT_THAT(message, HasSubstr(" on the device of cpu:x86-64-v3, "));
    int64_t bytes = 0;
    EXPECT_EQ(std::sscanf(message.c_str() + std::min(message.size(), message.find("needs ")),
                          "needs %" SCNd64, &bytes),
              1)
        << message;
    return bytes;
  };
  const int64_t all = needed({"rematerialize"}), least = needed({});
  EXPECT_LT(least, all);
  options.disabled_passes = {};
  options.memory_budget = (least + all) / 2;
  const auto within = CompilePackage(graph, options);
  ASSERT_TRUE(within.ok()) << within.status();
  const auto far = std::make_shared<FarDevice>();
  const NamedTensors feeds = {{"x", Ramp({64, 64}, 0.01f)}};
  const auto a = Session::FromPackage(*package, With(far)).value(),
             b = Session::FromPackage(*within, With(far)).value();
  // Of both devices together.
  EXPECT_GT((*a->Prepare("step", {{64, 64}}))->peak_bytes(), all);
  EXPECT_LT((*b->Prepare("step", {{64, 64}}))->peak_bytes(),
            (*a->Prepare("step", {{64, 64}}))->peak_bytes());
  for (Session* session : {a.get(), b.get()}) ASSERT_TRUE(session->Run("init", {}).ok());
  for (int i = 0; i < 3; ++i) {
    const auto first = a->Run("step", feeds), second = b->Run("step", feeds);
    ASSERT_TRUE(first.ok()) << first.status();
    ASSERT_TRUE(second.ok()) << second.status();
    ExpectNear(second->at("loss"), first->at("loss"), kTolerance, "loss");
  }
  ExpectNear(*b->GetVariable("v"), *a->GetVariable("v"), kTolerance, "v");
}

// Nobody knows what variables hold where one of the devices failed.
TEST(SeveralDevices, TheOneThatFailsIsNamed) {
  const auto far = std::make_shared<FarDevice>();
  const auto session =
      Session::FromPackage(Package(Network(kGpu), {{kGpu, "cpu:native"}}), With(far));
  ASSERT_TRUE(session.ok()) << session.status();
  ASSERT_TRUE((*session)->Run("init", {}).ok());
  far->FailAfter(1);
  const absl::Status step = (*session)->Run("train_step", Feeds(3)).status();
  EXPECT_EQ(step.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(step.message()), HasSubstr("the far failed: told to fail"));
  far->FailAfter(-1);
  ASSERT_TRUE((*session)->Run("init", {}).ok());
  EXPECT_TRUE((*session)->Run("train_step", Feeds(3)).ok());
  // A deadline that has passed changes nothing.
  const auto before = (*session)->GetVariables();
  RunOptions late;
  late.deadline = absl::InfinitePast();
  EXPECT_EQ((*session)->Run("train_step", Feeds(3), late).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  const auto after = (*session)->GetVariables();
  for (const auto& [name, value] : *after) {
    EXPECT_EQ(value.ToString(100), before->at(name).ToString(100)) << name;
  }
}

// Before it writes a variable, a run that may be stopped waits for all devices, so that one that
// fails until then changes none. A run that may not be stopped waits for none.
TEST(SeveralDevices, VariablesChangeOnceAllDevicesAreDone) {
  Graph graph("counts");
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  Tensor elsewhere;
  {
    const ScopeGuard there = graph.WithDevice(kGpu);
    elsewhere = Tanh(x);
  }
  Variable count = graph.AddVariable("count", HostTensor::Scalar<float>(1));
  graph.AddSignature("step", {{"y", elsewhere}}, {count.Assign(count.Read() + 1.0)});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const auto far = std::make_shared<FarDevice>();
  const auto session = Session::FromPackage(Package(graph, {{kGpu, "cpu:native"}}), With(far));
  ASSERT_TRUE(session.ok()) << session.status();
  const NamedTensors feeds = {{"x", Ramp({5}, 0.1f)}};
  for (const bool may_be_stopped : {true, false}) {
    ASSERT_TRUE((*session)->Run("init", {}).ok());
    RunOptions options;
    if (may_be_stopped) options.deadline = absl::Now() + absl::Hours(1);
    far->FailAfter(0);
    const absl::Status failed = (*session)->Run("step", feeds, options).status();
    EXPECT_EQ(failed.code(), absl::StatusCode::kInternal) << failed;
    far->FailAfter(-1);
    const absl::StatusOr<HostTensor> value = (*session)->GetVariable("count");
    EXPECT_EQ(value.ok(), may_be_stopped) << value.status();
    if (value.ok()) EXPECT_EQ(value->values<float>()[0], 1);
    EXPECT_EQ(absl::StrContains(failed.message(), "have no value now"), !may_be_stopped) << failed;
  }
  ASSERT_TRUE((*session)->Run("init", {}).ok());
  ASSERT_TRUE((*session)->Run("step", feeds).ok());
  EXPECT_EQ((*session)->GetVariable("count")->values<float>()[0], 2);
}

}  // namespace
}  // namespace weft
