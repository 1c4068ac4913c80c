// How matrix products and convolutions are seen by the code generator, and how their right operands
// should lie in memory.
#ifndef WEFT_COMPILER_CODEGEN_CONTRACTION_LAYOUT_H_
#define WEFT_COMPILER_CODEGEN_CONTRACTION_LAYOUT_H_

#include <array>
#include <cstdint>
#include <optional>

#include "compiler/codegen/target.h"
#include "kernels/cpu/contraction.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Operation.h"
#include "proto/dim_expr.h"
#include "proto/dtype.h"

namespace weft {

// A contraction as it stands in a function: a weft.matmul, weft.conv2d or weft.conv2d_filter_grad,
// or plan.partial_sums of one.
class ContractionOp {
 public:
  static bool Is(mlir::Operation* op);
  // `op` is one, and outlives this.
  explicit ContractionOp(mlir::Operation* op);

  bool is_matmul() const { return name_ == "matmul"; }
  bool is_filter_grad() const { return name_ == "conv2d_filter_grad"; }
  // Attributes of the whole.
  bool Flag(llvm::StringRef name) const;
  int64_t Int(llvm::StringRef name) const;
  llvm::ArrayRef<int64_t> Ints(llvm::StringRef name) const;
  // That of the whole, and of its operands.
  const Shape& result() const { return result_; }
  DataType dtype() const;
  // Of its depth; 1 for the whole. And the steps of each but the last.
  int64_t parts() const { return parts_; }
  int64_t part_steps() const { return part_steps_; }

 private:
  mlir::Operation* op_;
  llvm::StringRef name_;
  mlir::DictionaryAttr attributes_;
  Shape result_;
  int64_t parts_ = 1, part_steps_ = 0;
};

// Where the elements of an operand are, of which each batch has a matrix: what lies between one
// batch and the next, one of its own (rows of left, columns of right), one step of depth. Elements.
struct MatrixStrides {
  DimExpr batch, own, depth;
};

// A contraction as kernels/cpu/contraction.h has it: for each batch, a matrix of rows x columns of
// sums over segments x depth. Groups of a convolution are batches.
struct ContractionShape {
  DimExpr batches, rows, columns, segments, depth;
  // A convolution of each channel by itself (or its filter's gradient): columns are channels, of
  // both operands.
  bool depthwise = false;
  // As in kernels/cpu/contraction.h.
  bool left_transposed = false, left_across = false;
  // Where both operands are matrices in memory; those of a convolution are where its windows are
  // pixels, of all channels. Batches are those of the whole.
  struct Matrices {
    MatrixStrides left, right;
  };
  std::optional<Matrices> matrices;
  // Of a convolution of all channels, or its filter's gradient, where windows are more than pixels:
  // the image that left is. Right is a matrix in memory, whose columns are neighbours.
  struct Windows {
    DimExpr images, height, width, channels;
    DimExpr filter_height, filter_width, out_height, out_width;
    // Of lines, and of columns.
    std::array<int64_t, 2> strides, dilations;
    // Zeros around the image: above, below, left, right.
    std::array<int64_t, 4> padding;
    // Windows are steps of the depth, and their elements are rows, rather than the reverse.
    bool are_depth = false;
  };
  std::optional<Windows> windows;
  // Parts of the segments x depth steps, each of so many but for the last, which may have fewer.
  // They are batches: batch g of part p is number p * whole_batches() + g. Parts begin at multiples
  // of kPartMultiple, as aligned as the operands do, and where a stage of shared memory may begin.
  static constexpr int64_t kPartMultiple = 64;
  int64_t parts = 1, part_steps = 0;

  DimExpr whole_batches() const {
    return parts == 1 ? batches : *DimExpr::DivideExactly(batches, parts);
  }
};

// Of what ContractionOp stands for.
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
