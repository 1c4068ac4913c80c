// What the ways to compute a contraction on a GPU share: which tile of the result a block computes,
// where the operands' elements are, and what becomes of the sums.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_CONTRACTION_TILES_H_
#define WEFT_COMPILER_CODEGEN_CUDA_CONTRACTION_TILES_H_

#include <cstdint>

#include "compiler/codegen/contraction_layout.h"
#include "compiler/codegen/emit.h"
#include "compiler/codegen/kernel_builder.h"
#include "kernels/cpu/contraction.h"

namespace weft {

// Emits into `kb`; all three live as long as it does.
class ContractionTiles {
 public:
  ContractionTiles(KernelBuilder& kb, const cpu::Contraction& contraction,
                   const ContractionShape& shape);

  KernelBuilder& kb() const { return kb_; }
  const cpu::Contraction& contraction() const { return c_; }
  const ContractionShape& shape() const { return shape_; }
  // Segments times depth, of all parts together (see ContractionShape).
  mlir::Value depth() const { return depth_; }

  struct Tile {
    mlir::Value batch, first_row, first_column;
    // Those of the depth that it adds up: all, or its part.
    mlir::Value first_step, steps;
  };
  // How many tiles there are of so many rows and columns, and one of them, by its number. Those
  // whose numbers are near one another are near in the result, so that what blocks that run at a
  // time read of the operands is the same.
  DimExpr Count(int64_t rows, int64_t columns) const;
  Tile At(mlir::Value number, int64_t rows, int64_t columns) const;
  // The tile of this block, where each has one; sets `spec.tiles`.
  Tile Place(int64_t rows, int64_t columns, KernelSpec& spec) const;

  // Offsets of elements, in elements, but for the batch's base.
  mlir::Value LeftRow(mlir::Value row) const;
  mlir::Value LeftDepth(mlir::Value step) const;
  mlir::Value RightColumn(mlir::Value column) const;
  mlir::Value RightDepth(mlir::Value step) const;

  // How many neighbouring columns, at most `most`, beginning at a multiple of their number, are all
  // inside of the result or all outside, whatever the open sizes: a power of two.
  int64_t ColumnsTogether(int64_t most) const;
  // The epilogue for sums of neighbouring columns, a vector, as far as they are inside. `column` is
  // a multiple of their number where that divides the columns'.
  void Store(mlir::Value sums, mlir::Value batch, mlir::Value row, mlir::Value column) const;

 private:
  void StoreInside(mlir::Value sums, mlir::Value batch, mlir::Value row, mlir::Value column) const;

  KernelBuilder& kb_;
  const cpu::Contraction& c_;
  const ContractionShape& shape_;
  mlir::Value depth_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_CONTRACTION_TILES_H_
