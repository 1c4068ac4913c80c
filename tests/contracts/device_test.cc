// The same graph on another device: a GPU, emulated and checked, gives what this processor gives,
// in training, prediction, loops and branches; what cannot run there is refused in words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "compiler/api.h"
#include "graph/graph.h"
#include "proto/container.h"
#include "proto/plan.pb.h"
#include "runtime/devices.h"
#include "runtime/ptx_emulator/emulator_device.h"
#include "runtime/session.h"
#include "tests/conformance/manifest.h"
#include "tests/conformance/targets.h"
#include "tests/contracts/near.h"
#include "tests/contracts/small_network.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::shared_ptr<Device> Emulator(const std::string& generation, int threads = 1) {
  return MakeDevice("emulator:" + generation, threads).value();
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

// With one host thread, and with several that run the blocks of a launch at once.
class DevicesOfThreads : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Threads, DevicesOfThreads, testing::Values(1, 4),
                         testing::PrintToStringParamName());

// Sums are added up in another order there; random numbers are the same bits.
TEST_P(DevicesOfThreads, TrainingAgreesWithThisProcessor) {
  const std::string package = PackageFor(SmallNetwork(), {"cuda:sm_80", "cpu:x86-64-v3"});
  const auto here = Open(package), there = Open(package, DeviceFor("cuda:sm_80", GetParam()));
  ASSERT_TRUE(here.ok()) << here.status();
  ASSERT_TRUE(there.ok()) << there.status();
  for (Session* session : {here->get(), there->get()}) {
    const auto init = session->Run("init", {});
    ASSERT_TRUE(init.ok()) << init.status();
  }
  for (const int64_t batch : {4, 7, 4}) {
    const auto a = (*here)->Run("train_step", FeedsOfSmallNetwork(batch));
    const auto b = (*there)->Run("train_step", FeedsOfSmallNetwork(batch));
    ASSERT_TRUE(a.ok()) << a.status();
    ASSERT_TRUE(b.ok()) << b.status();
    ExpectNear(b->at("loss"), a->at("loss"), 1e-4, "loss");
  }
  NamedTensors feeds = FeedsOfSmallNetwork(3);
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
  const auto session = Open(PackageFor(graph, {"cuda:sm_70"}), DeviceFor("cuda:sm_90"));
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
  const std::string for_cpu = PackageFor(SmallNetwork(), {"cpu:x86-64-v3"});
  EXPECT_THAT(std::string(Open(for_cpu, Emulator("sm_80")).status().message()),
              AllOf(HasSubstr("no code for the emulator"), HasSubstr("--target cuda:sm_80")));
  const std::string for_gpu = PackageFor(SmallNetwork(), {"cuda:sm_90a"});
  EXPECT_THAT(std::string(Open(for_gpu).status().message()),
              AllOf(HasSubstr("no code for the cpu"), HasSubstr("is for another device")));
  EXPECT_THAT(std::string(Open(for_gpu, Emulator("sm_80")).status().message()),
              HasSubstr("cuda:sm_90a is newer than cuda:sm_80"));
  EXPECT_TRUE(Open(for_gpu, Emulator("sm_90")).ok());
  EXPECT_THAT(std::string(MakeDevice("gpu", 1).status().message()),
              AllOf(HasSubstr("'gpu'"), HasSubstr("emulator:sm_80")));
}

// Products on sm_90a whose kernels take tensor maps: an older runtime, which would launch them
// without, refuses the package.
TEST(Devices, ProductsByTensorMaps) {
  Graph graph("product");
  Tensor x = graph.Input("x", DataType::kF16, {"rows", 64}),
         w = graph.Input("w", DataType::kF16, {64, 576}),
         bias = graph.Input("bias", DataType::kF16, {576});
  graph.AddSignature("f", {{"y", Relu(MatMul(x, w) + bias)}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const std::string package = PackageFor(graph, {"cuda:sm_90a", "cpu:x86-64-v3"});
  const PackageManifest manifest = ManifestOf(package);
  EXPECT_EQ(manifest.version(), 3);
  EXPECT_EQ(manifest.min_consumer(), 3);
  const Plan& plan = manifest.targets(0).plans(0);
  ASSERT_EQ(plan.kernels_size(), 1);
  EXPECT_EQ(plan.kernels(0).maps_size(), 2);
  EXPECT_EQ(ManifestOf(PackageFor(graph, {"cuda:sm_90"})).min_consumer(), 1);

  const auto here = Open(package), there = Open(package, Emulator("sm_90"));
  ASSERT_TRUE(here.ok()) << here.status();
  ASSERT_TRUE(there.ok()) << there.status();
  // Small multiples of a quarter, whose sums are exact.
  const auto values = [](const std::vector<int64_t>& shape, int factor) {
    HostTensor tensor = *HostTensor::Create(DataType::kF16, shape);
    int i = 0;
    for (F16& value : tensor.mutable_values<F16>()) {
      value = F16(static_cast<float>(i++ * factor % 9 - 4) / 4);
    }
    return tensor;
  };
  for (const int64_t rows : {150, 1, 0}) {
    const NamedTensors feeds = {
        {"x", values({rows, 64}, 5)}, {"w", values({64, 576}, 7)}, {"bias", values({576}, 4)}};
    const auto a = (*here)->Run("f", feeds), b = (*there)->Run("f", feeds);
    ASSERT_TRUE(a.ok()) << a.status();
    ASSERT_TRUE(b.ok()) << b.status();
    ExpectNear(b->at("y"), a->at("y"), 0, "y");
    if (rows == 0) continue;
    EXPECT_EQ(memcmp(a->at("y").data(), b->at("y").data(), a->at("y").size_bytes()), 0);
  }
}

// Convolutions take images as they are, and the copies of boxes have zeros for the padding: it is
// one kernel, where others have a second one that pads.
TEST(Devices, ConvolutionsByTensorMaps) {
  Graph graph("convolution");
  Tensor x = graph.Input("x", DataType::kF16, {"images", 10, 9, 64}),
         w = graph.Input("w", DataType::kF16, {3, 3, 64, 640}),
         bias = graph.Input("bias", DataType::kF16, {640});
  graph.AddSignature("f", {{"y", Relu(Conv2D(x, w, {1, 2}, {1, 1, 2, 0}, {1, 1}) + bias)}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const std::string package = PackageFor(graph, {"cuda:sm_90a", "cpu:x86-64-v3"});
  const PackageManifest manifest = ManifestOf(package);
  EXPECT_EQ(manifest.min_consumer(), 3);
  const Plan& plan = manifest.targets(0).plans(0);
  ASSERT_EQ(plan.kernels_size(), 1);
  ASSERT_EQ(plan.kernels(0).maps_size(), 2);
  EXPECT_EQ(plan.kernels(0).maps(0).lower_corner(0), -2);
  EXPECT_EQ(plan.kernels(0).maps(0).lower_corner(1), -1);
  EXPECT_EQ(ManifestOf(PackageFor(graph, {"cuda:sm_90"})).targets(0).plans(0).kernels_size(), 2);

  const auto here = Open(package), there = Open(package, Emulator("sm_90"));
  ASSERT_TRUE(here.ok()) << here.status();
  ASSERT_TRUE(there.ok()) << there.status();
  const auto values = [](const std::vector<int64_t>& shape, int factor) {
    HostTensor tensor = *HostTensor::Create(DataType::kF16, shape);
    int i = 0;
    for (F16& value : tensor.mutable_values<F16>()) {
      value = F16(static_cast<float>(i++ * factor % 5 - 2) / 2);
    }
    return tensor;
  };
  for (const int64_t images : {2, 0}) {
    const NamedTensors feeds = {{"x", values({images, 10, 9, 64}, 3)},
                                {"w", values({3, 3, 64, 640}, 7)},
                                {"bias", values({640}, 4)}};
    const auto a = (*here)->Run("f", feeds), b = (*there)->Run("f", feeds);
    ASSERT_TRUE(a.ok()) << a.status();
    ASSERT_TRUE(b.ok()) << b.status();
    ExpectNear(b->at("y"), a->at("y"), 0, "y");
  }
}

TEST(Devices, TooLittleMemoryIsTold) {
  const std::string package = PackageFor(SmallNetwork(), {"cuda:sm_80"});
  const auto device = MakeEmulatorDevice({.sm = 80, .memory_bytes = 4 << 20});
  ASSERT_TRUE(device.ok()) << device.status();
  const auto session = Open(package, *device);
  ASSERT_TRUE(session.ok()) << session.status();
  ASSERT_TRUE((*session)->Run("init", {}).ok());
  const auto step = (*session)->Run("train_step", FeedsOfSmallNetwork(200));
  EXPECT_EQ(step.status().code(), absl::StatusCode::kResourceExhausted) << step.status();
}

// The error names what the memory was for: arena and scratch are not all that a run needs there.
TEST(Devices, TooLittleMemoryIsToldWithWhatItIsFor) {
  const auto message = [](const std::function<Tensor(Graph&)>& result, const HostTensor& x) {
    Graph graph("large");
    graph.AddSignature("run", {{"y", result(graph)}});
    EXPECT_TRUE(graph.status().ok()) << graph.status();
    const auto session = Open(PackageFor(graph, {"cuda:sm_80"}),
                              *MakeEmulatorDevice({.sm = 80, .memory_bytes = 4 << 20}));
    EXPECT_TRUE(session.ok()) << session.status();
    const absl::Status status = (*session)->Run("run", {{"x", x}}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    return std::string(status.message());
  };
  const HostTensor large = *HostTensor::Create(DataType::kF32, {1 << 20});
  EXPECT_THAT(
      message([](Graph& g) { return ReduceMax(g.Input("x", DataType::kF32, {"n"}), {0}); }, large),
      AllOf(HasSubstr("needs 4194304 bytes for input 'x' on the emulator"),
            HasSubstr("device memory"), Not(HasSubstr("the largest part"))));
  const HostTensor small = *HostTensor::Create(DataType::kF32, {1 << 10});
  EXPECT_THAT(message(
                  [](Graph& g) {
                    Tensor x = g.Input("x", DataType::kF32, {"n"});
                    return Reshape(x, {DimExpr(1), x.dim(0)}) * Reshape(x, {x.dim(0), DimExpr(1)});
                  },
                  small),
              HasSubstr("needs 4194304 bytes for output 'y' on the emulator"));
}

// The package with its manifest and its code for sm_80 changed.
std::string Changed(const std::string& package,
                    const std::function<void(PackageManifest&, std::string&)>& change) {
  const auto container = Container::Open(Bytes::Of(package));
  EXPECT_TRUE(container.ok()) << container.status();
  PackageManifest manifest = ManifestOf(*container);
  std::string code(container->Section("code.sm_80").value());
  change(manifest, code);
  const std::string bytes = manifest.SerializeAsString();
  std::vector<SectionToWrite> sections;
  for (const std::string& name : container->Names()) {
    sections.push_back({name,
                        name == "manifest"     ? std::string_view(bytes)
                        : name == "code.sm_80" ? std::string_view(code)
                                               : container->Section(name).value(),
                        12});
  }
  return WriteContainer(sections);
}

// A package whose code does something else than its plan says: what it does is found, and named.
TEST_P(DevicesOfThreads, FindingsNameKernelNodeAndLine) {
  Graph graph("findings");
  Tensor x = graph.Input("x", DataType::kF32, {300});
  graph.AddSignature("run", {{"y", Exp(x) + 1.0f}});
  const std::string package = PackageFor(graph, {"cuda:sm_80"});
  const auto run_with = [&](const std::string& from, const std::string& to) {
    const auto session = Open(Changed(package,
                                      [&](PackageManifest&, std::string& code) {
                                        const size_t at = code.find(from);
                                        ASSERT_NE(at, std::string::npos) << from << "\n" << code;
                                        code.replace(at, from.size(), to);
                                      }),
                              Emulator("sm_80", GetParam()));
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

// A kernel that ends only when it is told to.
absl::StatusOr<std::unique_ptr<Session>> OpenEndless(std::shared_ptr<Device> device) {
  Graph graph("endless");
  graph.AddSignature("run", {{"y", Exp(graph.Input("x", DataType::kF32, {300}))}});
  return Open(Changed(PackageFor(graph, {"cuda:sm_80"}),
                      [&](PackageManifest&, std::string& code) {
                        const size_t end = code.rfind("\tret;");
                        ASSERT_NE(end, std::string::npos) << code;
                        code.insert(end, "\tEndless: bra Endless;\n");
                      }),
              std::move(device));
}

// Deadline and cancellation end a launch, and others go on beside it on the same device.
TEST(Devices, ALaunchEndsInTime) {
  const std::shared_ptr<Device> device = Emulator("sm_80");
  const auto session = OpenEndless(device);
  ASSERT_TRUE(session.ok()) << session.status();
  const NamedTensors feeds = {{"x", *HostTensor::Create(DataType::kF32, {300})}};
  // On a slow machine the time may be over before the launch; then it is given more.
  std::string late;
  for (absl::Duration time = absl::Milliseconds(50);
       late.find("exp") == std::string::npos && time < absl::Minutes(1); time *= 2) {
    RunOptions deadline;
    deadline.deadline = absl::Now() + time;
    const absl::Status status = (*session)->Run("run", feeds, deadline).status();
    ASSERT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    late = std::string(status.message());
  }
  EXPECT_THAT(late, AllOf(HasSubstr("exp"), HasSubstr("device_test.cc:")));

  std::atomic<bool> cancel = false;
  RunOptions cancellable;
  cancellable.cancel = &cancel;
  absl::Status cancelled;
  std::thread thread([&] { cancelled = (*session)->Run("run", feeds, cancellable).status(); });
  Graph graph("other");
  graph.AddSignature("run", {{"y", Exp(graph.Input("x", DataType::kF32, {300}))}});
  const auto other = Open(PackageFor(graph, {"cuda:sm_80"}), device);
  EXPECT_TRUE(other.ok()) << other.status();
  for (int i = 0; i < 3 && other.ok(); ++i) {
    const absl::Status status = (*other)->Run("run", feeds).status();
    EXPECT_TRUE(status.ok()) << status;
  }
  cancel = true;
  thread.join();
  EXPECT_EQ(cancelled.code(), absl::StatusCode::kCancelled) << cancelled;
}

// What a package says of its kernels is checked before one is launched.
TEST(Devices, KernelsThatNobodyCanLaunch) {
  Graph graph("kernels");
  graph.AddSignature("run", {{"y", Exp(graph.Input("x", DataType::kF32, {300}))}});
  const std::string package = PackageFor(graph, {"cuda:sm_80"});
  const auto message = [&](const std::function<void(PackageManifest&, std::string&)>& change) {
    return std::string(Open(Changed(package, change), Emulator("sm_80")).status().message());
  };
  EXPECT_THAT(message([](PackageManifest& manifest, std::string& code) {
                const std::string& name = manifest.targets(0).plans(0).kernels(0).name();
                code = ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry " + name +
                       "(.param .b8 p[16000])\n{\nret;\n}\n";
              }),
              HasSubstr("expected a parameter of 8 bytes, got one of 16000 (number 1)"));
  for (const uint32_t threads : {0u, 1025u}) {
    EXPECT_THAT(message([&](PackageManifest& manifest, std::string&) {
                  Plan* plan = manifest.mutable_targets(0)->mutable_plans(0);
                  plan->mutable_kernels(0)->set_block_threads(threads);
                }),
                HasSubstr("expected 1 to 1024 threads in a block, got " + std::to_string(threads)));
  }
}

// In every run: what the one before left in the arena is nobody's to read.
TEST(Devices, AMissingLaunchIsFound) {
  Graph graph("missing");
  graph.AddSignature("run", {{"y", CumSum(Exp(graph.Input("x", DataType::kF32, {300})), 0)}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const auto session =
      Open(Changed(PackageFor(graph, {"cuda:sm_80"}),
                   [](PackageManifest& manifest, std::string&) {
                     Plan* plan = manifest.mutable_targets(0)->mutable_plans(0);
                     ASSERT_EQ(plan->blocks(0).steps_size(), 2);
                     plan->mutable_blocks(0)->mutable_steps()->DeleteSubrange(0, 1);
                     plan->set_commit_step(1);
                   }),
           Emulator("sm_80"));
  ASSERT_TRUE(session.ok()) << session.status();
  const NamedTensors feeds = {{"x", *HostTensor::Create(DataType::kF32, {300})}};
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(std::string((*session)->Run("run", feeds).status().message()),
                AllOf(HasSubstr("uninitialised"), HasSubstr("cumsum")));
  }
}

// Of parameters and of shared memory a kernel has no more than every driver takes.
TEST(Devices, KernelsStayWithinWhatDriversTake) {
  CompileOptions options;
  options.targets = {"cuda:sm_80"};
  Graph many("many");
  std::vector<Tensor> parts;
  for (int i = 0; i < 600; ++i) {
    const std::string number = std::to_string(i), size = "n" + number;
    parts.push_back(many.Input("x" + number, DataType::kF32, {size.c_str()}));
  }
  many.AddSignature("run", {{"y", Concat(parts, 0)}});
  const auto concat = CompileToText(many, options, "asm");
  ASSERT_TRUE(concat.ok()) << concat.status();
  int entries = 0;
  for (size_t at = 0; (at = concat->find(".entry", at)) != std::string::npos; ++at, ++entries) {
    const std::string list = concat->substr(at, concat->find(')', at) - at);
    int parameters = 0;
    for (size_t p = 0; (p = list.find(".param", p)) != std::string::npos; ++p) ++parameters;
    EXPECT_LE(8 * parameters, 4352);
  }
  EXPECT_GT(entries, 0);
  Graph reductions("reductions");
  Tensor x = reductions.Input("x", DataType::kBF16, {256, 262144});
  reductions.AddSignature("run", {{"a", ReduceMax(x, {0})},
                                  {"b", ReduceMin(x, {0})},
                                  {"c", ReduceSum(x, {0})},
                                  {"d", ReduceProd(x, {0})},
                                  {"e", ArgMax(x, 0)},
                                  {"f", ArgMin(x, 0)}});
  const auto text = CompileToText(reductions, options, "asm");
  ASSERT_TRUE(text.ok()) << text.status();
  entries = 0;
  int shared = 0;
  for (size_t at = 0; (at = text->find(".entry", at)) != std::string::npos; ++at) ++entries;
  for (size_t at = 0; (at = text->find(".shared .align", at)) != std::string::npos; ++at) {
    shared += std::stoi(text->substr(text->find('[', at) + 1));
  }
  EXPECT_EQ(entries, 1);
  EXPECT_GT(shared, 0);
  EXPECT_LE(shared, 48 << 10);
}

}  // namespace
}  // namespace weft
