// Compiled random graphs agree with the reference evaluator, with all passes and with each pass
// left out. A failure names the seed: MakeRandomGraph(seed, nodes, open) makes the graph again.
#include "tests/conformance/random_graph.h"

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "compiler/api.h"
#include "compiler/pass_runner.h"
#include "graph/reference/elementwise.h"
#include "gtest/gtest.h"
#include "runtime/session.h"
#include "tests/conformance/targets.h"

namespace weft {
namespace {

// Errors of f32 through some dozens of ops, of which each is off by a few units in the last place.
constexpr double kTolerance = 2e-4;

void ExpectNear(const HostTensor& compiled, const HostTensor& reference, const std::string& what) {
  ASSERT_EQ(compiled.shape(), reference.shape()) << what;
  double largest = 1e-3;
  for (float v : reference.values<float>()) largest = std::max<double>(largest, std::fabs(v));
  for (int64_t i = 0; i < reference.num_elements(); ++i) {
    const double x = compiled.values<float>()[i], y = reference.values<float>()[i];
    if (std::fabs(x - y) <= kTolerance * largest) continue;
    ADD_FAILURE() << what << ": element " << i << " is " << x << ", the reference " << y;
    return;
  }
}

void Compare(uint64_t seed, int num_nodes, bool open, const CompileOptions& options) {
  SCOPED_TRACE("seed " + std::to_string(seed) + ", " + std::to_string(num_nodes) + " nodes" +
               (open ? ", open" : "") +
               (options.disabled_passes.empty() ? "" : ", without " + options.disabled_passes[0]));
  const RandomGraph random = MakeRandomGraph(seed, num_nodes, open);
  ASSERT_TRUE(random.graph.status().ok()) << random.graph.status();
  const auto package = CompilePackage(random.graph, options);
  ASSERT_TRUE(package.ok()) << package.status();
  const auto session = Session::FromPackage(*package, {.threads = 2, .device = DeviceOfTest()});
  ASSERT_TRUE(session.ok()) << session.status();
  Interpreter interpreter(random.graph);
  for (const auto& signature : (*session)->Signatures()) {
    NamedTensors feeds;
    for (const auto& input : signature.inputs) feeds[input.name] = random.feeds.at(input.name);
    const auto reference = interpreter.RunSignature(signature.name, random.feeds);
    ASSERT_TRUE(reference.ok()) << reference.status();
    const auto compiled = (*session)->Run(signature.name, feeds);
    ASSERT_TRUE(compiled.ok()) << compiled.status();
    for (const auto& [name, value] : *reference) {
      ExpectNear(compiled->at(name), value, signature.name + " " + name);
    }
  }
}

// So many seeds from `first` on, or fewer on an emulated GPU.
void CompareSeeds(uint64_t first, int seeds, int emulated_seeds, int num_nodes,
                  const std::vector<std::string>& disabled_passes) {
  CompileOptions options = OptionsOfTest();
  options.disabled_passes = disabled_passes;
  const uint64_t end = first + static_cast<uint64_t>(IsEmulated() ? emulated_seeds : seeds);
  for (uint64_t seed = first; seed < end; ++seed) {
    Compare(seed, num_nodes, seed % 2 == 0, options);
  }
}

TEST(RandomGraphs, CompiledAgreeWithTheReference) { CompareSeeds(1, 20, 6, 25, {}); }

TEST(RandomGraphs, LargeOnesToo) { CompareSeeds(101, 4, 1, 150, {}); }

// Every pass is correct on its own: leaving one out changes no result.
TEST(RandomGraphs, EachPassMayBeLeftOut) {
  uint64_t first = 201;
  for (const std::string& pass : OptionalPasses()) {
    CompareSeeds(first, 4, 1, 40, {pass});
    if (IsEmulated()) ++first;  // one graph a pass: another each time
  }
}

TEST(RandomGraphs, AllPassesMayBeLeftOut) { CompareSeeds(301, 6, 2, 40, OptionalPasses()); }

}  // namespace
}  // namespace weft
