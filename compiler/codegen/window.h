// Kernels of kind "window": pooling and its gradients.
#ifndef WEFT_COMPILER_CODEGEN_WINDOW_H_
#define WEFT_COMPILER_CODEGEN_WINDOW_H_

#include "absl/status/statusor.h"
#include "compiler/codegen/emit.h"
#include "compiler/codegen/target.h"

namespace weft {

// A tile is one line of the result's image. Channels go in vectors.
absl::StatusOr<KernelSpec> EmitWindow(plan::FusionOp fusion, const Target& target,
                                      mlir::ModuleOp kernels);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_WINDOW_H_
