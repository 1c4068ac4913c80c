// Models on the command line: graph files, their text form, and packages, told apart by contents.
#ifndef WEFT_TOOLS_WEFT_MODEL_H_
#define WEFT_TOOLS_WEFT_MODEL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "runtime/session.h"
#include "tools/common/signature_io.h"

namespace weft::cli {

// Whether the file is a package; otherwise it is taken for a graph. An unreadable file is a
// kBadInput error.
absl::StatusOr<bool> IsPackage(const std::string& path);

// Errors are marked kBadInput and name the file.
absl::StatusOr<Graph> LoadGraph(const std::string& path);

struct OpenOptions {
  int threads = 0;
  std::vector<std::string> disabled_passes;
  std::string checkpoint;  // restored where not empty
};

// A model ready to run: a package as it is, a graph through the compiler.
struct Model {
  std::string path;
  std::optional<Graph> graph;  // absent of a package
  std::unique_ptr<Session> session;
};
absl::StatusOr<Model> OpenModel(const std::string& path, const OpenOptions& options);
absl::StatusOr<std::unique_ptr<Session>> SessionOf(const Graph& graph, const OpenOptions& options);

// Variables from a safetensors file, checked for nothing but their form.
absl::StatusOr<NamedTensors> ReadVariables(const std::string& path);

// "batch=1,32" each, into what CompileOptions::specialize and shape evaluation take.
absl::StatusOr<std::map<std::string, std::vector<int64_t>>> ParseSizes(
    const std::vector<std::string>& sizes);

// Resident memory of this process at its highest, in bytes.
int64_t PeakResidentBytes();

// "1.5 MiB".
std::string ByteText(double bytes);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_MODEL_H_
