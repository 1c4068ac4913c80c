// Kernels of kind "pack" (plan.pack).
#ifndef WEFT_COMPILER_CODEGEN_PACK_H_
#define WEFT_COMPILER_CODEGEN_PACK_H_

#include "absl/status/statusor.h"
#include "compiler/codegen/emit.h"
#include "compiler/codegen/target.h"

namespace weft {

// A tile is a run of rows of panels.
absl::StatusOr<KernelSpec> EmitPack(plan::FusionOp fusion, const Target& target,
                                    mlir::ModuleOp kernels);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_PACK_H_
