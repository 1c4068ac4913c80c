// What is too much for one kernel of a GPU: several kernels, or the processor's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compiler/api.h"
#include "graph/graph.h"
#include "graph/layers/functions.h"
#include "proto/container.h"
#include "proto/plan.pb.h"
#include "runtime/session.h"
#include "tests/conformance/manifest.h"
#include "tests/contracts/two_devices.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A sum, node 'sum', of so many sizes that no one kernel of a GPU has parameters for them, and
// `twice`, which needs few, and makes the sum's first part for itself; and, if wanted, the softmax
// of a thousandth of the sum. All on `device`.
Graph TooManySizes(const std::string& device, NamedTensors* feeds, bool softmax = false) {
  constexpr int kRank = 24, kInputs = 24;
  Graph graph;
  const ScopeGuard there = graph.WithDevice(device);
  std::vector<int64_t> two_by_ones(kRank, 1);
  two_by_ones[0] = 2;
  const Shape shape(two_by_ones.begin(), two_by_ones.end());
  Tensor number = graph.Input("number", DataType::kF32, {});
  (*feeds)["number"] = HostTensor::Scalar<float>(1);
  Tensor more = graph.Input("more", DataType::kF32, {shape.begin(), shape.end()});
  (*feeds)["more"] = HostTensor::Of<float>(two_by_ones, {3, 4});
  Tensor part = Broadcast(number, shape), sum = part;
  std::vector<std::pair<std::string, Tensor>> outputs;
  for (int i = 0; i < kInputs; ++i) {
    // All dimensions are sizes of their own, which a kernel of all would need.
    std::vector<Graph::Dim> sizes, larger;
    for (int j = 0; j < kRank; ++j) {
      const DimExpr size = DimExpr::Symbol("d" + std::to_string(i * kRank + j));
      sizes.emplace_back(size);
      larger.emplace_back(DimExpr::Max(size, j == 0 ? 2 : 1));
    }
    const std::string index = std::to_string(i);
    // For the sizes.
    outputs.emplace_back("e" + index, graph.Input("e" + index, DataType::kF32, sizes));
    (*feeds)["e" + index] = HostTensor::Of<float>(std::vector<int64_t>(kRank, 1), {0});
    Tensor x = graph.Input("x" + index, DataType::kF32, larger);
    x = Slice(x, Shape(kRank, 0), shape, std::vector<int64_t>(kRank, 1));
    sum = (sum + x).Named("sum");
    const auto value = static_cast<float>(i);
    (*feeds)["x" + index] = HostTensor::Of<float>(two_by_ones, {value, -value});
  }
  outputs.emplace_back("y", sum);
  outputs.emplace_back("twice", Concat({part, more}, 0) * 2.0);
  if (softmax) outputs.emplace_back("softmax", Softmax(Reshape(sum, {1, 2}) * 0.001));
  graph.AddSignature("run", outputs);
  EXPECT_TRUE(graph.status().ok()) << graph.status();
  return graph;
}

// Of a run, whose sum and doubles are right.
NamedTensors ResultsOf(const std::string& package, const SessionOptions& options,
                       const NamedTensors& feeds) {
  const auto session = Session::FromPackage(package, options);
  EXPECT_TRUE(session.ok()) << session.status();
  const auto results = session.ok() ? (*session)->Run("run", feeds) : session.status();
  EXPECT_TRUE(results.ok()) << results.status();
  if (!results.ok()) return {};
  EXPECT_THAT(results->at("y").values<float>(), ElementsAre(277, -275));
  EXPECT_THAT(results->at("twice").values<float>(), ElementsAre(2, 2, 6, 8));
  return *results;
}

// In as many kernels as that takes, all of them the GPU's: of the session's device, or another one.
void ExpectSeveralKernels(const std::string& device, bool softmax) {
  SCOPED_TRACE(device + (softmax ? " softmax" : ""));
  NamedTensors feeds;
  const Graph graph = TooManySizes(device, &feeds, softmax);
  CompileOptions options;
  options.warn = [](const std::string& line) { ADD_FAILURE() << line; };
  std::vector<std::string> lines;
  options.explain = [&](const std::string& line) { lines.push_back(line); };
  SessionOptions there = With(Emulator());
  if (device.empty()) {
    options.targets = {kGpuTarget};
    options.device_targets = {{"cpu", "cpu:native"}};
    there = {};
    there.device = Emulator();
  } else {
    options.device_targets = {{kGpu, kGpuTarget}};
  }
  const auto package = CompilePackage(graph, options);
  ASSERT_TRUE(package.ok()) << package.status();
  // One fusion: with the softmax, that of a row.
  EXPECT_THAT(lines, Contains(AllOf(HasSubstr(softmax ? "node 'div' (" : "node 'sum"),
                                    HasSubstr("large_kernels_test.cc:"),
                                    HasSubstr("with it is 2 kernels: expected"),
                                    HasSubstr("at most 544 tensors and sizes"))));
  const PackageManifest manifest = ManifestOf(*package);
  for (const Kernel& kernel : manifest.targets(0).plans(0).kernels()) {
    EXPECT_EQ(kernel.device(), device.empty() ? 0u : 1u);
    EXPECT_GT(kernel.block_threads(), 0u);
  }
  const NamedTensors results = ResultsOf(*package, there, feeds);
  if (!softmax) return;
  const double first = 1 / (1 + std::exp(-0.552));
  EXPECT_NEAR(results.at("softmax").values<float>()[0], first, 1e-6);
  EXPECT_NEAR(results.at("softmax").values<float>()[1], 1 - first, 1e-6);
}

TEST(LargeKernels, WhatIsTooMuchForOneKernelIsSeveral) {
  for (const std::string device : {"", kGpu}) {
    for (const bool softmax : {false, true}) ExpectSeveralKernels(device, softmax);
  }
}

// What a GPU has no code for runs on the processor, and the author is told.
TEST(LargeKernels, WhatHasNoCodeRunsOnTheProcessor) {
  NamedTensors feeds;
  const Graph graph = TooManySizes("", &feeds);
  CompileOptions options;
  options.targets = {kGpuTarget};
  options.disabled_passes = {"split_kernels"};
  EXPECT_THAT(std::string(CompilePackage(graph, options).status().message()),
              AllOf(HasSubstr("large_kernels_test.cc:"), HasSubstr("at most 544"),
                    HasSubstr("the pass 'split_kernels', which is disabled"),
                    HasSubstr("--target cpu=cpu:x86-64-v3")));
  std::vector<std::string> warnings;
  options.device_targets = {{"cpu", "cpu:native"}};
  options.warn = [&](const std::string& line) { warnings.push_back(line); };
  const auto package = CompilePackage(graph, options);
  ASSERT_TRUE(package.ok()) << package.status();
  EXPECT_THAT(warnings, ElementsAre(AllOf(HasSubstr("'sum' (tests/contracts/large_kernels_test"),
                                          HasSubstr("no code for cuda:sm_80"))));
  SessionOptions there;
  there.device = Emulator();
  (void)ResultsOf(*package, there, feeds);
}

// The processor is one more device then, of which there may be so many.
TEST(LargeKernels, TheProcessorIsCountedWithTheOthers) {
  for (const int others : {14, 15}) {
    NamedTensors feeds;
    Graph graph = TooManySizes("", &feeds);
    Tensor x = graph.Input("x", DataType::kF32, {4});
    for (int i = 1; i <= others; ++i) {
      const ScopeGuard there = graph.WithDevice("cuda:" + std::to_string(i));
      x = Exp(x);
    }
    graph.AddSignature("around", {{"x", x}});
    CompileOptions options;
    options.targets = {kGpuTarget};
    options.device_targets = {{"cpu", "cpu:native"}};
    options.disabled_passes = {"split_kernels"};
    const absl::Status compiled = CompilePackage(graph, options).status();
    if (others == 14) {
      EXPECT_TRUE(compiled.ok()) << compiled;
      continue;
    }
    EXPECT_EQ(compiled.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(compiled.message()),
                AllOf(HasSubstr("'sum"), HasSubstr("large_kernels_test.cc:"),
                      HasSubstr("no code for cuda:sm_80"), HasSubstr("at most 16 devices, got 17"),
                      HasSubstr(", cuda:15, cuda:2, "), HasSubstr(", cpu; place them on fewer"),
                      HasSubstr("at most 544")));
  }
}

// Not what was made before it was known that the rest has none, or is several kernels; and several
// targets say it once.
TEST(LargeKernels, PackagesHoldTheKernelsThatAreLaunched) {
  // Of equal kernels of two attempts there is one, unless merge_kernels is disabled.
  for (const char* disabled : {"split_kernels", "merge_kernels"}) {
    SCOPED_TRACE(disabled);
    NamedTensors feeds;
    CompileOptions options;
    options.targets = {"cpu:x86-64-v3", "cpu:x86-64-v4"};
    options.device_targets = {{kGpu, kGpuTarget}};
    options.disabled_passes = {disabled};
    int warnings = 0;
    options.warn = [&](const std::string&) { ++warnings; };
    const auto package = CompilePackage(TooManySizes(kGpu, &feeds), options);
    ASSERT_TRUE(package.ok()) << package.status();
    EXPECT_EQ(warnings, options.disabled_passes[0] == "split_kernels" ? 1 : 0);
    const PackageManifest manifest = ManifestOf(*package);
    ASSERT_EQ(manifest.targets_size(), 2);
    const auto container = Container::Open(Bytes::Of(*package));
    for (const TargetPlans& target : manifest.targets()) {
      std::set<std::string> launched, held;
      for (const Kernel& kernel : target.plans(0).kernels()) {
        if (kernel.device() == 1) launched.insert(kernel.name());
      }
      const std::string code(*container->Section(target.devices(0).code_section()));
      constexpr std::string_view kEntry = ".entry ";
      for (size_t at = 0; (at = code.find(kEntry, at)) != std::string::npos;) {
        at += kEntry.size();
        held.insert(code.substr(at, code.find('(', at) - at));
      }
      EXPECT_FALSE(launched.empty());
      EXPECT_EQ(held, launched);
    }
  }
}

}  // namespace
}  // namespace weft
