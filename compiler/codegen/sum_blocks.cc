#include "compiler/codegen/sum_blocks.h"

#include <algorithm>

namespace weft {

using mlir::Value;
using mlir::ValueRange;

namespace {

// What an open extent may well be.
constexpr int64_t kOpenExtent = 1 << 22;

}  // namespace

std::vector<BlockLengths> SumBlocks(const std::vector<DimExpr>& extents, int64_t step) {
  std::vector<BlockLengths> blocks(extents.size());
  int64_t adds = 1;  // that one iteration makes to the value that it carries
  for (size_t i = extents.size(); i-- > 0;) {
    const std::optional<int64_t> extent = extents[i].Constant();
    const int64_t width = i + 1 == extents.size() ? std::max<int64_t>(1, step) : 1;
    int64_t left = (extent.value_or(kOpenExtent) + width - 1) / width;
    if (extent && left <= kAddsPerBlock / adds) {
      adds *= std::max<int64_t>(1, left);
      continue;
    }
    int64_t length = 1;
    for (int64_t per_block = std::max<int64_t>(1, kAddsPerBlock / adds); left > 1;) {
      length *= per_block;
      left = (left + per_block - 1) / per_block;
      blocks[i].insert(blocks[i].begin(), length * width);
      if (left <= kAddsPerBlock) break;
      per_block = kAddsPerBlock;
    }
    // Most of what is open is shorter than its longest block.
    adds = extent ? left : 1;
  }
  return blocks;
}

SumLoop::Values SumLoop::Emit(KernelBuilder& kernel, Value begin, Value end,
                              const BlockLengths& lengths, const Values& carried,
                              size_t level) const {
  if (level == lengths.size()) return range(begin, end, carried);
  Value length = kernel.I64(lengths[level]);
  return kernel.For(begin, end, lengths[level], carried, [&](Value first, ValueRange sums) {
    Value last = kernel.Min(kernel.Add(first, length), end);
    return combine(Values(sums.begin(), sums.end()),
                   Emit(kernel, first, last, lengths, start(), level + 1));
  });
}

}  // namespace weft
