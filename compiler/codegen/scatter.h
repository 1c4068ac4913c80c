// Kernels of kinds "scatter" (scatter_add, stack_push) and "scan" (cumsum).
#ifndef WEFT_COMPILER_CODEGEN_SCATTER_H_
#define WEFT_COMPILER_CODEGEN_SCATTER_H_

#include "absl/status/statusor.h"
#include "compiler/codegen/emit.h"
#include "compiler/codegen/target.h"

namespace weft {

// A tile is a run of columns of the slices, over all indices: additions to one element come in the
// order of the indices, whatever the number of threads. A stack_push whose result lies in the
// buffer of x writes one slice and nothing else.
absl::StatusOr<KernelSpec> EmitScatter(plan::FusionOp fusion, const Target& target,
                                       mlir::ModuleOp kernels);

// A tile is a run of columns inside the axis, at one place outside it.
absl::StatusOr<KernelSpec> EmitScan(plan::FusionOp fusion, const Target& target,
                                    mlir::ModuleOp kernels);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_SCATTER_H_
