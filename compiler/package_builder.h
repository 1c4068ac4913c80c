// From a graph to the bytes of a package.
#ifndef WEFT_COMPILER_PACKAGE_BUILDER_H_
#define WEFT_COMPILER_PACKAGE_BUILDER_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "compiler/api.h"
#include "compiler/passes/signature.h"

namespace weft {

// One function to compile: a signature, with some open dimensions fixed.
struct PlanToMake {
  SignatureRequest request;
  std::map<std::string, int64_t> sizes;
};

// A package in the making. Extract takes what it needs out of the graph, in a moment; from then on
// it has an MLIR context of its own, so several packages of one graph may be built at once. The
// graph's constants are shared, not copied: the graph must outlive the build. Not thread-safe.
class PackageBuilder {
 public:
  // `plans` for every target of the options, which must outlive the builder, in a package whose
  // manifest lists `signatures`. The graph's context gets the dialects of the compiler; nobody else
  // may use it meanwhile.
  static absl::StatusOr<std::unique_ptr<PackageBuilder>> Extract(
      ir::GraphOp graph, const std::vector<PlanToMake>& plans,
      const std::vector<SignatureRequest>& signatures, const CompileOptions& options);
  virtual ~PackageBuilder() = default;

  // Compiles: the bytes of the package. Once.
  virtual absl::StatusOr<std::string> Build() = 0;
  // The kernels of the first target as text: "mlir" (functions after fusion), "llvm", "asm".
  virtual absl::StatusOr<std::string> BuildText(const std::string& stage) = 0;
};

}  // namespace weft

#endif  // WEFT_COMPILER_PACKAGE_BUILDER_H_
