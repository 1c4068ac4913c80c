// Float sums of many elements, made of blocks: what is added up one by one is short, and so are the
// sums of blocks, and the sums of those. Errors then grow with the number of levels rather than
// with that of elements. Where blocks end depends on sizes alone.
#ifndef WEFT_COMPILER_CODEGEN_SUM_BLOCKS_H_
#define WEFT_COMPILER_CODEGEN_SUM_BLOCKS_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "compiler/codegen/kernel_builder.h"
#include "proto/dim_expr.h"

namespace weft {

// What goes into a sum one after the other: 64 times half a unit in the last place, in three
// levels, stays within what the op table allows even where every rounding is in one direction.
inline constexpr int64_t kAddsPerBlock = 64;

// Lengths of the blocks of one loop, the longest first; each is a multiple of the next. Empty where
// the loop is one block, or part of one.
using BlockLengths = std::vector<int64_t>;

// For a nest of loops over `extents`, the innermost of which makes one addition per `step`
// elements: blocks of each loop, such that none has more than kAddsPerBlock additions to one value.
// An extent that is open counts as long.
std::vector<BlockLengths> SumBlocks(const std::vector<DimExpr>& extents, int64_t step);

// Emits a loop over [begin, end): range(begin, end, start) on each of the shortest blocks from a
// new start(), and combine(sum so far, sum of a block) at each level. Without blocks, the range
// carries on with `carried`.
struct SumLoop {
  using Values = std::vector<mlir::Value>;
  std::function<Values()> start;
  std::function<Values(const Values& sum, const Values& block)> combine;
  std::function<Values(mlir::Value begin, mlir::Value end, const Values& start)> range;

  Values Emit(KernelBuilder& kernel, mlir::Value begin, mlir::Value end,
              const BlockLengths& lengths, const Values& carried, size_t level = 0) const;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_SUM_BLOCKS_H_
