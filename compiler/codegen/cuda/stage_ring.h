// A ring of stages in a block's shared memory that one thread lets asynchronous copies fill (TMA),
// and several warps read. Each stage has two mbarriers: "full" counts the bytes that come, "empty"
// the warps that are done with them. Of compute capability 9.0.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_STAGE_RING_H_
#define WEFT_COMPILER_CODEGEN_CUDA_STAGE_RING_H_

#include <cstdint>

#include "compiler/codegen/kernel_builder.h"

namespace weft {

class StageRing {
 public:
  // `barriers`: BytesFor(stages) of shared memory, aligned to 8. So many warps read each stage.
  StageRing(KernelBuilder& kernel, mlir::Value barriers, int64_t stages, int64_t readers)
      : kb_(kernel), barriers_(barriers), stages_(stages), readers_(readers) {}
  static constexpr int64_t BytesFor(int64_t stages) { return 2 * kBarrierBytes * stages; }

  // One thread of the block makes the mbarriers; then a barrier of the block has to be passed.
  void Make(mlir::Value thread);

  // The stage that a thread is at (i64), and how often the ring came round before, modulo 2 (i64).
  // Those who fill and those who read go through the same sequence, from the start on.
  struct Position {
    mlir::Value stage, round;
  };
  Position Start() { return {kb_.I64(0), kb_.I64(0)}; }
  Position Next(const Position& at);
  // The stage before this one.
  mlir::Value Before(const Position& at);

  // Of the thread that fills: waits until all warps are done with what the stage held, and says how
  // many bytes come now. The copies are to count at the mbarrier that is returned.
  mlir::Value BeginToFill(const Position& at, int64_t bytes);
  // Of all threads of warps that read: waits until the bytes are there.
  void WaitUntilFull(const Position& at);
  // Of one thread of each such warp, which is done with the stage.
  void Release(mlir::Value stage);

 private:
  static constexpr int64_t kBarrierBytes = 8;

  mlir::Value Full(mlir::Value stage) { return BarrierAt(stage); }
  mlir::Value Empty(mlir::Value stage) { return BarrierAt(kb_.Add(stage, stages_)); }
  mlir::Value BarrierAt(mlir::Value number);
  // Until the phase of this parity (i64) is over.
  void Wait(mlir::Value barrier, mlir::Value parity);

  KernelBuilder& kb_;
  mlir::Value barriers_;
  int64_t stages_, readers_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_STAGE_RING_H_
