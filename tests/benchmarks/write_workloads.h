// What the programs have in common that write graph files to measure.
#ifndef WEFT_TESTS_BENCHMARKS_WRITE_WORKLOADS_H_
#define WEFT_TESTS_BENCHMARKS_WRITE_WORKLOADS_H_

#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "graph/graph.h"

namespace weft {

// Writes each as FOLDER/NAME.weft, where FOLDER is the program's only argument. Returns what main
// does: 1 after an error, 2 for wrong arguments, which are said on stderr.
inline int WriteWorkloads(
    int argc, char** argv,
    const std::vector<std::pair<std::string, std::function<void(Graph&)>>>& workloads) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  for (const auto& [name, build] : workloads) {
    Graph graph(name);
    build(graph);
    absl::Status status = graph.status();
    if (status.ok()) status = graph.Save(absl::StrCat(argv[1], "/", name, ".weft"));
    if (!status.ok()) {
      std::fprintf(stderr, "%s: %s: %s\n", argv[0], name.c_str(),
                   std::string(status.message()).c_str());
      return 1;
    }
  }
  return 0;
}

}  // namespace weft

#endif  // WEFT_TESTS_BENCHMARKS_WRITE_WORKLOADS_H_
