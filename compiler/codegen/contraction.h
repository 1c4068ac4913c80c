// Kernels of contraction fusions.
#ifndef WEFT_COMPILER_CODEGEN_CONTRACTION_H_
#define WEFT_COMPILER_CODEGEN_CONTRACTION_H_

#include "absl/status/statusor.h"
#include "compiler/codegen/emit.h"

namespace weft {

// EmitKernel (compiler/codegen/emit.h) for fusions of kind `contraction`: one weft.matmul,
// weft.conv2d or weft.conv2d_filter_grad, or plan.partial_sums of one, and element-wise work on its
// result. Convolutions have no padding but where ConvolutionPads.
absl::StatusOr<KernelSpec> EmitContractionKernel(plan::FusionOp fusion, const Target& target,
                                                 mlir::ModuleOp kernels);

// Whether the kernel of this convolution (or filter's gradient, or parts of one) has zeros for what
// is outside of its image, so that it may have padding.
bool ConvolutionPads(mlir::Operation* op, const Target& target);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CONTRACTION_H_
