// From a fusion to a kernel.
#ifndef WEFT_COMPILER_CODEGEN_EMIT_H_
#define WEFT_COMPILER_CODEGEN_EMIT_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/dim_expr.h"
#include "proto/dtype.h"
#include "runtime/contraction.h"
#include "runtime/tensor_map.h"

namespace mlir {
class ModuleOp;
}

namespace weft {

namespace plan {
class FusionOp;
}
struct Target;

// What a kernel computes, where libraries for GPUs have the same: Contraction in
// proto/plan.proto. Buffers are the kernel's.
struct ContractionSpec {
  LaunchContraction::Kind kind = LaunchContraction::kProduct;
  DataType dtype = DataType::kInvalid;
  bool tf32 = false;
  double scale = 1;
  int left = 0, right = 0;
  std::optional<int> addend, bias;
  std::vector<DimExpr> sizes;
};

// How to launch a kernel. Formulas are in the open dimensions of the fusion's types.
struct KernelSpec {
  // Name of the kernel's function in the module.
  std::string symbol;
  // Values of the kernel's `sizes` argument, and then those of its tensor maps.
  std::vector<DimExpr> sizes;
  // Of a GPU: the tensor maps that the kernel takes before its buffers, which are numbered as
  // there.
  std::vector<KernelMap> maps;
  // Of a GPU.
  std::optional<ContractionSpec> contraction;
  // Number of independent tiles; fixed by the sizes alone, 0 where there is nothing to compute. For
  // a GPU, each is one block of `block_threads` threads, and all blocks are one launch; with
  // `shares_tiles` any number of blocks takes them one after the other.
  DimExpr tiles;
  bool shares_tiles = false;
  int block_threads = 0;
  // Scratch that each thread needs, in bytes; of a GPU, each block: shared memory besides what the
  // code declares.
  DimExpr scratch_bytes;
  // Work and traffic of the whole launch, for reports and for deciding about threads.
  DimExpr flops, bytes;
  // (operand, result) pairs that may lie in one buffer: the kernel reads no element of the operand
  // after it, or another tile, has written there. At most one operand shares with a result.
  std::vector<std::pair<int, int>> may_share;
};

// Emits the kernel of `fusion` as a function into `kernels`, in the form of
// runtime/core/kernel_abi.h with the fusion's operands and then its results as buffers. The symbol
// is unique in the module; the caller merges functions that are equal but for their names, so a
// kernel should differ only where its code does: open dimensions are always arguments, static ones
// where that costs nothing. Error, naming its location: Internal where the fusion breaks the
// contract below; Unimplemented where its ops need more together than one kernel has, such as a
// GPU's parameters (`split_kernels` makes several fusions of it then).
//
// What a fusion may hold. "Domain" is the shape over which the kernel iterates. Element-wise ops
// are those of graph/ops/elementwise.td. Constants in bodies are splats; others are operands. Every
// op of a body is used.
//
//   loop         Element-wise ops, and ops that move elements: broadcast, reshape, transpose,
//                slice, pad, concat, reverse, iota, dim_size, constant, gather, one_hot, random_*,
//                plan.cut.
//                All results have the domain's number of elements. Any value may be needed at any
//                index that these ops map to; operands have any shape.
//   row          As loop, plus reductions (reduce_*, argmax, argmin) over the innermost dimensions.
//                The domain is [rows..., columns...]; every reduction reduces exactly the
//                columns, with or without keep_dims, and values derived from it are broadcast back
//                to the domain or stay [rows...]. Results have the domain's shape or the number of
//                elements of the rows.
//                Element-wise ops work on values of the domain or of the rows; operands reach
//                them by broadcast, reshape and the other moving ops, applied to operands only.
//                Reshapes may stand anywhere between values of the domain, and of the rows, if they
//                split and merge dimensions, but none of the rows with one of the columns.
//   column       Reductions over one contiguous range of dimensions that is not innermost: the
//                domain is [outer..., reduced..., inner...]. Before them, as in a loop over the
//                domain; after them, element-wise ops on [outer..., inner...]. Results are of the
//                latter shape (keep_dims allowed). All reductions have one domain and range.
//                Reshapes as for rows.
//   contraction  One matmul, or conv2d or conv2d_filter_grad with paddings 0 (but where
//                ConvolutionPads); its right operand may be the `plan.unpack` of an operand. Or,
//                for a GPU, the `plan.partial_sums` of one whose depth is known, and which is no
//                depthwise convolution, by multiples of 64 steps. Then element-wise ops on values
//                of its shape, with broadcasts (and reshapes) of operands. Results have its shape.
//   window       One of max_pool, max_unpool, max_pool_at, avg_pool, avg_pool_grad.
//   scatter      One scatter_add or stack_push.
//   scan         One cumsum.
//   pack         One plan.pack.
absl::StatusOr<KernelSpec> EmitKernel(plan::FusionOp fusion, const Target& target,
                                      mlir::ModuleOp kernels);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_EMIT_H_
