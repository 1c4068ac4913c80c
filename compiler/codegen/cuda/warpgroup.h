// Products of warpgroups: the asynchronous matrix instructions of sm_90a.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_WARPGROUP_H_
#define WEFT_COMPILER_CODEGEN_CUDA_WARPGROUP_H_

#include <cstdint>
#include <vector>

#include "compiler/codegen/kernel_builder.h"
#include "proto/dtype.h"

namespace weft {

// An operand in shared memory, in stages, as warpgroups read it: rows of 128 bytes, of which chunks
// of 16 bytes are exchanged by exclusive or with the row's number (a swizzle of 128 bytes). Rows
// are the operand's own (A's rows, B's columns), and 128 bytes of depth; or they are steps of
// depth, and what is longer than a row is cut into panels, each with all the steps.
struct WarpgroupMatrix {
  static constexpr int64_t kRowBytes = 128;
  // What a descriptor grows by for the next 64 own.
  static constexpr int64_t kDescriptorOfOwn = 64 * kRowBytes / 16;

  mlir::Value shared;  // of the first stage, aligned to 1024
  int64_t stage_bytes = 0;
  int64_t depth = 0;  // of a stage
  bool rows_are_own = false;

  int64_t panel_bytes() const { return depth * kRowBytes; }
  // Of a stage's matrix of 32 bytes of depth and the own from `first` on, a multiple of 64: its
  // descriptor (i64); and what that grows by for the next 32 bytes.
  mlir::Value Descriptor(KernelBuilder& kernel, mlir::Value stage, mlir::Value first) const;
  int64_t descriptor_of_depth() const;
};

// A product of 64 * `row_blocks` rows, `columns` columns and `steps` times 32 bytes of depth, of
// elements in shared memory: f16, bf16, or f32 that are rounded to tf32.
struct WarpgroupProduct {
  // A matrix as its descriptor says (PTX, "Matrix-descriptor"), an i64: of the first rows (or the
  // columns) and the first 32 bytes of depth. It grows by `step` for the next 32. `transposed`:
  // neighbours in shared memory are its rows or columns, which are not f32.
  struct Operand {
    mlir::Value descriptor;
    int64_t step = 0;
    bool transposed = false;
  };
  DataType dtype;
  int64_t row_blocks, columns, steps;
  Operand left, right;
  // What the left one grows by for the next 64 rows.
  int64_t row_block_step;
};

// Starts to add the product to the sums, and makes it a group. The sums are those of a thread, in
// f32, for each 64 rows: as of mma.m16n8 for each 8 columns, in warp w of the warpgroup of rows
// 16 w to 16 w + 15. What is returned may be given to the next product, or to
// FinishWarpgroupProducts. What threads wrote to shared memory has passed FenceForWarpgroups, and
// then a barrier. All threads of the warpgroup take part.
std::vector<mlir::Value> StartWarpgroupProduct(KernelBuilder& kernel,
                                               const WarpgroupProduct& product,
                                               const std::vector<mlir::Value>& sums);
// Waits until at most so many groups of the warpgroup are under way: those before them read shared
// memory no more.
void WaitForWarpgroupProducts(KernelBuilder& kernel, int64_t groups);
// Waits for all groups, and returns the sums, which are values like others then.
std::vector<mlir::Value> FinishWarpgroupProducts(KernelBuilder& kernel,
                                                 const std::vector<mlir::Value>& sums);
// What the thread wrote to shared memory, or waited for, is what asynchronous operations see there.
void FenceForWarpgroups(KernelBuilder& kernel);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_WARPGROUP_H_
