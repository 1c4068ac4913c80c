// How a contraction is cut into register tiles, cache blocks, and tiles for threads.
#include <algorithm>
#include <limits>

#include "kernels/cpu/contraction.h"

namespace weft::cpu {
namespace {

int64_t CeilDiv(int64_t x, int64_t y) { return (x + y - 1) / y; }
int64_t RoundUp(int64_t x, int64_t multiple) { return CeilDiv(x, multiple) * multiple; }

// Blocks of equal size, each a multiple of `unit`, none larger than `most`.
int64_t EvenBlock(std::optional<int64_t> size, int64_t most, int64_t unit) {
  most = std::max(most / unit * unit, unit);
  if (!size || *size <= 0) return most;
  return RoundUp(CeilDiv(*size, CeilDiv(*size, most)), unit);
}

// The register tile with the fewest multiplications wasted on columns that are not there, and among
// those with the fewest loads. The sums, a row of the panel and one element of a row have to fit
// the registers; eight sums that do not wait for one another keep the multipliers busy.
void ChooseRegisterTile(const ContractionSizes& sizes, const ContractionMachine& machine,
                        ContractionSchedule* s) {
  // Beyond this, row pointers do not fit the integer registers.
  constexpr int64_t kMostRows = 12;
  constexpr int64_t kBusy = 8;
  const std::optional<int64_t> known_rows =
      sizes.rows ? std::optional<int64_t>(std::max<int64_t>(*sizes.rows, 1)) : std::nullopt;
  double best = std::numeric_limits<double>::infinity();
  for (int64_t vectors = 1; vectors <= 12; ++vectors) {
    int64_t rows = std::min((machine.vector_registers - 1 - vectors) / vectors, kMostRows);
    // Rows that do not fill register tiles are done in tiles of half the rows, a quarter, and so
    // on.
    if (rows % 2 != 0 && rows > 1) --rows;
    if (known_rows) rows = std::min(rows, *known_rows);
    // Wide tiles of few rows are for when there are no more.
    if (rows < 1 || (vectors > 4 && known_rows != rows)) continue;
    const int64_t sums = rows * vectors;
    const int64_t panel = vectors * s->lanes;
    double cost = static_cast<double>(RoundUp(sizes.columns.value_or(4096), panel));
    cost *= 1 + 0.35 * static_cast<double>(rows + vectors) / static_cast<double>(sums);
    cost /= static_cast<double>(std::min(sums, kBusy));
    if (cost < best) {
      best = cost;
      s->vectors = vectors;
      s->row_tile = rows;
    }
  }
}

}  // namespace

ContractionSchedule ChooseSchedule(const ContractionSizes& sizes, int64_t element_bytes,
                                   bool left_along_columns, const ContractionMachine& machine) {
  ContractionSchedule s;
  s.lanes = machine.vector_bytes / element_bytes;
  ChooseRegisterTile(sizes, machine, &s);
  if (left_along_columns) {
    // Elements of the left operand are not shared by the columns: nothing to gain from many rows.
    s.vectors =
        std::min<int64_t>(CeilDiv(std::max<int64_t>(sizes.columns.value_or(64), 1), s.lanes),
                          machine.vector_registers / 8);
    s.row_tile = std::min<int64_t>(8, machine.vector_registers / 2 / s.vectors);
  }
  // A panel fills three quarters of the first cache, the rows of a tile a third of the second.
  s.depth_block = std::clamp<int64_t>(
      machine.l1_bytes * 3 / 4 / (s.panel() * element_bytes) / 16 * 16, 64, 512);
  int64_t row_block = std::clamp<int64_t>(machine.l2_bytes / 3 / (s.depth_block * element_bytes),
                                          4 * s.row_tile, 480);
  // A panel that one register tile passes over once need not stay in a cache.
  if (sizes.rows && *sizes.rows <= s.row_tile) s.depth_block = 1024;
  s.column_block = EvenBlock(sizes.columns, std::max<int64_t>(96, s.panel()), s.panel());

  // Enough tiles for several threads, where the sizes are known, but not so small that reading the
  // operands again for each takes longer than the work.
  constexpr int64_t kTiles = 8, kLeastRows = 64;
  if (sizes.rows && sizes.columns && sizes.batches) {
    const int64_t others = *sizes.batches * CeilDiv(*sizes.columns, s.column_block);
    const int64_t wanted =
        std::min(CeilDiv(kTiles, std::max<int64_t>(others, 1)), *sizes.rows / kLeastRows);
    if (wanted > 1) row_block = std::min(row_block, CeilDiv(*sizes.rows, wanted));
  }
  s.row_block = EvenBlock(sizes.rows, row_block, s.row_tile);

  if (sizes.depth && sizes.segments != 1) {
    // Short segments are taken several at once.
    const int64_t depth = std::max<int64_t>(*sizes.depth, 1);
    if (depth <= s.depth_block) {
      s.segment_block = std::max<int64_t>(1, s.depth_block / depth);
      if (sizes.segments) s.segment_block = EvenBlock(sizes.segments, s.segment_block, 1);
      s.depth_block = depth;
    }
  }
  s.depth_block = EvenBlock(sizes.depth, s.depth_block, 1);
  return s;
}

}  // namespace weft::cpu
