// scatter_add, stack_push and cumsum on a GPU; each result has the bits that it has on a CPU but
// for sums along the innermost dimension, which a warp adds up in a fixed order of its own.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_SCATTER_H_
#define WEFT_COMPILER_CODEGEN_CUDA_SCATTER_H_

#include "compiler/codegen/emit.h"
#include "compiler/codegen/kernel_builder.h"
#include "graph/ir/dialect.h"

namespace weft {

// Emit into `kb` the only op of its fusion, and say how to launch it; the caller finishes the
// kernel and states its costs.
void EmitCudaScatterAdd(KernelBuilder& kb, ir::ScatterAddOp op, KernelSpec& spec);
void EmitCudaStackPush(KernelBuilder& kb, ir::StackPushOp op, KernelSpec& spec);
void EmitCudaScan(KernelBuilder& kb, ir::CumSumOp op, KernelSpec& spec);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_SCATTER_H_
