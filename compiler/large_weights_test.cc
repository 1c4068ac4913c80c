// How much memory it takes to compile a model with large weights in it.
#include <sys/resource.h>

#include <cmath>
#include <string>
#include <utility>

#include "compiler/api.h"
#include "graph/graph.h"
#include "gtest/gtest.h"
#include "runtime/session.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEFT_SANITIZED
#endif
#endif

namespace weft {
namespace {

// The most memory that this process has had, in bytes.
int64_t PeakBytes() {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

// Beside the caller's weights, there are two more of them at any time: as they are packed and as a
// piece of the package, or as this and in the package.
TEST(LargeWeightsTest, CompilesInAFewTimesTheirSize) {
#ifdef WEFT_SANITIZED
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  constexpr int64_t kRows = 5120, kColumns = 10240;
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", kRows});
  Variable w = graph.AddVariable("w", Full(graph, DataType::kF32, {kRows, kColumns}, 0));
  Tensor y = MatMul(x, w);
  graph.AddSignature("f", {{"y", y}});
  graph.AddSignature("g", {{"y", Tanh(y)}});  // which shares the weights
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  HostTensor value = *HostTensor::Create(DataType::kF32, {kRows, kColumns});
  const absl::Span<float> elements = value.mutable_values<float>();
  for (size_t i = 0; i < elements.size(); ++i) elements[i] = static_cast<float>(i % 1013) - 506;
  CompileOptions options;
  options.signatures = {"f", "g"};
  options.variables = {{"w", value}};
  options.freeze = true;

  const int64_t before = PeakBytes(), bytes = static_cast<int64_t>(value.size_bytes());
  absl::StatusOr<std::string> package = CompilePackage(graph, options);
  ASSERT_TRUE(package.ok()) << package.status();
  EXPECT_LT(PeakBytes() - before, bytes * 5 / 2);
  EXPECT_LT(static_cast<int64_t>(package->size()), bytes * 11 / 10);

  auto session = Session::FromPackage(*std::move(package));
  ASSERT_TRUE(session.ok()) << session.status();
  for (const int64_t n : {1, 3}) {
    HostTensor one = *HostTensor::Create(DataType::kF32, {n, kRows});
    // Row n - 1 picks a row of the weights.
    one.mutable_values<float>()[static_cast<size_t>((n - 1) * kRows + 17)] = 2;
    const auto y = (*session)->Run("f", {{"x", one}});
    ASSERT_TRUE(y.ok()) << y.status();
    for (int64_t j = 0; j < kColumns; ++j) {
      ASSERT_EQ(y->at("y").values<float>()[static_cast<size_t>((n - 1) * kColumns + j)],
                2 * elements[static_cast<size_t>(17 * kColumns + j)])
          << j;
    }
  }
}

}  // namespace
}  // namespace weft
