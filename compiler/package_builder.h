// From a graph to the bytes of a package.
#ifndef WEFT_COMPILER_PACKAGE_BUILDER_H_
#define WEFT_COMPILER_PACKAGE_BUILDER_H_

#include <map>
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

// Compiles `plans` for every target of the options, into a package whose manifest lists
// `signatures`. The context gets the dialects of the compiler.
absl::StatusOr<std::string> BuildPackage(ir::GraphOp graph, const std::vector<PlanToMake>& plans,
                                         const std::vector<SignatureRequest>& signatures,
                                         const CompileOptions& options);

// The kernels of the first target as text: "mlir" (functions after fusion), "llvm", "asm".
absl::StatusOr<std::string> BuildText(ir::GraphOp graph, const std::vector<PlanToMake>& plans,
                                      const CompileOptions& options, const std::string& stage);

}  // namespace weft

#endif  // WEFT_COMPILER_PACKAGE_BUILDER_H_
