// Compiled random graphs beside the reference evaluator.
#ifndef WEFT_TESTS_CONFORMANCE_CHECK_GRAPH_H_
#define WEFT_TESTS_CONFORMANCE_CHECK_GRAPH_H_

#include <algorithm>
#include <cmath>
#include <string>

#include "gtest/gtest.h"
#include "runtime/session.h"
#include "tests/conformance/check_program.h"
#include "tests/conformance/random_graph.h"

namespace weft {

// Every signature of the graph gives what the reference evaluator gives, but for errors of f32
// through some dozens of ops, of which each is off by a few units in the last place.
inline void ExpectNearReference(Session& session, const RandomGraph& random) {
  constexpr double kTolerance = 2e-4;
  Interpreter interpreter(random.graph);
  for (const auto& signature : session.Signatures()) {
    const auto reference = interpreter.RunSignature(signature.name, random.feeds);
    ASSERT_TRUE(reference.ok()) << reference.status();
    const auto compiled =
        session.Run(signature.name, FeedsOf(session, signature.name, random.feeds));
    ASSERT_TRUE(compiled.ok()) << compiled.status();
    for (const auto& [name, expected] : *reference) {
      const std::string what = signature.name + " " + name;
      const HostTensor& got = compiled->at(name);
      ASSERT_EQ(got.shape(), expected.shape()) << what;
      double largest = 1e-3;
      for (float v : expected.values<float>()) largest = std::max<double>(largest, std::fabs(v));
      for (int64_t i = 0; i < expected.num_elements(); ++i) {
        const double x = got.values<float>()[i], y = expected.values<float>()[i];
        ASSERT_LE(std::fabs(x - y), kTolerance * largest)
            << what << ": element " << i << " is " << x << ", the reference " << y;
      }
    }
  }
}

}  // namespace weft

#endif  // WEFT_TESTS_CONFORMANCE_CHECK_GRAPH_H_
