#include <cmath>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tests/conformance/random_graph.h"

namespace weft {
namespace {

TEST(RandomGraphGenerator, MakesValidGraphsOfTameValues) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    const RandomGraph random = MakeRandomGraph(seed, 60, seed % 2 == 0);
    ASSERT_TRUE(random.graph.status().ok()) << random.graph.status();
    Interpreter interpreter(random.graph);
    for (const char* signature : {"run", "gradient"}) {
      const auto results = interpreter.RunSignature(signature, random.feeds);
      ASSERT_TRUE(results.ok()) << results.status();
      for (const auto& [name, value] : *results) {
        for (float v : value.values<float>()) ASSERT_LT(std::fabs(v), 1e5) << name;
      }
    }
  }
}

TEST(RandomGraphGenerator, SeedsDecide) {
  EXPECT_EQ(MakeRandomGraph(7, 30, true).graph.ToMlir(),
            MakeRandomGraph(7, 30, true).graph.ToMlir());
  EXPECT_NE(MakeRandomGraph(7, 30, true).graph.ToMlir(),
            MakeRandomGraph(8, 30, true).graph.ToMlir());
}

}  // namespace
}  // namespace weft
