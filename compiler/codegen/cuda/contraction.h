// Contractions on a GPU: of f16 and bf16, and of f32 where tf32 is allowed, on tensor cores from
// sm_80 on, of all else in plain multiply-adds.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_CONTRACTION_H_
#define WEFT_COMPILER_CODEGEN_CUDA_CONTRACTION_H_

#include "compiler/codegen/contraction_layout.h"
#include "compiler/codegen/emit.h"
#include "compiler/codegen/kernel_builder.h"
#include "compiler/codegen/target.h"
#include "kernels/cpu/contraction.h"
#include "proto/dtype.h"

namespace weft {

// Whether the operands are brought by tensor maps: zeros come for what is outside of them, also of
// an image around which a convolution has padding.
bool CudaMapsOperands(const ContractionShape& shape, DataType dtype, const Target& target);

// Emits into `kb` the code that computes `c`, whose sizes are those of `shape` and whose operands
// are of `dtype`, and says how to launch it. The right operand is not in panels. Each sum, or
// sum of a part of the depth, is added up in the order of that; on tensor cores, 32 bytes of it at
// a time.
void EmitCudaContraction(KernelBuilder& kb, const cpu::Contraction& c,
                         const ContractionShape& shape, DataType dtype, KernelSpec& spec);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_CONTRACTION_H_
