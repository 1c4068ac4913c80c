// One operand of a block's tile that is brought to shared memory for products of warpgroups by
// copies of boxes of a tensor (TMA): one thread starts them, and what lies outside of the operand
// comes as zeros. It lies there as a staged operand does (staged_operand.h).
//
// Of a convolution, the left operand is windows of an image: a copy brings one pixel of each of as
// many as the box has, some channels of it (im2col). Each step of depth is of one pixel, so where
// its channels are no multiple of a step, the last step of each has zeros for those that are not
// there, on both sides.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_MAPPED_OPERAND_H_
#define WEFT_COMPILER_CODEGEN_CUDA_MAPPED_OPERAND_H_

#include <cstdint>
#include <vector>

#include "compiler/codegen/contraction_layout.h"
#include "compiler/codegen/cuda/contraction_tiles.h"
#include "compiler/codegen/cuda/tensor_tiling.h"
#include "compiler/codegen/cuda/warpgroup.h"

namespace weft {

class MappedOperand {
 public:
  // Whether both operands can be brought so. Matrices have a stride of 1, and others that are
  // multiples of 16 bytes, as copies of boxes want them; of f32, the stride of 1 is that of the
  // depth, since nothing turns elements of 4 bytes on their way. Windows are of elements of 2
  // bytes. Sizes that are known have to fit, and there has to be depth; of open ones the runtime
  // sees to it.
  static bool Serve(const ContractionShape& shape, int64_t element_bytes);

  static MappedOperand Left(const ContractionTiles& tiles, const TensorTiling& tiling);
  static MappedOperand Right(const ContractionTiles& tiles, const TensorTiling& tiling);
  // Of the tile's depth, as Bring counts it: no less than the tile has.
  static mlir::Value Steps(const ContractionTiles& tiles, const ContractionTiles::Tile& tile);

  // Lets the map be there when the first copy wants it. Of one thread.
  void Prefetch() const;
  // Where the windows are that a step's copies begin with, of an operand that is windows: column
  // and line in the result, and image. To find that takes divisions by sizes that may be open, so a
  // tile's first step alone does; in the others they are the same, or `step` further on.
  using WindowPlace = std::vector<mlir::Value>;
  WindowPlace FirstWindows(const ContractionTiles::Tile& tile) const;
  WindowPlace StepOfWindows() const;
  WindowPlace NextWindows(const WindowPlace& now, const WindowPlace& step) const;
  // Begins to copy the tile's part of its steps of depth from `step` on, which has `windows`, to a
  // stage: bytes() that count at the mbarrier. Of one thread.
  void Bring(const ContractionTiles::Tile& tile, mlir::Value step, const WindowPlace& windows,
             mlir::Value stage, mlir::Value barrier) const;
  int64_t bytes() const { return matrix_.stage_bytes; }
  const WarpgroupMatrix& matrix() const { return matrix_; }

 private:
  enum class Kind {
    kMatrix,
    kWindows,
    kFilter,  // steps of depth are its pixels, and the channels of each
  };
  // Where a copy begins, innermost first; of windows also which pixel of them it takes.
  struct Place {
    std::vector<mlir::Value> coordinates, offsets;
  };

  MappedOperand(const ContractionTiles& tiles, const TensorTiling& tiling, bool is_left);

  // The map, but for what is the same of all, and the sizes and strides (bytes) that it is of; and
  // which way the operand lies in a stage.
  KernelMap MapOfMatrix(std::vector<DimExpr>* numbers);
  KernelMap MapOfWindows(std::vector<DimExpr>* numbers);
  KernelMap MapOfFilter(std::vector<DimExpr>* numbers);
  Place PlaceAt(mlir::Value own, mlir::Value depth, mlir::Value batch,
                const WindowPlace& windows) const;
  // Of an element of them.
  Place PlaceInWindows(const WindowPlace& windows, mlir::Value element) const;
  // That of the window of this number.
  WindowPlace WindowAt(mlir::Value window) const;
  bool depth_is_windows() const {
    return kind_ == Kind::kWindows && tiles_->shape().windows->are_depth;
  }
  // Elements of a row of a stage.
  int64_t width() const { return WarpgroupMatrix::kRowBytes / element_bytes_; }

  const ContractionTiles* tiles_;
  bool is_left_;
  int64_t size_;  // own
  int64_t element_bytes_;
  Kind kind_ = Kind::kMatrix;
  bool has_batches_ = false;  // a dimension of the tensor
  mlir::Value map_;
  WarpgroupMatrix matrix_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_MAPPED_OPERAND_H_
