// "Blame": what is short of memory, or too large, is named by node and source line, through the
// whole compiler.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "compiler/api.h"
#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "runtime/session.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// A wide layer between narrow ones: what it computes is the largest value by far.
std::string Package() {
  Graph graph("blame");
  Layers layers(graph);
  Tensor x = graph.Input("x", DataType::kF32, {"batch", 8});
  Tensor h = Relu(layers.Dense("narrow", x, 4));
  h = Relu(layers.Dense("wide", h, 4096));
  graph.AddSignature("predict", {{"y", layers.Dense("out", h, 4)}});
  EXPECT_TRUE(graph.status().ok()) << graph.status();
  const absl::StatusOr<std::string> package = CompilePackage(graph, {});
  EXPECT_TRUE(package.ok()) << package.status();
  return package.value_or("");
}

std::string ErrorAt(const std::string& package, const SessionOptions& options, int64_t batch) {
  auto session = Session::FromPackage(package, options);
  EXPECT_TRUE(session.ok()) << session.status();
  const auto call = (*session)->Prepare("predict", {{batch, 8}});
  EXPECT_FALSE(call.ok());
  return std::string(call.status().message());
}

TEST(Blame, MemoryAndSizesNameNodeAndLine) {
  const std::string package = Package();
  SessionOptions limited;
  limited.max_memory_bytes = 1 << 20;
  const auto place = AllOf(HasSubstr("node 'maximum_1'"), HasSubstr("wide/matmul"),
                           MatchesRegex(".*blame_test.cc:[0-9]+\\).*"));
  // The session's limit, the machine's memory, and what may be asked for at all.
  EXPECT_THAT(ErrorAt(package, limited, 1000),
              AllOf(HasSubstr("max_memory_bytes"), HasSubstr("16384000 bytes for"), place));
  EXPECT_THAT(ErrorAt(package, {}, int64_t{1} << 33), AllOf(HasSubstr("no memory"), place));
  EXPECT_THAT(ErrorAt(package, {}, int64_t{1} << 40), place);
}

}  // namespace
}  // namespace weft
