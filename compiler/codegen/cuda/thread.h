// Threads of a GPU kernel: where one is, and how several work together.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_THREAD_H_
#define WEFT_COMPILER_CODEGEN_CUDA_THREAD_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "compiler/codegen/kernel_builder.h"

namespace weft {

inline constexpr int kWarp = 32;
// Threads of a block in kernels whose threads do not work together, or in warps.
inline constexpr int kThreadsPerBlock = 256;
// Of shared memory, what code may declare for a block.
inline constexpr int64_t kMaxSharedBytes = 48 << 10;

// Number of the thread in its block, and of the block in the grid; how many blocks that has (i64).
mlir::Value ThreadInBlock(KernelBuilder& kernel);
mlir::Value BlockInGrid(KernelBuilder& kernel);
mlir::Value BlocksInGrid(KernelBuilder& kernel);
// Number of the thread in a grid of blocks of kThreadsPerBlock threads.
mlir::Value GlobalThread(KernelBuilder& kernel);
// States the number of threads of a block, in the code as well: registers are allotted for it.
void SetBlockThreads(KernelBuilder& kernel, KernelSpec& spec, int threads);

// Says, after SetBlockThreads, that a multiprocessor need hold no more than one block: without
// that, some assemblers ignore that threads take registers from others.
void ExpectOneBlock(KernelBuilder& kernel);

// All threads of the block wait for one another; each sees what the others wrote before.
void Barrier(KernelBuilder& kernel);
// The same of so many of its threads alone, whole warps and always the same.
void BarrierOfThreads(KernelBuilder& kernel, int64_t threads);
// `x` (a scalar, or a vector) of the thread of the warp whose number differs in the bits of
// `lane_bits`. All threads of the warp take part.
mlir::Value ShuffleXor(KernelBuilder& kernel, mlir::Value x, int lane_bits);
// A scalar `x` of the thread `distance` before this one in the warp; its own where there is none.
// Of the warp's last thread.
mlir::Value ShuffleUp(KernelBuilder& kernel, mlir::Value x, int distance);
mlir::Value OfLastInWarp(KernelBuilder& kernel, mlir::Value x);
// For each thread of the warp, whether the condition holds: a bit each of an i32.
mlir::Value Ballot(KernelBuilder& kernel, mlir::Value condition);

// Values of one kind for each of some threads in a block's shared memory: an array for each of
// `like`.
class SharedArrays {
 public:
  SharedArrays(KernelBuilder& kernel, const std::vector<mlir::Value>& like, int64_t size);
  void Store(const std::vector<mlir::Value>& values, mlir::Value at);
  std::vector<mlir::Value> Load(mlir::Value at);

 private:
  KernelBuilder& kernel_;
  std::vector<mlir::Type> types_;  // in registers
  std::vector<mlir::Value> arrays_;
};

// Threads that share a unit of work: a power of two of neighbours in one warp, or whole warps that
// are a block.
class Team {
 public:
  Team(KernelBuilder& kernel, int64_t size);

  int64_t size() const { return size_; }
  // Threads of a block, and units that they work on.
  int block_threads() const;
  int64_t per_block() const { return block_threads() / size_; }
  // Of the thread in its team, and of its team in the grid.
  mlir::Value rank() { return rank_; }
  mlir::Value number() { return number_; }

  using Values = std::vector<mlir::Value>;
  // What all threads' values come to, for each thread, in an order that depends on the size alone.
  // `combine` must be commutative. All threads of the block take part.
  Values Reduce(Values values, const std::function<Values(const Values&, const Values&)>& combine);

 private:
  KernelBuilder& kernel_;
  int64_t size_;
  mlir::Value rank_, number_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_THREAD_H_
