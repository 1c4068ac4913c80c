// The compiler: a graph in, a package out. The session with a compiler calls what MakePlanner
// gives; the command calls CompilePackage and WriteArtifact.
#ifndef WEFT_COMPILER_API_H_
#define WEFT_COMPILER_API_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "proto/host_tensor.h"

namespace weft {

class PlanRequest;  // proto/plan.proto

// What matmul, conv2d and their gradients multiply elements of f32 in.
enum class MatmulPrecision {
  // f32: products are exact, and each sum that one is added to is rounded to f32; so are sums of
  // parts of a great depth, which a GPU may add up (compiler/passes/split_contractions.h).
  kF32,
  // tf32, on targets that have it: the tensor cores of cuda:sm_80 and later. Each element is
  // rounded to 11 significant bits (to nearest, ties away from zero; from 0x1.ffep127 on to
  // infinity), an error of at most 2^-11 of it; products are exact and added up in f32. So a sum
  // differs from the exact one by at most (2^-10 + 2^-22) of the sum of the products' magnitudes,
  // and by what adding up rounds. Convolutions of each channel by itself stay in f32, as does all
  // on targets without tf32.
  kTf32,
};

struct CompileOptions {
  // Signatures to compile; empty means all.
  std::vector<std::string> signatures;
  // "cpu:x86-64-v3", "cpu:x86-64-v4", or "cpu:native" (this machine's features and caches), each
  // with more features, or sizes of caches, where they are added: "cpu:x86-64-v4+avx512vnni+l2=1M"
  // (compiler/codegen/target.h); "cuda:sm_70", "cuda:sm_80", "cuda:sm_90", "cuda:sm_90a" (NVIDIA's
  // GPUs, as PTX). A package holds each of them, artifacts those of processors. At most 256, each
  // once.
  std::vector<std::string> targets = {"cpu:native"};
  // For nodes and variables that are placed on a device (Graph::WithDevice): the target of each
  // such device, {"cuda:0", "cuda:sm_80"}, named as above; "" where it is the device that `targets`
  // are for. Where one is not here, a "cpu" is the device of a target for processors, and a
  // "cuda:0" is a GPU beside it of the same target as one for GPUs; otherwise it is an error, which
  // names the first node. Packages then have code for each of them. What has no code for a GPU
  // (compiler/codegen/cuda/README.md says what) runs on the "cpu" where there is a target for it
  // and no memory_budget.
  std::map<std::string, std::string> device_targets;
  // Nodes and variables are all on the device that `targets` are for, whatever they say.
  bool ignore_devices = false;
  // Sizes of open dimensions that get plans of their own beside the general one: {"batch", {1,
  // 32}}.
  std::map<std::string, std::vector<int64_t>> specialize;
  // Values of variables. With `freeze`, they are compiled in as constants; otherwise they are the
  // package's first values. A signature that assigns a variable is not frozen: an error where it is
  // named in `signatures`, while of all signatures those that can be are.
  std::map<std::string, HostTensor> variables;
  bool freeze = false;
  // An error where it is kTf32 and none of `targets` and `device_targets` has that.
  MatmulPrecision matmul_precision = MatmulPrecision::kF32;
  // Bytes that the arena of a plan, and on a processor the scratch of `memory_budget_threads` (1 to
  // 1024), may take (0: no limit): the certificate, Call::peak_bytes of a session with so many. Of
  // a plan for several devices, what it takes on the one that `targets` are for. With a budget,
  // what has no code for a GPU is an error, also where there is a target for the "cpu". Where a
  // plan needs more, values are computed again instead of being kept; where that is not enough, the
  // error (ResourceExhausted) says by how much, and which nodes hold the memory. An open dimension
  // counts as the largest of its sizes in `specialize`, or as 64.
  int64_t memory_budget = 0;
  int memory_budget_threads = 1;
  // Threads that compile at once; 0 means as many as cores.
  int threads = 0;
  // CUDA's assembler, a path (FindPtxas in compiler/codegen/cuda/ptxas.h), or empty for none: it
  // verifies the PTX of each target that is a GPU, and a package holds what it makes of that,
  // machine code for the target's generation, beside the text, so that no driver compiles when the
  // package is loaded. Of a generation that the program does not know, the package has the text
  // alone. Internal where it refuses the PTX; FailedPrecondition where it cannot be run.
  std::string ptxas;
  // Names of passes to leave out.
  std::vector<std::string> disabled_passes;
  // Where set, the IR goes there after each pass: (pass, text). This and the others are called
  // from the thread that compiles; those of a planner from all that do, at once.
  std::function<void(const std::string& pass, const std::string& ir)> dump;
  // Where set, called with each pass's name and seconds.
  std::function<void(const std::string& pass, double seconds)> timing;
  // Where set, called as the work goes on: the share of it that is done, from 0 to 1, and what was
  // done last ("plan 3/8"). From any thread, one at a time; those of a planner at once.
  std::function<void(double share, const std::string& what)> progress;
  // Where set, gets a line for each kernel that runs on the "cpu" since there is no code for the
  // device that it belongs on: which nodes, and why.
  std::function<void(const std::string& line)> warn;
  // Where set, gets a line for each edge: fused or not, by which rule, bytes saved.
  std::function<void(const std::string& line)> explain;
};

// The bytes of a package (proto/container.h). Changes the graph's context: nobody else may use the
// graph meanwhile, not even to compile it. Errors: InvalidArgument where the graph or the options
// are at fault, naming node and source line; NotFound where there is no such signature;
// FailedPrecondition where a variable to freeze has no value or one of another type;
// ResourceExhausted where the memory budget cannot be met; Unimplemented where there is no code for
// a node; those of `ptxas`, and Unavailable where no temporary file for it can be written; Internal
// where the compiler is at fault.
absl::StatusOr<std::string> CompilePackage(const Graph& graph, const CompileOptions& options);

// What a session with a compiler calls for each new (signature, shapes): the bytes of a package
// with that one plan. Thread-safe: requests that come together are compiled in parallel. Copies the
// graph. MakePlanner fails with Graph::status(), and with InvalidArgument where the options are at
// fault. Errors of a request: NotFound where there is no such signature or node, InvalidArgument
// where shapes do not fit, and those of CompilePackage.
using Planner = std::function<absl::StatusOr<std::string>(const PlanRequest&)>;
absl::StatusOr<Planner> MakePlanner(const Graph& graph, CompileOptions options = {});

// Ahead-of-time artifacts, made from a compiled package; see compiler/aot/README.md.
enum class Artifact { kObject, kShared, kExecutable };
// Writes `path` (and for kObject and kShared a header beside it, `path` with the extension .h).
// Each file is written atomically, the header first; where the artifact cannot be written, the
// header is as before. Threads and errors as of CompilePackage; InvalidArgument also for targets
// that are GPUs, and for nodes that are placed on another device; Unavailable also where no
// temporary file can be written to link with; and errors of files (proto/file.h).
absl::Status WriteArtifact(const Graph& graph, const CompileOptions& options, Artifact artifact,
                           const std::string& path);
// Text of an intermediate stage, for people: "mlir" (after fusion), "llvm", "asm"; of the first
// target alone. Threads and errors as of CompilePackage; InvalidArgument also for another stage.
absl::StatusOr<std::string> CompileToText(const Graph& graph, const CompileOptions& options,
                                          const std::string& stage);

}  // namespace weft

#endif  // WEFT_COMPILER_API_H_
