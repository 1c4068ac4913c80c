// Contractions on a GPU, in plain multiply-adds: every dtype, with f32 as exact as on a CPU.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_CONTRACTION_H_
#define WEFT_COMPILER_CODEGEN_CUDA_CONTRACTION_H_

#include "compiler/codegen/contraction_layout.h"
#include "compiler/codegen/emit.h"
#include "compiler/codegen/kernel_builder.h"
#include "kernels/cpu/contraction.h"

namespace weft {

// Emits into `kb` the code that computes `c`, whose sizes are those of `shape`, and says how to
// launch it. The right operand is not in panels. Each sum is added up in the order of its depth.
void EmitCudaContraction(KernelBuilder& kb, const cpu::Contraction& c,
                         const ContractionShape& shape, KernelSpec& spec);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_CONTRACTION_H_
