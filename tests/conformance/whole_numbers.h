// For tests of work that is cut into parts: graphs of whole numbers that are small, so that sums
// are exact in whatever order and every bit is the same, and what becomes of them on a GPU.
#ifndef WEFT_TESTS_CONFORMANCE_WHOLE_NUMBERS_H_
#define WEFT_TESTS_CONFORMANCE_WHOLE_NUMBERS_H_

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "compiler/api.h"
#include "graph/interpreter.h"
#include "gtest/gtest.h"
#include "proto/container.h"
#include "proto/plan.pb.h"
#include "runtime/session.h"
#include "tests/conformance/manifest.h"
#include "tests/conformance/targets.h"

namespace weft {

// From -4 to 4.
inline HostTensor WholeNumbers(DataType dtype, const std::vector<int64_t>& shape, int seed) {
  HostTensor tensor = *HostTensor::Create(dtype, shape);
  std::mt19937 random(static_cast<uint32_t>(seed));
  WithType(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (T& value : tensor.mutable_values<T>()) {
      value = static_cast<T>(static_cast<float>(static_cast<int>(random() % 9) - 4));
    }
  });
  return tensor;
}

// The signature "run" gives by the session what the reference evaluator gives, every bit.
inline void ExpectAgreement(const Graph& graph, const TensorMap& feeds, Session& session) {
  Interpreter interpreter(graph);
  const auto reference = interpreter.RunSignature("run", feeds);
  ASSERT_TRUE(reference.ok()) << reference.status();
  NamedTensors given(feeds.begin(), feeds.end());
  const auto results = session.Run("run", given);
  ASSERT_TRUE(results.ok()) << results.status();
  for (const auto& [name, value] : *reference) {
    EXPECT_EQ(results->at(name).ToString(1 << 20), value.ToString(1 << 20)) << name;
  }
}

// Of a package for this test's targets, on its device.
inline std::unique_ptr<Session> SessionOf(const std::string& package) {
  auto session = Session::FromPackage(package, {.threads = 2, .device = DeviceOfTest()});
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

// What the first of this test's targets, a GPU, gets of a graph: the blocks of each launch, in
// order, and the code of all.
struct Launches {
  std::vector<int64_t> blocks;  // -1: a formula
  std::string code;
};
inline Launches LaunchesOf(const Graph& graph) {
  const auto package = CompilePackage(graph, OptionsOfTest());
  EXPECT_TRUE(package.ok()) << package.status();
  const auto container = Container::Open(Bytes::Of(*package));
  EXPECT_TRUE(container.ok()) << container.status();
  const PackageManifest manifest = ManifestOf(*container);
  Launches launches;
  launches.code = std::string(*container->Section(manifest.targets(0).code_section()));
  const Plan& plan = manifest.targets(0).plans(0);
  for (const Step& step : plan.blocks(0).steps()) {
    if (!step.has_launch()) continue;
    const Formula& tiles = plan.formulas(static_cast<int>(step.launch().tiles()));
    launches.blocks.push_back(tiles.op() == Formula::CONSTANT ? tiles.value() : -1);
  }
  return launches;
}

}  // namespace weft

#endif  // WEFT_TESTS_CONFORMANCE_WHOLE_NUMBERS_H_
