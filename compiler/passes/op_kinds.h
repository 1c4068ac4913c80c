// How ops are treated by fusion and by plan building.
#ifndef WEFT_COMPILER_PASSES_OP_KINDS_H_
#define WEFT_COMPILER_PASSES_OP_KINDS_H_

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Operation.h"

namespace weft {

enum class OpKind {
  kElementwise,
  // Moves elements, or makes them from indices: an index map that is cheap to compute, but whose
  // operand is best in memory.
  kMove,
  // Costs nothing inside a kernel and is copied into each that uses it: broadcasts, constants of
  // one number, counters, cuts of a dimension.
  kFree,
  // Reduction over the innermost dimensions, over others, over several ranges.
  kRowReduction,
  kColumnReduction,
  kContraction,
  kWindow,
  kScatter,
  kScan,
  kPack,
  // No code: the result is the operand's buffer, or a constant's.
  kAlias,
  // Work for the executor: control flow, assertions, prints.
  kHost,
};

OpKind KindOf(mlir::Operation* op);

// The kind (plan.h) of a fusion that holds nothing but the op; empty for what gets no kernel.
const char* FusionKindOf(mlir::Operation* op);

// Whether the op is copied into each kernel that uses it, and otherwise vanishes.
bool IsCopied(mlir::Operation* op);

// Whether the op does what can be seen from outside, prints or fails, itself or in a body: such ops
// keep their order. Ends of blocks count as well, so that they stay last.
bool HasEffects(mlir::Operation* op);

// The constant of one number, of any shape, that every element of the value is; null where that is
// not known.
mlir::DenseElementsAttr SplatOfValue(mlir::Value value);

// The operand whose memory the op's result is, for ops that compute nothing of it; null for others
// and for null.
mlir::Value AliasedOperand(mlir::Operation* op);

// The range [begin, end) of dimensions that a reduction reduces. Axes are one range after the
// `decompose` pass.
struct AxisRange {
  int64_t begin = 0, end = 0;
};
AxisRange ReducedRange(mlir::Operation* op);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_OP_KINDS_H_
