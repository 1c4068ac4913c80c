// When the depth of a contraction is cut into parts, and into which.
#ifndef WEFT_COMPILER_PASSES_SPLIT_CONTRACTIONS_H_
#define WEFT_COMPILER_PASSES_SPLIT_CONTRACTIONS_H_

#include <cstdint>
#include <optional>

#include "compiler/codegen/contraction_layout.h"
#include "proto/dim_expr.h"

namespace weft {

// So many parts of so many steps of depth, of which the last may have fewer, but one at least.
struct DepthParts {
  int64_t parts, steps;

  friend bool operator==(const DepthParts&, const DepthParts&) = default;
};

// Up to 256, the number of parts for which this estimate is least, in cycles of a GPU with 128
// multiprocessors, the most of
//
//     steps of a part * ceil(tiles / 128) * side / 8
//     2 * elements of both operands / 1024
//
// and with them, where the contraction is in parts,
//
//     4096 + 8 * parts * results / 1024
//
// The first is of the tiles of side 128, 64 or 32, of all parts, for which it is least: a step of
// one is 4 * side bytes, which come from the second-level cache at 32 a cycle. The second is
// memory's; the last, another launch, and sums of 4 bytes that are written and read again. Elements
// of operands count as 2 bytes. Parts have a multiple of 64 steps, 256 at least, so that all begin
// as aligned as the operands do.
//
// Nothing where that saves less than a quarter of the time, where the sums would take more memory
// than the operands, where a size is open, and for depthwise convolutions, which have no tiles.
//
// Sizes alone decide, not the GPU nor the dtype, so that sums are added up in one order everywhere.
// Products of f32 without tf32, and of f64, take longer than this says: some that would gain from
// parts have none.
std::optional<DepthParts> ChooseDepthParts(const ContractionShape& shape,
                                           const DimExpr& operand_elements);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_SPLIT_CONTRACTIONS_H_
