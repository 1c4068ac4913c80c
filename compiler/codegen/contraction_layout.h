// How matrix products and convolutions are seen by the code generator, and how their right operands
// should lie in memory.
#ifndef WEFT_COMPILER_CODEGEN_CONTRACTION_LAYOUT_H_
#define WEFT_COMPILER_CODEGEN_CONTRACTION_LAYOUT_H_

#include <cstdint>

#include "compiler/codegen/target.h"
#include "kernels/cpu/contraction.h"
#include "mlir/IR/Operation.h"
#include "proto/dim_expr.h"

namespace weft {

// A contraction as kernels/cpu/contraction.h has it: for each batch, a matrix of rows x columns of
// sums over segments x depth. Groups of a convolution are batches.
struct ContractionShape {
  DimExpr batches, rows, columns, segments, depth;
  // A convolution of each channel by itself (or its filter's gradient): columns are channels, of
  // both operands.
  bool depthwise = false;
  // As in kernels/cpu/contraction.h.
  bool left_transposed = false, left_across = false;
};

// Of a weft.matmul, weft.conv2d or weft.conv2d_filter_grad.
ContractionShape ShapeOfContraction(mlir::Operation* op);

cpu::ContractionSchedule ScheduleOfContraction(mlir::Operation* op, const Target& target);

// Columns of the panels in which the right operand of `op` should lie (plan.pack); 0 to leave it in
// place. Only a constant is worth it: what is not known at compile time, the kernel itself brings
// into panels, block by block.
int64_t PreferredPanel(mlir::Operation* op, bool right_is_constant, const Target& target);

// Whether an epilogue can take what these broadcasts and reshapes make of a value: of a number, or
// of what lies in memory, where one stride steps through each dimension, and 1 or 0 through the
// last.
bool EpilogueReads(mlir::Value value, llvm::ArrayRef<mlir::Operation*> through);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CONTRACTION_LAYOUT_H_
