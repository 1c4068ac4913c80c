// Which ops have no code for GPUs: those that compiler/codegen/cuda/README.md names, and no others.
// What compiles, conformance_test runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "compiler/api.h"
#include "graph/graph.h"
#include "tests/ops/op_cases.h"

namespace weft {
namespace {

// What the README says after these words, up to the full stop.
std::string ListOfTheReadme() {
  constexpr char kWords[] = "Ops without code for GPUs: ";
  std::ifstream file("compiler/codegen/cuda/README.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t at = text.find(kWords);
  EXPECT_NE(at, std::string::npos) << "the README has no line '" << kWords << "'";
  if (at == std::string::npos) return "";
  const size_t begin = at + sizeof(kWords) - 1;
  return text.substr(begin, text.find('.', begin) - begin);
}

// The first case of an op in every dtype, and its other cases in the first dtype that they have.
Graph CasesAsGraph(const OpInfo& op) {
  Graph graph("ops");
  int signatures = 0;
  const std::vector<OpCase> cases = CasesOf(op);
  for (const OpCase& c : cases) {
    for (const DataType dtype : DTypesOf(c)) {
      const std::string name = "case" + std::to_string(signatures++);
      const ScopeGuard scope = graph.Scope(name);
      std::vector<Tensor> inputs;
      for (size_t i = 0; i < c.inputs.size(); ++i) {
        inputs.push_back(MakeInput(graph, c, i, dtype, false));
      }
      std::vector<std::pair<std::string, Tensor>> outputs;
      for (const Tensor& result : c.build(graph, inputs)) {
        outputs.emplace_back("y" + std::to_string(outputs.size()), result);
      }
      graph.AddSignature(name, outputs);
      if (&c != &cases.front()) break;
    }
  }
  EXPECT_TRUE(graph.status().ok()) << graph.status();
  return graph;
}

class GpuCode : public testing::TestWithParam<std::string> {};

TEST_P(GpuCode, EveryOpHasSomeButThoseOfTheReadme) {
  std::vector<std::string> without;
  int compiled = 0;
  for (const OpInfo& op : AllOps()) {
    if (CasesOf(op).empty()) continue;
    CompileOptions options;
    options.targets = {GetParam()};
    const absl::Status status = CompilePackage(CasesAsGraph(op), options).status();
    ++compiled;
    if (status.ok()) continue;
    without.emplace_back(op.name);
    // Whoever meets one is told which node of theirs it is.
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("op_cases.cc:")) << op.name;
  }
  EXPECT_GT(compiled, 80);
  EXPECT_EQ(without.empty() ? "none" : absl::StrJoin(without, ", "), ListOfTheReadme());
}

INSTANTIATE_TEST_SUITE_P(Targets, GpuCode, testing::Values("cuda:sm_70", "cuda:sm_90a"),
                         [](const testing::TestParamInfo<std::string>& info) {
                           return info.param.substr(5);
                         });

}  // namespace
}  // namespace weft
