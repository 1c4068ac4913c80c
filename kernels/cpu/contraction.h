// The schedule of contractions: matrix products and convolutions as one loop nest around one
// register tile.
//
// For each batch g, row i and column j it computes
//
//     acc[i, j] = sum over segments s and depths l of left[g][row(i) + segment(s) + l * stride]
//                                                     * right[g][(s * depth + l), j]
//
// and hands `acc` to an epilogue. In a matrix product there is one segment. In a convolution, row i
// is an output pixel, row(i) the offset of its window, and a segment is a run of the window that
// lies contiguous in the (padded) image. In a filter gradient, row i is an element of the filter, a
// segment a line of the output image, and l a pixel in it.
//
// A tile is a block of rows by a block of columns; tiles are independent, and each adds up its
// depth in one fixed order, so the result does not depend on how tiles are spread over threads.
// Neighbouring tiles that one thread gets are done together. Their depth goes in passes: for each,
// the block of `right` is brought into panels as wide as the register tile, which stay in the
// second-level cache while the rows pass by; the rows of one register tile stay in the first while
// the panels do.
#ifndef WEFT_KERNELS_CPU_CONTRACTION_H_
#define WEFT_KERNELS_CPU_CONTRACTION_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "kernels/code_builder.h"

namespace weft::cpu {

// Compile-time constants of a kernel.
struct ContractionSchedule {
  int64_t lanes = 16;          // of one vector
  int64_t vectors = 3;         // in one row of the register tile
  int64_t row_tile = 8;        // rows of the register tile
  int64_t row_block = 192;     // rows of a tile, a multiple of row_tile
  int64_t most_rows = 768;     // rows that are done together, a multiple of row_block
  int64_t column_block = 192;  // columns of a tile, a multiple of the panel
  int64_t depth_block = 384;   // depth of one pass within a segment
  int64_t segment_block = 1;   // segments of one pass; more than 1 only if depth <= depth_block
  // Rows from which on it pays to copy `right` into panels: the copy costs as much as fewer rows
  // lose to the sums of many short passes.
  int64_t pack_rows = 48;
  // Where the number of rows is open: depth of one pass, and columns of one block, for fewer rows
  // than `pack_rows`. The depth is at most pass_depth(), the columns are a multiple of
  // column_block; no depth means that it is as for others.
  int64_t few_rows_depth = 0, few_rows_columns = 0;
  // Rows of `left` that are copied at once, a multiple of row_tile; 0 to read it where it lies.
  int64_t copy_rows = 0;
  // Whether all depth is one pass, whatever the open sizes, but for few_rows_depth.
  bool one_pass = false;

  int64_t panel() const { return lanes * vectors; }
  // Most that one pass adds up.
  int64_t pass_depth() const { return depth_block * segment_block; }
};

// What a schedule is chosen by. Sizes that are open are absent.
struct ContractionSizes {
  std::optional<int64_t> batches, rows, columns, segments, depth;
  // As in Contraction.
  bool left_along_columns = false;
  // Rows of left are neighbours in memory, and steps of depth are not: all rows, or lines of them.
  bool left_transposed = false, left_across = false;
  // Rows of right lie as they are, not in panels, not column by column, and not in a narrower type.
  bool right_in_rows = true;
  // Columns of a panel where right lies in panels already: a multiple of the vector.
  std::optional<int64_t> panel = std::nullopt;
};
struct ContractionMachine {
  int64_t vector_bytes = 64, vector_registers = 32, l1_bytes = 32 << 10, l2_bytes = 512 << 10;
};
ContractionSchedule ChooseSchedule(const ContractionSizes& sizes, int64_t element_bytes,
                                   const ContractionMachine& machine);

// A buffer that the epilogue reads or writes: element base(g) + row(i) + (j if along_columns).
struct EpilogueAccess {
  mlir::Value pointer;
  mlir::Type element;  // in memory
  std::function<mlir::Value(mlir::Value batch)> base;
  mlir::Value row_stride;  // row(i) = i * row_stride; or else:
  std::function<mlir::Value(mlir::Value row)> row;
  bool along_columns = true;
};

struct Contraction {
  mlir::Type element;  // f32, f64, i32, i64: of acc
  // Of left and right in memory; where it is not `element`, `widen` makes that of a scalar or
  // vector of it.
  mlir::Type stored;
  std::function<mlir::Value(mlir::Value)> widen;
  // i64 values, arith constants where they are known at compile time; `batches` and `rows` are used
  // only to place tiles, so a kernel serves any.
  mlir::Value batches, rows, columns, segments, depth;

  mlir::Value left;
  std::function<mlir::Value(mlir::Value batch)> left_base;
  // row(i) = i * left_row_stride; or, where rows go in lines of `left_line_rows`,
  // left_line(i / left_line_rows) + i % left_line_rows * left_row_stride.
  mlir::Value left_row_stride, left_line_rows;
  std::function<mlir::Value(mlir::Value line)> left_line;
  std::function<mlir::Value(mlir::Value segment)> left_segment;  // unused with one segment
  mlir::Value left_depth_stride;
  // A depthwise convolution: left has a column as well, so its elements are not broadcast but go
  // lane by lane: left[... + j].
  bool left_along_columns = false;

  mlir::Value right;
  std::function<mlir::Value(mlir::Value batch)> right_base;
  // Whether right lies in panels: [ceil(columns / panel)][segments * depth][panel] from
  // right_base(g). Otherwise element (k, j) is at k * right_depth_stride + j *
  // right_column_stride.
  bool right_in_panels = false;
  mlir::Value right_depth_stride, right_column_stride;

  std::vector<EpilogueAccess> operands, results;
  // Emits the element-wise work: one vector for each result from a vector of acc and one of each
  // operand, all with the same number of lanes.
  std::function<CodeBuilder::Values(mlir::Value acc, const CodeBuilder::Values& operands)> epilogue;
};

// Bytes of scratch that EmitContraction's code needs.
int64_t ContractionScratch(const ContractionSchedule& schedule, int64_t element_bytes);

// Emits the code that computes tiles [begin, end). Tile t is block t % R of rows, t / R % C of
// columns, and batch t / (R * C), where R and C are the numbers of blocks of rows and columns.
void EmitContraction(CodeBuilder& builder, const Contraction& contraction,
                     const ContractionSchedule& schedule, mlir::Value begin, mlir::Value end,
                     mlir::Value scratch);

}  // namespace weft::cpu

#endif  // WEFT_KERNELS_CPU_CONTRACTION_H_
