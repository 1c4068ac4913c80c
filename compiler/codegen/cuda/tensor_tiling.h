// How a contraction is cut into tiles for tensor cores.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_TENSOR_TILING_H_
#define WEFT_COMPILER_CODEGEN_CUDA_TENSOR_TILING_H_

#include <cstdint>

#include "compiler/codegen/contraction_layout.h"
#include "compiler/codegen/target.h"

namespace weft {

// A block's tile of the result, the part of it that each warp or warpgroup computes, and how many
// steps of depth are under way in shared memory.
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

  int64_t part_threads() const { return warpgroups ? kGroup : 32; }
  int64_t threads() const { return rows / part_rows * (columns / part_columns) * part_threads(); }
  // Of each row or column, what is brought to shared memory, and waited for, at a time: 128 bytes
  // are what a warpgroup's matrices are made of. And the depth of that.
  int64_t step_bytes() const { return warpgroups ? 128 : 64; }
  int64_t depth() const { return step_bytes() / element_bytes; }
  // How many steps are on their way while one is multiplied. Of warpgroups the products of one more
  // step may not be done.
  int64_t ahead() const { return stages - (warpgroups ? 2 : 1); }
  int64_t shared_bytes() const { return stages * (rows + columns) * step_bytes(); }

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
// target, up to 4. On sm_90a, tiles of 64 rows or more are of warpgroups. Elements of 4 bytes make
// each cost twice what it is for 2, and so no difference to the choice.
TensorTiling ChooseTensorTiling(const ContractionShape& shape, int64_t element_bytes,
                                const Target& target);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_TENSOR_TILING_H_
