// Contractions of f16 and bf16 on a GPU's tensor cores.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_TENSOR_CORE_H_
#define WEFT_COMPILER_CODEGEN_CUDA_TENSOR_CORE_H_

#include "compiler/codegen/cuda/contraction_tiles.h"

namespace weft {

// Whether the target has tensor cores that multiply elements of this dtype exactly and add up in
// f32, and asynchronous copies to shared memory.
bool TensorCoresServe(DataType dtype, const Target& target);

// Emits the tiles by mma.sync, and sets `spec.tiles` and the threads of a block.
void EmitTensorCoreTiles(ContractionTiles& tiles, DataType dtype, KernelSpec& spec);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_TENSOR_CORE_H_
