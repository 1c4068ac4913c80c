// Writes the seeds of the target `compile`, a GraphDef for each case of each op, and some random
// programs with branches, loops and variables:  op_seeds FOLDER
#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "graph/graph.h"
#include "proto/file.h"
#include "proto/graph.pb.h"
#include "tests/conformance/random_program.h"
#include "tests/ops/op_cases.h"

namespace weft {
namespace {

constexpr int kPrograms = 12, kSteps = 8;

// With the first dtype that the case can be built under, and open dimensions where it can have
// them.
absl::StatusOr<std::string> SeedOf(const OpCase& c) {
  Graph graph("seed");
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    inputs.push_back(MakeInput(graph, c, i, DTypesOf(c)[0], CanBeOpen(c)));
  }
  const std::vector<Tensor> results = c.build(graph, inputs);
  if (!graph.status().ok()) return graph.status();
  std::vector<std::pair<std::string, Tensor>> outputs;
  for (const Tensor& result : results) {
    outputs.emplace_back(absl::StrCat("y", outputs.size()), result);
  }
  graph.AddSignature("f", outputs);
  absl::StatusOr<GraphDef> def = graph.ToGraphDef();
  if (!def.ok()) return def.status();
  return def->SerializeAsString();
}

absl::Status WriteAll(const std::string& folder) {
  for (const OpInfo& op : AllOps()) {
    const std::vector<OpCase> cases = CasesOf(op);
    // One shape of each element-wise op will do.
    const size_t count = op.elementwise ? std::min<size_t>(1, cases.size()) : cases.size();
    for (size_t i = 0; i < count; ++i) {
      absl::StatusOr<std::string> seed = SeedOf(cases[i]);
      if (!seed.ok()) {
        return absl::Status(seed.status().code(),
                            absl::StrCat(cases[i].name, ": ", seed.status().message()));
      }
      const std::string name = absl::StrReplaceAll(cases[i].name, {{"/", "_"}});
      absl::Status status = WriteFileAtomically(absl::StrCat(folder, "/", name), *seed);
      if (!status.ok()) return status;
    }
  }
  for (int i = 0; i < kPrograms; ++i) {
    const RandomProgram program = MakeRandomProgram(i, kSteps, i % 2 == 0);
    const absl::StatusOr<GraphDef> def = program.graph.ToGraphDef();
    if (!def.ok()) return def.status();
    absl::Status status =
        WriteFileAtomically(absl::StrCat(folder, "/program", i), def->SerializeAsString());
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace weft

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const absl::Status status = weft::WriteAll(argv[1]);
  if (!status.ok()) fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
