// "Blame": what is short of memory, or too large, or not a number, is named by node and source
// line, through the whole compiler.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "compiler/aot/artifact_fixture.h"
#include "compiler/api.h"
#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "proto/npy.h"
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

// A reduction in one piece, or a matmul with one result.
absl::StatusOr<std::string> OnePiece(bool matmul, const Graph::Dim& size) {
  Graph graph("piece");
  Tensor y;
  if (matmul) {
    y = MatMul(graph.Input("a", DataType::kF32, {1, size}),
               graph.Input("b", DataType::kF32, {size, 1}));
  } else {
    y = ReduceSum(graph.Input("x", DataType::kI8, {size}), {0});
  }
  graph.AddSignature("f", {{"y", y}});
  CompileOptions options;
  options.disabled_passes = {"split_reductions", "pack"};
  return CompilePackage(graph, options);
}

// The most work that nothing can stop is the same where sizes are known and where they are open.
TEST(Blame, WorkThatNothingCanStopHasOneLimit) {
  for (const bool matmul : {false, true}) {
    const int64_t most = int64_t{1} << (matmul ? 42 : 38);  // operations
    const auto open = OnePiece(matmul, "n");
    ASSERT_TRUE(open.ok()) << open.status();
    auto session = Session::FromPackage(*open);
    ASSERT_TRUE(session.ok()) << session.status();
    for (const int64_t more : {0, 1}) {
      const int64_t size = most / (matmul ? 2 : 1) + more;
      using Shapes = std::vector<std::vector<int64_t>>;
      const Shapes shapes = matmul ? Shapes{{1, size}, {size, 1}} : Shapes{{size}};
      for (const absl::Status& status :
           {(*session)->Prepare("f", shapes).status(), OnePiece(matmul, size).status()}) {
        const auto expected =
            AllOf(HasSubstr(absl::StrCat("expected at most ", most, " oper")),
                  HasSubstr(absl::StrCat("got ", size * (matmul ? 2 : 1))),
                  HasSubstr("that nothing can stop"), MatchesRegex(".*blame_test.cc:[0-9]+.*"));
        const std::string message(status.message());
        if (more > 0) {
          EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
          EXPECT_THAT(message, expected);
        } else {
          EXPECT_TRUE(status.ok()) << status;
        }
      }
    }
  }
}

class BlameTest : public ArtifactFixture {
 protected:
  // Finite where x is not above 80 or so.
  Graph Model() {
    Graph graph("checked");
    Tensor x = graph.Input("x", DataType::kF32, {"n", 3});
    line_ = __LINE__ + 1;
    Tensor checked = CheckNumerics(Exp(x), "activations").Named("layer/chk");
    graph.AddSignature("predict", {{"y", Tanh(checked) * 2.0}});
    EXPECT_TRUE(graph.status().ok()) << graph.status();
    return graph;
  }
  // Each of node, line, and the author's message is said, and said once.
  void ExpectBlame(const std::string& message) {
    const std::string line = absl::StrCat("blame_test.cc:", line_);
    for (const std::string& part : {std::string("layer/chk"), line, std::string("activations"),
                                    std::string("an infinity or NaN"), std::string("predict")}) {
      const std::vector<std::string> around = absl::StrSplit(message, part);
      EXPECT_EQ(around.size(), 2u) << "'" << part << "' in: " << message;
    }
  }

  const float kNaN = std::numeric_limits<float>::quiet_NaN();
  const HostTensor good_ = HostTensor::Of<float>({2, 3}, {0, 1, 2, 3, 4, 5});
  const HostTensor bad_[2] = {HostTensor::Of<float>({2, 3}, {0, 1, kNaN, 3, 4, 5}),
                              HostTensor::Of<float>({2, 3}, {0, 1, 2, 3, 4, 500})};
  int line_ = 0;
};

TEST_F(BlameTest, NotANumberInSessions) {
  const Graph graph = Model();
  const auto package = CompilePackage(graph, {});
  ASSERT_TRUE(package.ok()) << package.status();
  auto planner = MakePlanner(graph);
  ASSERT_TRUE(planner.ok()) << planner.status();
  absl::StatusOr<std::unique_ptr<Session>> sessions[] = {Session::FromPackage(*package),
                                                         Session::WithPlanner(*planner)};
  for (const auto& session : sessions) {
    ASSERT_TRUE(session.ok()) << session.status();
    const auto good = (*session)->Run("predict", {{"x", good_}});
    EXPECT_TRUE(good.ok()) << good.status();
    for (const HostTensor& bad : bad_) {
      const absl::Status status = (*session)->Run("predict", {{"x", bad}}).status();
      EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
      ExpectBlame(std::string(status.message()));
    }
  }
}

TEST_F(BlameTest, NotANumberInPrograms) {
  const absl::Status written = WriteArtifact(Model(), {}, Artifact::kExecutable, File("checked"));
  ASSERT_TRUE(written.ok()) << written;
  const std::string command = absl::StrCat(File("checked"), " --x=", File("x.npy"));
  ASSERT_TRUE(SaveNpy(File("x.npy"), good_).ok());
  const Outcome good = Shell(command);
  EXPECT_EQ(good.code, 0) << good.text;
  for (const HostTensor& bad : bad_) {
    ASSERT_TRUE(SaveNpy(File("x.npy"), bad).ok());
    const Outcome run = Shell(command);
    EXPECT_EQ(run.code, 1) << run.text;
    ExpectBlame(run.text);
  }
}

}  // namespace
}  // namespace weft
