// Compiled random graphs agree with the reference evaluator, with all passes and with each pass
// left out. A failure names the seed: MakeRandomGraph(seed, nodes, open) makes the graph again.
#include "tests/conformance/random_graph.h"

#include <memory>
#include <string>
#include <vector>

#include "compiler/api.h"
#include "compiler/pass_runner.h"
#include "gtest/gtest.h"
#include "runtime/session.h"
#include "tests/conformance/check_graph.h"
#include "tests/conformance/targets.h"

namespace weft {
namespace {

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
  ExpectNearReference(**session, random);
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
