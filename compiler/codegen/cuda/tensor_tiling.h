// How a contraction is cut into tiles for tensor cores.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_TENSOR_TILING_H_
#define WEFT_COMPILER_CODEGEN_CUDA_TENSOR_TILING_H_

#include <cstdint>

#include "compiler/codegen/contraction_layout.h"
#include "compiler/codegen/target.h"

namespace weft {

// A block's tile of the result, the part of it that each warp or warpgroup computes, and how many
// steps of depth are under way in shared memory. Where operands are brought by tensor maps
// (mapped_operand.h), blocks take one tile after the other, each on a multiprocessor of its own.
struct TensorTiling {
  // Threads of a warpgroup.
  static constexpr int64_t kGroup = 128;

  int64_t rows, columns;
  int64_t part_rows, part_columns;
  // Whether parts are of warpgroups, which multiply asynchronously (wgmma), rather than of warps.
  bool warpgroups = false;
  int64_t stages = 0;
  // Of the operands: 2, or 4 of tf32.
  int64_t element_bytes = 2;

  // Whether one warpgroup more brings the operands of the others, by tensor maps.
  bool producer = false;

  int64_t part_threads() const { return warpgroups ? kGroup : 32; }
  int64_t parts() const { return rows / part_rows * (columns / part_columns); }
  int64_t threads() const { return parts() * part_threads() + (producer ? kGroup : 0); }
  // Of each row or column, what is brought to shared memory, and waited for, at a time: 128 bytes
  // are what a warpgroup's matrices are made of. And the depth of that.
  int64_t step_bytes() const { return warpgroups ? 128 : 64; }
  int64_t depth() const { return step_bytes() / element_bytes; }
  // How many steps are on their way while one is multiplied. Of warpgroups the products of one more
  // step may not be done. Where there is a producer, it is as far ahead as there are stages.
  int64_t ahead() const { return stages - (warpgroups ? 2 : 1); }
  // Of the stages; and of the block, with two mbarriers for each stage behind them where there is a
  // producer.
  int64_t stage_bytes() const { return stages * (rows + columns) * step_bytes(); }
  int64_t shared_bytes() const { return stage_bytes() + (producer ? 16 * stages : 0); }

  friend bool operator==(const TensorTiling&, const TensorTiling&) = default;
};

// The tiling for which this estimate is least, and of equals that with the largest tile:
//
//     tiles per multiprocessor, rounded up, times what a step of depth costs in one
//
// A step of depth costs the most of: its products at the tensor cores' rate; its operands, which
// come from the second-level cache at so many bytes per cycle; and, however few tiles there are,
// the latency of one warp's chain of instructions. Open sizes count as 1024, an open number of
// batches as 16. Parts are as large as registers allow (128 of a thread's are sums at most), and
// stages as many as fit into the shared memory that a block has on every GPU that runs code for the
// target, up to 4, but no more than the depth fills. On sm_90a, tiles of 64 rows or more are of
// warpgroups. Elements of 4 bytes make each cost twice what it is for 2, and so no difference to
// the choice. `mapped`: operands of warpgroups may be brought by tensor maps. The estimate holds
// for blocks that take one tile after the other as well, as it has each multiprocessor at one at a
// time; they have as many stages as fit, however small the depth, since the next tile's come in
// them.
TensorTiling ChooseTensorTiling(const ContractionShape& shape, int64_t element_bytes,
                                const Target& target, bool mapped = false);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_TENSOR_TILING_H_
