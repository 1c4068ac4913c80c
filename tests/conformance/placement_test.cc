// Random programs whose nodes and variables are placed on several devices give exactly what the
// reference evaluator gives, which takes no notice of devices; so do random graphs and their
// gradients, within rounding. A failure names the seed.
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "compiler/api.h"
#include "compiler/pass_runner.h"
#include "gtest/gtest.h"
#include "proto/graph.pb.h"
#include "proto/plan.pb.h"
#include "runtime/devices.h"
#include "runtime/session.h"
#include "runtime/testing/far_device.h"
#include "tests/conformance/check_graph.h"
#include "tests/conformance/check_program.h"
#include "tests/conformance/manifest.h"
#include "tests/conformance/random_graph.h"
#include "tests/conformance/random_program.h"

namespace weft {
namespace {

constexpr char kProcessor[] = "cpu:native", kGpu[] = "cuda:sm_80";

// What stands behind the names of devices: where a session runs, and the others.
struct Devices {
  std::string main_target = kProcessor;
  std::shared_ptr<Device> main = nullptr;  // this processor
  std::map<std::string, std::string> targets;
  std::map<std::string, std::shared_ptr<Device>> others;
};

// Two that the host cannot look into, with code for this processor.
Devices FarOnes() {
  return {.targets = {{"cuda:0", kProcessor}, {"cuda:1", kProcessor}},
          .others = {{"cuda:0", std::make_shared<FarDevice>()},
                     {"cuda:1", std::make_shared<FarDevice>()}}};
}

// The same with this processor as one of those beside it.
Devices FarFromHere() {
  return {
      .main = std::make_shared<FarDevice>(),
      .targets = {{"cpu", kProcessor}, {"cuda:0", kProcessor}},
      .others = {{"cpu", MakeDevice("cpu", 2).value()}, {"cuda:0", std::make_shared<FarDevice>()}}};
}

Devices Emulated() {
  return {.targets = {{"cuda:0", kGpu}},
          .others = {{"cuda:0", MakeDevice("emulator:sm_80", 1).value()}}};
}

// The graph with nodes of all bodies and variables on devices by chance; some say nothing.
Graph Scatter(const Graph& graph, const Devices& devices, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::string> names = {""};
  for (const auto& [name, device] : devices.others) names.push_back(name);
  const auto any = [&] { return names[random() % names.size()]; };
  GraphDef def = graph.ToGraphDef().value();
  const auto scatter = [&](proto::NodeDef& node) {
    const std::string name = any();
    if (name.empty() || node.op() == "assign" || node.op() == "read_variable") return;
    proto::NamedAttr* attr = node.add_attrs();
    attr->set_name("weft.device");
    attr->mutable_value()->set_s(name);
  };
  for (proto::NodeDef& node : *def.mutable_nodes()) scatter(node);
  for (proto::FunctionDef& function : *def.mutable_functions()) {
    for (proto::NodeDef& node : *function.mutable_nodes()) scatter(node);
  }
  for (proto::VariableDef& variable : *def.mutable_variables()) variable.set_device(any());
  absl::StatusOr<Graph> scattered = Graph::FromGraphDef(def);
  EXPECT_TRUE(scattered.ok()) << scattered.status();
  return *std::move(scattered);
}

// Launches of each device and copies between two of them, in all plans of a package.
struct Work {
  std::map<uint32_t, int> launches;
  int crossings = 0;
};
void Count(const std::string& package, Work* work) {
  const PackageManifest manifest = ManifestOf(package);
  ASSERT_GT(manifest.targets_size(), 0);
  for (const Plan& plan : manifest.targets(0).plans()) {
    for (const Block& block : plan.blocks()) {
      for (const Step& step : block.steps()) {
        if (step.has_launch()) ++work->launches[plan.kernels(step.launch().kernel()).device()];
        if (!step.has_copy()) continue;
        work->crossings += plan.buffers(step.copy().source().buffer()).device() !=
                           plan.buffers(step.copy().destination().buffer()).device();
      }
    }
  }
}

absl::StatusOr<std::unique_ptr<Session>> Open(const Graph& graph, const Devices& devices,
                                              const std::vector<std::string>& disabled,
                                              Work* work) {
  CompileOptions options;
  options.targets = {devices.main_target};
  options.device_targets = devices.targets;
  options.disabled_passes = disabled;
  absl::StatusOr<std::string> package = CompilePackage(graph, options);
  if (!package.ok()) return package.status();
  Count(*package, work);
  SessionOptions session;
  session.threads = 2;
  session.device = devices.main;
  session.find_device = [others = devices.others](
                            const std::string& name) -> absl::StatusOr<std::shared_ptr<Device>> {
    return others.at(name);
  };
  return Session::FromPackage(*package, session);
}

void CompareProgram(uint64_t seed, const Devices& devices, Work* work,
                    const std::vector<std::string>& disabled = {}) {
  const bool open = seed % 2 == 0;
  SCOPED_TRACE("seed " + std::to_string(seed) + (open ? ", open" : ""));
  const RandomProgram program =
      MakeRandomProgram(seed, 8 + static_cast<int>(seed % 20), open, open ? 3 : 4);
  const Graph graph = Scatter(program.graph, devices, seed);
  const auto session = Open(graph, devices, disabled, work);
  ASSERT_TRUE(session.ok()) << session.status();
  ExpectRunsOfReference(**session, program, open);
}

void CompareGraph(uint64_t seed, const Devices& devices, Work* work) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  const RandomGraph random = MakeRandomGraph(seed, 25, seed % 2 == 0);
  const Graph graph = Scatter(random.graph, devices, seed);
  const auto session = Open(graph, devices, {}, work);
  ASSERT_TRUE(session.ok()) << session.status();
  ExpectNearReference(**session, random);
}

// That there was work for all of them, and much to hand over.
void ExpectSpread(const Work& work, size_t devices) {
  EXPECT_EQ(work.launches.size(), devices);
  for (const auto& [device, launches] : work.launches) EXPECT_GT(launches, 10) << device;
  EXPECT_GT(work.crossings, 20);
}

// Programs of these seeds, on all of the devices.
void ComparePrograms(uint64_t first, uint64_t last, const Devices& devices) {
  Work work;
  for (uint64_t seed = first; seed <= last; ++seed) CompareProgram(seed, devices, &work);
  ExpectSpread(work, 1 + devices.others.size());
}

TEST(Placement, ProgramsOnThreeDevices) { ComparePrograms(1, 40, FarOnes()); }

TEST(Placement, ProgramsThatBeginElsewhere) { ComparePrograms(101, 120, FarFromHere()); }

TEST(Placement, ProgramsOnAProcessorAndAGpu) { ComparePrograms(201, 210, Emulated()); }

TEST(Placement, EachPassMayBeLeftOut) {
  const Devices devices = FarOnes();
  uint64_t seed = 301;
  Work work;
  for (const std::string& pass : OptionalPasses()) {
    SCOPED_TRACE("without " + pass);
    for (const uint64_t end = seed + 2; seed < end; ++seed) {
      CompareProgram(seed, devices, &work, {pass});
    }
  }
  for (const uint64_t end = seed + 6; seed < end; ++seed) {
    CompareProgram(seed, devices, &work, OptionalPasses());
  }
  ExpectSpread(work, 3);
}

TEST(Placement, GraphsAndTheirGradients) {
  const Devices devices = FarOnes();
  Work work;
  for (uint64_t seed = 401; seed <= 410; ++seed) CompareGraph(seed, devices, &work);
  ExpectSpread(work, 3);
  const Devices emulated = Emulated();
  for (uint64_t seed = 411; seed <= 414; ++seed) CompareGraph(seed, emulated, &work);
}

}  // namespace
}  // namespace weft
