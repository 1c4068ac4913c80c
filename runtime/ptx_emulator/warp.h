#ifndef WEFT_RUNTIME_PTX_EMULATOR_WARP_H_
#define WEFT_RUNTIME_PTX_EMULATOR_WARP_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/ptx_emulator/finding.h"
#include "runtime/ptx_emulator/program.h"
#include "runtime/ptx_emulator/wgmma.h"

namespace weft::ptx {

class Block;

// Lanes of a warp that are at the same instruction. Where lanes part, their split becomes the
// parent of two, waits at the point where the paths meet, and goes on with those that arrive.
struct Split {
  enum class State : uint8_t { kFree, kReady, kWaitsForChildren, kBeforeBarrier, kAtBarrier };
  State state = State::kFree;
  uint32_t mask = 0;
  int pc = 0;
  int reconvergence = -1;  // where this split joins its parent; -1: never
  int parent = -1;
  int children = 0;
};

class Warp {
 public:
  Warp(Block& block, const Kernel& kernel, int index);

  // Makes the warp one of the block that is about to run: registers undefined, special registers
  // set, lanes below the block's number of threads at the first instruction.
  void Reset();

  // Runs until every split waits or has ended, or for about `steps` instructions. Returns how many
  // ran.
  int64_t Run(int64_t steps);

  bool finished() const { return live_ == 0; }
  bool ready() const;
  uint32_t live() const { return live_; }
  int index() const { return index_; }
  Block& block() { return block_; }
  const Kernel& kernel() const { return kernel_; }

  template <class T>
  T* Lanes(const Ref& ref) {
    return reinterpret_cast<T*>(bases_[ref.constant] + ref.offset);
  }
  uint32_t Defined(const Ref& ref) const { return defined_[ref.id]; }
  void SetDefined(const Ref& ref, uint32_t defined, uint32_t mask) {
    defined_[ref.id] = (defined_[ref.id] & ~mask) | (defined & mask);
  }
  WarpgroupProducts& products() { return products_; }
  // The carry flag, one bit per lane.
  uint32_t& carry() { return carry_; }
  uint32_t& Predicate(const Ref& ref) { return *Lanes<uint32_t>(ref); }
  // Writes a value to the lanes of the mask.
  template <class T>
  void Store(const Ref& ref, const T* values, uint32_t mask) {
    T* lanes = Lanes<T>(ref);
    if (mask == kAllLanes) {
      for (int l = 0; l < kWarpSize; ++l) lanes[l] = values[l];
    } else {
      for (int l = 0; l < kWarpSize; ++l) lanes[l] = mask >> l & 1 ? values[l] : lanes[l];
    }
  }
  void StorePredicate(const Ref& ref, uint32_t values, uint32_t mask) {
    uint32_t& lanes = Predicate(ref);
    lanes = (lanes & ~mask) | (values & mask);
  }
  // The lanes in which all sources are defined.
  uint32_t SourcesDefined(const Instruction& instruction) const {
    uint32_t defined = kAllLanes;
    for (int i = 0; i < instruction.source_count; ++i)
      defined &= defined_[instruction.sources[i].id];
    return defined;
  }
  void DefineResults(const Instruction& instruction, uint32_t defined, uint32_t mask) {
    for (int i = 0; i < instruction.result_count; ++i)
      SetDefined(instruction.results[i], defined, mask);
  }
  // Reports lanes of the mask where the operand is undefined; `what` names its use ("address").
  void RequireDefined(const Ref& ref, uint32_t mask, std::string_view what) {
    if ((mask & ~defined_[ref.id]) != 0) ReportUndefined(mask & ~defined_[ref.id], what);
  }

  // The address that a lane of a memory instruction names; its first source is the base.
  uint64_t AddressOf(const Instruction& instruction, const Ref& base, int lane) {
    const uint64_t start =
        instruction.short_address ? Lanes<uint32_t>(base)[lane] : Lanes<uint64_t>(base)[lane];
    return start + static_cast<uint64_t>(instruction.offset);
  }

  // Records a finding at the current instruction. `lane` -1: the first active one.
  void Report(FindingKind kind, int lane, std::string message, uint64_t address = 0,
              std::string allocation = {});
  // The instruction gave up its turn: it waits for another warp.
  void Yield() { yield_ = true; }
  bool yielded() const { return yield_; }
  const Instruction& current() const { return *current_; }
  // For findings about an instruction at which the warp waits.
  void SetCurrent(const Instruction* instruction, uint32_t mask) {
    current_ = instruction;
    active_ = mask;
  }
  uint32_t active() const { return active_; }

  // The barrier at which a split waits has opened: its lanes go on.
  void Release(int split);
  const std::vector<Split>& splits() const { return splits_; }

  // Local memory and which of its bytes were written: kernel.local_end for each lane.
  std::byte* local(int lane) { return local_.data() + size_t(lane) * kernel_.local_end; }
  uint8_t* local_written(int lane) {
    return local_written_.data() + size_t(lane) * kernel_.local_end;
  }

 private:
  void RunSplit(int index, int64_t* steps);
  // Each returns false when the split does not go on at once.
  bool Branch(int index, const Instruction& instruction, uint32_t taken);
  bool BranchTable(int index, const Instruction& instruction, uint32_t mask);
  bool Exit(int index, uint32_t mask);
  void Barrier(int index, const Instruction& instruction, uint32_t mask);
  void ReportMissing(uint32_t mask);
  void ArriveTogether();
  void Diverge(int index, const std::vector<std::pair<int, uint32_t>>& paths, int reconvergence);
  bool JoinAtReconvergence(int index);
  void ChildGone(int parent);
  int NewSplit();
  void ReportUndefined(uint32_t lanes, std::string_view what);
  void FillSpecials();

  Block& block_;
  const Kernel& kernel_;
  int index_;
  uint32_t live_ = 0;
  uint32_t active_ = 0;
  void CheckProducts(const Instruction& instruction);

  WarpgroupProducts products_;
  uint32_t carry_ = 0;
  bool yield_ = false;
  const Instruction* current_ = nullptr;
  std::byte* bases_[2];
  std::vector<uint64_t> registers_;
  std::vector<uint32_t> defined_;
  std::vector<Split> splits_;
  int next_split_ = 0;
  std::vector<std::byte> local_;
  std::vector<uint8_t> local_written_;
};

// The lanes of a mask, from low to high: for (int lane : LanesOf(mask)).
class LanesOf {
 public:
  explicit LanesOf(uint32_t mask) : mask_(mask) {}
  struct Iterator {
    uint32_t rest;
    int operator*() const { return std::countr_zero(rest); }
    Iterator& operator++() {
      rest &= rest - 1;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return rest != other.rest; }
  };
  Iterator begin() const { return {mask_}; }
  Iterator end() const { return {0}; }

 private:
  uint32_t mask_;
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_WARP_H_
