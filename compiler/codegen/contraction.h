// Kernels of contraction fusions.
#ifndef WEFT_COMPILER_CODEGEN_CONTRACTION_H_
#define WEFT_COMPILER_CODEGEN_CONTRACTION_H_

#include "absl/status/statusor.h"
#include "compiler/codegen/emit.h"

namespace weft {

// EmitKernel (compiler/codegen/emit.h) for fusions of kind `contraction`: one weft.matmul,
// weft.conv2d or weft.conv2d_filter_grad without padding, and element-wise work on its result.
absl::StatusOr<KernelSpec> EmitContractionKernel(plan::FusionOp fusion, const Target& target,
                                                 mlir::ModuleOp kernels);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CONTRACTION_H_
