// One operand of a block's tile, with elements of 2 bytes, on its way to the tensor cores: copied
// asynchronously from global memory to shared memory, step by step of depth, and loaded from there
// in the fragments that matrix instructions take.
//
// In shared memory a stage is a matrix of chunks, 16 bytes each. Its rows are the operand's own
// (A's rows, B's columns) where steps of depth are neighbours in memory, and steps of depth
// otherwise. Within a row, chunks are exchanged so that both the copies, which go along rows, and
// the loads, which take one chunk of each of eight rows, touch every bank once. For warpgroups,
// rows have 128 bytes, as their matrices do ("128-byte swizzle"): longer ones are cut into panels,
// each with all the rows.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_STAGED_OPERAND_H_
#define WEFT_COMPILER_CODEGEN_CUDA_STAGED_OPERAND_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "compiler/codegen/cuda/contraction_tiles.h"
#include "compiler/codegen/cuda/tensor_tiling.h"

namespace weft {

class StagedOperand {
 public:
  using Values = CodeBuilder::Values;

  // `thread` is the thread's number in the block.
  static StagedOperand Left(const ContractionTiles& tiles, const ContractionTiles::Tile& tile,
                            const TensorTiling& tiling, mlir::Value thread);
  static StagedOperand Right(const ContractionTiles& tiles, const ContractionTiles::Tile& tile,
                             const TensorTiling& tiling, mlir::Value thread);

  // Begins to copy the tile's part of the steps of depth from `step` on, a multiple of
  // TensorTiling::depth() below the depth, to a stage; zeros stand for steps past the depth. All
  // threads of the block take part. It is there when the thread that copies has waited for its
  // group of asynchronous copies and a barrier was passed.
  void Bring(mlir::Value step, mlir::Value stage) const;

  // Says which fragments this thread's warp takes: those of `size` of the tile's rows or columns,
  // from `first` on, both multiples of 16.
  void SetWarp(mlir::Value first, int64_t size);
  // For 16 steps of depth, from 16 * `half` on: four registers (i32) for each 16 rows or columns.
  // Those of Left are one operand of mma.m16n8k16, those of Right two, for 8 columns each.
  std::vector<Values> LoadFragments(mlir::Value stage, int64_t half) const;

  // For warpgroups: the descriptor (i64) of a stage's matrix of the tile's rows or columns from
  // `first` on, a multiple of 64, and 16 steps of depth; what it grows by for the next 64 rows or
  // columns, and for the next 16 steps; and whether neighbours in a row are not steps of depth.
  mlir::Value Descriptor(mlir::Value stage, mlir::Value first) const;
  static constexpr int64_t kDescriptorOfRows = 64 * 128 / 16;
  int64_t descriptor_of_depth() const;
  bool transposed() const { return !source_.along_depth; }

 private:
  // Elements in a chunk.
  static constexpr int64_t kChunk = 8;
  static constexpr int64_t kChunkBytes = 16;
  // Of a row in a panel; and what descriptors count addresses in.
  static constexpr int64_t kPanelBytes = 128, kDescriptorUnit = 16;

  // Where the operand is in global memory. "Own" are rows of A, or columns of B.
  struct Source {
    mlir::Value pointer;
    mlir::Value first, count;  // own: the tile's first, and how many there are
    bool whole;                // the operand ends where a tile does
    std::function<mlir::Value(mlir::Value)> own_offset, depth_offset;
    // Whether steps of depth are neighbours, rather than own.
    bool along_depth;
    // So many neighbours, from a multiple of that on, lie together and are all inside or all
    // outside: a power of two.
    int64_t run;
    // Where not null, whether runs of kChunk are so, and aligned; known when the kernel runs.
    mlir::Value wide;
  };
  // What Bring knows of runs of a length before it knows the step.
  struct Path {
    int64_t run = 1;
    // Along depth: of each chunk that the thread brings. Otherwise: of each run of its chunks.
    Values own_offsets;
  };
  struct Piece {
    mlir::Value offset;  // in global memory
    mlir::Value inside;  // null: always
  };

  StagedOperand(const ContractionTiles& tiles, const TensorTiling& tiling, mlir::Value thread,
                bool is_left, int64_t size, Source source);

  static int64_t RunIn(mlir::Value extent);
  // The chunk's place in its row, and in the stage, in chunks.
  mlir::Value Swizzled(mlir::Value row, mlir::Value chunk) const;
  mlir::Value PlaceOf(mlir::Value row, mlir::Value chunk) const;
  int64_t rows_between() const { return threads_ / row_chunks_; }  // a thread's chunks
  Path MakePath(int64_t run) const;
  // Own and depth of an element of the thread's chunk `number`, the depth counted from the step's.
  mlir::Value OwnAt(int64_t number, int64_t element) const;
  mlir::Value DepthAt(int64_t number, int64_t element) const;
  Piece PieceAt(const Path& path, mlir::Value step, int64_t number, int64_t element,
                bool clamped) const;
  void Bring(const Path& path, mlir::Value step, mlir::Value stage) const;
  mlir::Value SharedAt(mlir::Value stage, int64_t number) const;
  void BringByElements(const Path& path, mlir::Value step, mlir::Value stage) const;
  void BringByElements(const Path& path, mlir::Value step, mlir::Value stage, int64_t first,
                       int64_t end) const;

  const ContractionTiles* tiles_;
  KernelBuilder* kb_;
  mlir::Value thread_;
  bool is_left_;
  int64_t size_, threads_, depth_;
  bool panels_;
  Source source_;
  mlir::Value shared_;
  int64_t row_chunks_;  // chunks of a row of shared memory
  int64_t per_thread_;  // chunks that a thread brings
  int64_t stage_bytes_;
  mlir::Value row_, chunk_;    // of the thread's first chunk
  mlir::Value shared_offset_;  // of it, in bytes
  Path narrow_, wide_;
  // Of the warp's fragments: offsets in a stage (bytes) for each 16 own and each half, as far as
  // they differ by more than a constant.
  int64_t warp_size_ = 0;
  Values fragment_offsets_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_STAGED_OPERAND_H_
