// One operand of a block's tile that is brought to shared memory for products of warpgroups by
// copies of boxes of a tensor (TMA): one thread starts them, and what lies outside of the operand
// comes as zeros. It lies there as a staged operand does (staged_operand.h).
#ifndef WEFT_COMPILER_CODEGEN_CUDA_MAPPED_OPERAND_H_
#define WEFT_COMPILER_CODEGEN_CUDA_MAPPED_OPERAND_H_

#include <cstdint>

#include "compiler/codegen/contraction_layout.h"
#include "compiler/codegen/cuda/contraction_tiles.h"
#include "compiler/codegen/cuda/tensor_tiling.h"
#include "compiler/codegen/cuda/warpgroup.h"

namespace weft {

class MappedOperand {
 public:
  // Whether both operands can be brought so: they are matrices of elements of 2 bytes, one of whose
  // strides is 1, and the others multiples of 16 bytes, as copies of boxes want them; of f32,
  // threads have to round what comes. Sizes that are known have to fit, and there has to be depth;
  // of open ones the runtime sees to it.
  static bool Serve(const ContractionShape& shape, int64_t element_bytes);

  static MappedOperand Left(const ContractionTiles& tiles, const TensorTiling& tiling);
  static MappedOperand Right(const ContractionTiles& tiles, const TensorTiling& tiling);

  // Lets the map be there when the first copy wants it. Of one thread.
  void Prefetch() const;
  // Begins to copy the tile's part of its steps of depth from `step` on to a stage: bytes() that
  // count at the mbarrier. Of one thread.
  void Bring(const ContractionTiles::Tile& tile, mlir::Value step, mlir::Value stage,
             mlir::Value barrier) const;
  int64_t bytes() const { return matrix_.stage_bytes; }
  const WarpgroupMatrix& matrix() const { return matrix_; }

 private:
  MappedOperand(const ContractionTiles& tiles, const TensorTiling& tiling, bool is_left);

  const ContractionTiles* tiles_;
  bool is_left_;
  int64_t size_;      // own
  bool has_batches_;  // a dimension of the tensor
  mlir::Value map_;
  WarpgroupMatrix matrix_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_MAPPED_OPERAND_H_
