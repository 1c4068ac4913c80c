#ifndef WEFT_RUNTIME_PTX_EMULATOR_BLOCK_H_
#define WEFT_RUNTIME_PTX_EMULATOR_BLOCK_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/ptx_emulator/global_traffic.h"
#include "runtime/ptx_emulator/launch_state.h"
#include "runtime/ptx_emulator/shared_memory.h"
#include "runtime/ptx_emulator/warp.h"
#include "runtime/ptx_emulator/wgmma.h"

namespace weft::ptx {

class AsyncCopies;

// Barriers 0 to 15 are the block's; this one is that of its cluster, which is the block alone.
inline constexpr uint32_t kClusterBarrier = 16;

// Runs blocks, one after the other: the warps of a block take turns. One Block per host thread; Run
// may be called for many positions.
class Block {
 public:
  explicit Block(LaunchState& launch);
  ~Block();

  // What registers and local memory of a block take.
  static uint64_t HostBytes(const Kernel& kernel, const Dim3& block);

  // `number`: its place in the order of blocks.
  void Run(Dim3 position, uint64_t number);
  // What the last run found.
  std::vector<Finding> TakeFindings() { return std::exchange(findings_, {}); }

  // Keeps the first finding of each kind and line. Some kinds end the launch.
  void Report(Finding finding);
  // Ends this block, and those after it are not run.
  void EndLaunch();
  bool ended() const { return ended_ || number_ >= launch_.end.load(std::memory_order_relaxed); }

  LaunchState& launch() { return launch_; }
  const Dim3& position() const { return position_; }
  uint32_t thread_count() const { return thread_count_; }
  Dim3 ThreadAt(int warp, int lane) const;
  SharedMemory& shared() { return *shared_; }
  HappensBefore& order() { return order_; }
  AsyncCopies& async() { return *async_; }
  WarpgroupAgreement& agreement(int warpgroup) {
    return agreements_[static_cast<size_t>(warpgroup)];
  }
  // Instructions that the warps of this block ran, and passes over the banks of shared memory that
  // their accesses lost to conflicts.
  int64_t steps() const { return steps_; }
  int64_t bank_conflicts() const { return bank_conflicts_; }
  const GlobalTraffic& global_traffic() const { return global_traffic_; }

  // A split of `warp` arrives at the barrier of `instruction` with the lanes of `mask`; it is
  // released when all are there.
  void ArriveAtBarrier(Warp& warp, int split, const Instruction& instruction, uint32_t mask);

  SharedMemory::Accessor Accessor(const Warp& warp, int lane) const;
  // A race that a check of shared memory found, if any.
  void ReportRace(Warp& warp, int lane, uint32_t address, std::string race);

  // The accesses of threads, checked. `address` is of the given space; a generic one may lie in
  // any. Load returns false, and zeros, where the bytes cannot be read; Store drops what cannot be
  // written.
  bool Load(Warp& warp, int lane, Space space, uint64_t address, int bytes, void* value,
            bool synchronizing = false);
  void Store(Warp& warp, int lane, Space space, uint64_t address, int bytes, const void* value,
             bool defined, bool synchronizing = false);
  // The bytes of an atomic operation, null where it cannot be done. `acquire_release`: it orders
  // the accesses around it.
  std::byte* Atomic(Warp& warp, int lane, Space space, uint64_t address, int bytes);

  // Counts the bank conflicts of one access by the lanes of `mask`, as far as it is to shared
  // memory.
  void CountConflicts(Space space, const uint64_t (&addresses)[kWarpSize], uint32_t mask,
                      int bytes);

  // Counts the sectors of one load or store by the lanes of `mask`, as far as it is of global
  // memory.
  void CountTraffic(Space space, const uint64_t (&addresses)[kWarpSize], uint32_t mask, int bytes);

  // Finds a generic address' space and its address there.
  static std::pair<Space, uint64_t> Classify(Space space, uint64_t address);
  // Checks bounds, alignment, freed memory, and regions; reports and returns null where the access
  // is wrong.
  struct GlobalBytes {
    std::byte* data = nullptr;
    uint8_t* written = nullptr;
  };
  GlobalBytes Global(Warp& warp, int lane, uint64_t address, uint64_t bytes, bool write);
  // Keeps what Global returned last: for operations that go on after their instruction, when the
  // memory may have been freed.
  std::shared_ptr<Allocation> Holder(const Warp& warp) const;
  bool CheckAlignment(Warp& warp, int lane, Space space, uint64_t address, uint64_t bytes);
  // The same for shared memory; false where it is wrong.
  bool CheckShared(Warp& warp, int lane, uint64_t address, uint64_t bytes, uint64_t alignment,
                   bool write);

 private:
  struct Barrier {
    uint32_t arrived = 0;   // threads
    uint32_t expected = 0;  // 0: nobody arrived yet
    BarrierOperation operation = BarrierOperation::kSync;
    uint32_t count = 0;  // of true predicates
    bool all = true;
    bool any = false;
    VectorClock clock{};
    struct Waiting {
      int warp;
      int split;
      const Instruction* instruction;
      uint32_t mask;
    };
    std::vector<Waiting> waiting;
  };

  void Open(Barrier& barrier);
  void ReportDeadlock();
  void CheckWarpgroups();
  bool CheckRegions(Warp& warp, int lane, uint64_t address, uint64_t bytes, bool write);
  struct LocalBytes {
    std::byte* data = nullptr;
    uint8_t* written = nullptr;
  };
  LocalBytes Local(Warp& warp, int lane, uint64_t address, uint64_t bytes);
  const std::byte* ParameterBytes(Warp& warp, int lane, uint64_t address, uint64_t bytes);

  LaunchState& launch_;
  Dim3 position_;
  uint64_t number_ = 0;
  bool ended_ = false;
  std::vector<Finding> findings_;
  uint32_t thread_count_ = 0;
  HappensBefore order_;
  std::unique_ptr<SharedMemory> shared_;
  std::unique_ptr<AsyncCopies> async_;
  std::vector<std::unique_ptr<Warp>> warps_;
  std::array<Barrier, kClusterBarrier + 1> barriers_;
  std::array<WarpgroupAgreement, kMaxWarps / WarpgroupAgreement::kWarps> agreements_;
  // By instruction: the allocation it touched last.
  std::vector<std::shared_ptr<Allocation>> hints_;
  std::vector<uint32_t> region_hints_;
  int64_t steps_ = 0;
  int64_t bank_conflicts_ = 0;
  GlobalTraffic global_traffic_;
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_BLOCK_H_
