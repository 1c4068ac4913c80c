// Where a thread of a GPU kernel is.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_THREAD_H_
#define WEFT_COMPILER_CODEGEN_CUDA_THREAD_H_

#include "compiler/codegen/fusion_emitter.h"

namespace weft {

// Threads of a block in kernels whose threads do not work together.
inline constexpr int kThreadsPerBlock = 256;

// Number of the thread in its block, and of the block in the grid (i64).
mlir::Value ThreadInBlock(KernelBuilder& kernel);
mlir::Value BlockInGrid(KernelBuilder& kernel);
// Number of the thread in a grid of blocks of kThreadsPerBlock threads.
mlir::Value GlobalThread(KernelBuilder& kernel);
// States the number of threads of a block, in the code as well: registers are allotted for it.
void SetBlockThreads(FusionEmitter& f, int threads);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_THREAD_H_
