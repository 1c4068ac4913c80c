// Models on the command line: graph files, their text form, and packages, told apart by contents.
#ifndef WEFT_TOOLS_WEFT_MODEL_H_
#define WEFT_TOOLS_WEFT_MODEL_H_

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "compiler/api.h"
#include "graph/graph.h"
#include "runtime/session.h"
#include "tools/common/signature_io.h"
#include "tools/common/sizes.h"

namespace CLI {
class App;
}

namespace weft::cli {

// Options that several commands have.
void AddDisablePass(CLI::App* app, std::vector<std::string>& passes);
void AddThreads(CLI::App* app, int& threads);
void AddSizes(CLI::App* app, std::vector<std::string>& sizes);
// What f32 is multiplied in: f32 or tf32; empty where it is not given, which is f32.
void AddMatmulPrecision(CLI::App* app, std::string& precision);
// kUsage where it is neither.
absl::StatusOr<MatmulPrecision> MatmulPrecisionOf(const std::string& precision);
// Where a model runs; names are those of runtime/devices.h. After commas, what stands for devices
// that nodes of the graph are placed on: "cpu,cuda:0=emulator:sm_80"; for others, those of the
// names that the graph has.
void AddDevice(CLI::App* app, std::string& device);
// Libraries of GPUs: off, found, cublaslt, cudnn or all (GpuLibraries of runtime/devices.h).
void AddGpuLibraries(CLI::App* app, std::string& libraries);

// The last part of a path: what a file is called while it is worked on.
std::string FileName(const std::string& path);

// Whether the file is a package; otherwise it is taken for a graph. An unreadable file is a
// kBadInput error.
absl::StatusOr<bool> IsPackage(const std::string& path);

// Errors are marked kBadInput and name the file.
absl::StatusOr<Graph> LoadGraph(const std::string& path);

// The same where a package, which somebody may well give instead, is not good enough.
absl::StatusOr<Graph> LoadGraphNotPackage(const std::string& path);

struct OpenOptions {
  int threads = 0;
  std::vector<std::string> disabled_passes = {};
  std::string matmul_precision = "";
  std::string checkpoint = "";  // restored where not empty; see NoteOtherGraph
  std::string device = "cpu";
  std::string gpu_libraries = "off";
};

// A model ready to run: a package as it is, a graph through the compiler.
struct Model {
  std::string path;
  std::optional<Graph> graph;  // absent of a package
  SessionOptions options;      // of the session, with its devices
  std::unique_ptr<Session> session;
};
absl::StatusOr<Model> OpenModel(const std::string& path, const OpenOptions& options);
// A session with a compiler, for the device of the options; `checkpoint` is the caller's.
absl::StatusOr<std::unique_ptr<Session>> SessionOf(const Graph& graph, const OpenOptions& options);

// Variables from a safetensors file, checked for nothing but their form; where they are of another
// graph than that of the file `model`, that is said (NoteOtherGraph).
absl::StatusOr<NamedTensors> ReadVariables(const std::string& path, const Graph& graph,
                                           const std::string& model);

// Open dimensions of the inputs of a graph's signatures.
absl::StatusOr<std::set<std::string>> OpenDimensions(const Graph& graph);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_MODEL_H_
