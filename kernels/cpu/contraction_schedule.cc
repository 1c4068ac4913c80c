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
    const int64_t panel = vectors * s->lanes;
    if (rows < 1 || (sizes.panel && panel != *sizes.panel)) continue;
    if (!sizes.panel && vectors > 4 && known_rows != rows) continue;
    const int64_t sums = rows * vectors;
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

// Depth of a pass in which few rows of left read right in rows where it lies. Processors fetch
// ahead in some 32 pages at a time; with more, each line is waited for.
int64_t DepthForFewRows(const ContractionSizes& sizes, int64_t element_bytes) {
  constexpr int64_t kPages = 32, kPageBytes = 4096;
  const int64_t row_bytes =
      std::max<int64_t>(sizes.columns.value_or(kPageBytes), 1) * element_bytes;
  return kPages * std::max<int64_t>(kPageBytes / row_bytes, 1);
}

// Blocks of depth: whole segments where they are short.
void ChooseDepth(const ContractionSizes& sizes, int64_t most, ContractionSchedule* s) {
  // One pass a little longer beats two.
  const int64_t longest = most * 3 / 2;
  const int64_t depth = std::max<int64_t>(sizes.depth.value_or(0), 1);
  const int64_t segments = std::max<int64_t>(sizes.segments.value_or(0), 1);
  s->one_pass = sizes.depth && sizes.segments && depth <= longest / segments;
  if (s->one_pass) {
    s->depth_block = depth;
    s->segment_block = segments;
    return;
  }
  if (sizes.depth && sizes.segments != 1 && depth <= most) {
    s->depth_block = depth;
    s->segment_block = EvenBlock(sizes.segments, most / depth, 1);
    return;
  }
  s->depth_block = EvenBlock(sizes.depth, most, 1);
  s->segment_block = 1;
}

}  // namespace

ContractionSchedule ChooseSchedule(const ContractionSizes& sizes, int64_t element_bytes,
                                   const ContractionMachine& machine) {
  ContractionSchedule s;
  s.lanes = machine.vector_bytes / element_bytes;
  ChooseRegisterTile(sizes, machine, &s);
  if (sizes.left_along_columns) {
    // Elements of the left operand are not shared by the columns: nothing to gain from many rows.
    s.vectors =
        std::min<int64_t>(CeilDiv(std::max<int64_t>(sizes.columns.value_or(64), 1), s.lanes),
                          machine.vector_registers / 8);
    s.row_tile = std::min<int64_t>(8, machine.vector_registers / 2 / s.vectors);
  }
  // The rows of a register tile fill a quarter of the first cache, the panels half of the second.
  int64_t most_depth =
      std::clamp<int64_t>(machine.l1_bytes / 4 / (s.row_tile * element_bytes) / 16 * 16, 128, 512);
  // Where each step of depth is in a line of its own, all those lines do.
  if (sizes.left_across) most_depth = std::max<int64_t>(machine.l1_bytes / 6 / 64, 64);
  // What one register tile passes over once need not stay in a cache.
  constexpr int64_t kOneTile = 12;
  const bool one_panel = sizes.columns && *sizes.columns <= s.panel();
  const bool read_in_place = sizes.right_in_rows && !one_panel;
  const int64_t few_rows_depth = DepthForFewRows(sizes, element_bytes);
  const bool few_rows = sizes.rows && *sizes.rows < (read_in_place ? s.pack_rows : kOneTile);
  if (few_rows && !sizes.left_across) most_depth = read_in_place ? few_rows_depth : 1024;
  ChooseDepth(sizes, most_depth, &s);
  int64_t most_columns = std::max<int64_t>(
      machine.l2_bytes / 2 / (std::min(s.pass_depth(), most_depth) * element_bytes), s.panel());
  most_columns = std::min<int64_t>(most_columns, 1024);
  // Enough tiles for several threads, where the sizes are known, but not so small that reading the
  // operands again for each takes longer than the work.
  constexpr int64_t kTiles = 16, kLeastRows = 64, kRows = 256, kLeastColumns = 128;
  if (sizes.rows && sizes.columns && sizes.batches) {
    const int64_t others =
        std::max<int64_t>(*sizes.rows / kLeastRows, 1) * std::max<int64_t>(*sizes.batches, 1);
    // Where right comes from memory and is read once, a page of each row at a time.
    const bool from_memory =
        few_rows &&
        *sizes.columns * sizes.depth.value_or(1024) * element_bytes > 4 * machine.l2_bytes;
    const int64_t least = from_memory ? 4096 / element_bytes : (few_rows ? 2 : 1) * kLeastColumns;
    most_columns =
        std::min(most_columns, std::max(CeilDiv(*sizes.columns, CeilDiv(kTiles, others)), least));
  }
  s.column_block = EvenBlock(sizes.columns, most_columns, s.panel());

  if (!sizes.rows && read_in_place && sizes.segments == 1 && !sizes.left_across &&
      !sizes.left_along_columns && sizes.depth.value_or(s.pass_depth()) > few_rows_depth) {
    // As where rows are known to be few: short passes over a page of each row of right. None is
    // deeper than a pass of many rows, for which there is room.
    s.few_rows_depth = std::min(few_rows_depth, s.pass_depth());
    s.few_rows_columns =
        std::max<int64_t>(4096 / element_bytes / s.column_block, 1) * s.column_block;
  }

  s.row_block = std::max(kRows / s.row_tile * s.row_tile, s.row_tile);
  if (sizes.rows && sizes.columns && sizes.batches) {
    const int64_t others =
        std::max<int64_t>(*sizes.batches * CeilDiv(*sizes.columns, s.column_block), 1);
    const int64_t wanted =
        std::max<int64_t>(std::min(CeilDiv(kTiles, others), *sizes.rows / kLeastRows), 1);
    s.row_block = EvenBlock(sizes.rows, std::min(kRows, CeilDiv(*sizes.rows, wanted)), s.row_tile);
  }
  // Sums that wait for the next pass fill the second cache.
  const int64_t most_rows = s.one_pass ? 1024 : machine.l2_bytes / (s.column_block * element_bytes);
  s.most_rows = std::max<int64_t>(most_rows / s.row_block, 1) * s.row_block;
  if (sizes.left_transposed && sizes.columns.value_or(s.panel() + 1) > s.panel()) {
    constexpr int64_t kCopied = 96;
    s.copy_rows = std::max<int64_t>(kCopied / s.row_tile, 1) * s.row_tile;
  }
  return s;
}

}  // namespace weft::cpu
