// Contractions of f16, bf16 and tf32 on a GPU's tensor cores.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_TENSOR_CORE_H_
#define WEFT_COMPILER_CODEGEN_CUDA_TENSOR_CORE_H_

#include "compiler/codegen/cuda/contraction_tiles.h"
#include "compiler/codegen/cuda/tensor_tiling.h"

namespace weft {

// Whether the target has tensor cores that multiply elements of this dtype and add up in f32, and
// asynchronous copies to shared memory. Products are exact, but of f32, which is rounded to tf32
// where that is allowed (Target::tf32).
bool TensorCoresServe(DataType dtype, const Target& target);

// The tiling that EmitTensorCoreTiles takes.
TensorTiling TensorCoreTiling(const ContractionShape& shape, DataType dtype, const Target& target);

// Emits the tiles by mma.sync, and sets `spec.tiles` and the threads of a block.
void EmitTensorCoreTiles(ContractionTiles& tiles, DataType dtype, KernelSpec& spec);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_TENSOR_CORE_H_
