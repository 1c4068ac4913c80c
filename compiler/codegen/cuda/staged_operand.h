// One operand of a block's tile, with elements of 2 bytes or of f32, on its way to the tensor
// cores: copied asynchronously from global memory to shared memory, step by step of depth, and
// loaded from there in the fragments that matrix instructions take.
//
// In shared memory a stage is a matrix of chunks, 16 bytes each. Its rows are the operand's own
// (A's rows, B's columns) where steps of depth are neighbours in memory, and steps of depth
// otherwise; of f32 they are always the operand's own, as no matrix instruction turns elements of 4
// bytes: copies of one element each do, where they have to. Within a row, chunks are exchanged so
// that both the copies, which go along rows, and the loads, which take one chunk of each of eight
// rows, touch every bank once. For warpgroups, rows have 128 bytes, as their matrices do ("128-byte
// swizzle"): longer ones are cut into panels, each with all the rows.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_STAGED_OPERAND_H_
#define WEFT_COMPILER_CODEGEN_CUDA_STAGED_OPERAND_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "compiler/codegen/cuda/contraction_tiles.h"
#include "compiler/codegen/cuda/tensor_tiling.h"
#include "compiler/codegen/cuda/warpgroup.h"

namespace weft {

// Rounds four f32 in shared memory, at a multiple of 16 bytes, to tf32, to nearest.
void RoundChunkToTf32(KernelBuilder& kernel, mlir::Value address);

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
  // For part number `part` of a step's depth, 32 bytes: four registers (i32) for each 16 rows or
  // columns. Those of Left are one operand of mma.m16n8k16, or of m16n8k8 with f32 rounded to tf32;
  // those of Right two, for 8 columns each.
  std::vector<Values> LoadFragments(mlir::Value stage, int64_t part) const;

  // Of f32, for warpgroups: rounds what this thread brought to a stage to tf32, where it is. The
  // thread has waited for its copies, and a barrier comes before others read.
  void RoundBrought(mlir::Value stage) const;
  // For warpgroups.
  WarpgroupMatrix matrix() const;

 private:
  static constexpr int64_t kChunkBytes = 16;
  // Chunks that are as wide as all banks; rows of a matrix that one instruction loads, a chunk
  // each.
  static constexpr int64_t kLine = 8, kMatrix = 8;

  // Where the operand is in global memory. "Own" are rows of A, or columns of B.
  struct Source {
    mlir::Value pointer;
    mlir::Value first, count;  // own: the tile's first, and how many there are
    bool whole;                // the operand ends where a tile does
    mlir::Value steps;         // of depth
    std::function<mlir::Value(mlir::Value)> own_offset, depth_offset;
    // Whether steps of depth are neighbours, rather than own.
    bool along_depth;
    // So many neighbours, from a multiple of that on, lie together and are all inside or all
    // outside: a power of two.
    int64_t run;
    // Where not null, whether runs of a chunk are so, and aligned; known when the kernel runs.
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

  static int64_t RunIn(mlir::Value extent, int64_t most);
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
  // Where copies turn: calls `function` for each element that the thread brings, with its row's
  // number among the thread's, its depth, counted from the step's, and its address.
  void ForTurned(mlir::Value stage,
                 const std::function<void(int64_t row, mlir::Value depth, mlir::Value address)>&
                     function) const;
  void BringTurned(mlir::Value step, mlir::Value stage) const;
  // Begins to copy so many bytes, 4, 8 or 16; zeros where the piece is not inside.
  void Copy(mlir::Value to, const Piece& piece, int64_t bytes) const;
  void BringByElements(const Path& path, mlir::Value step, mlir::Value stage) const;
  void BringByElements(const Path& path, mlir::Value step, mlir::Value stage, int64_t first,
                       int64_t end) const;

  KernelBuilder* kb_;
  mlir::Value thread_;
  bool is_left_;
  int64_t size_, threads_, depth_, element_bytes_;
  int64_t chunk_;  // elements
  bool panels_;
  Source source_;
  // Rows of shared memory; and whether copies have to turn the operand for that.
  bool rows_are_own_, turned_;
  mlir::Value shared_;
  int64_t row_chunks_;  // chunks of a row of shared memory
  int64_t per_thread_;  // chunks that a thread brings
  int64_t stage_bytes_;
  mlir::Value row_, in_row_;   // of the thread's first chunk: its row, and its number there
  mlir::Value shared_offset_;  // of it, in bytes
  Path narrow_, wide_;
  // Where copies turn: of the thread's rows, the offsets in global memory.
  Values turned_offsets_;
  // Of the warp's fragments: offsets in a stage (bytes) for each 16 own and each part, as far as
  // they differ by more than a constant.
  int64_t warp_size_ = 0;
  Values fragment_offsets_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_STAGED_OPERAND_H_
