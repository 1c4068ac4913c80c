#ifndef WEFT_RUNTIME_PTX_EMULATOR_ASYNC_H_
#define WEFT_RUNTIME_PTX_EMULATOR_ASYNC_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "runtime/ptx_emulator/block.h"

namespace weft::ptx {

// The asynchronous operations of a block. What they write arrives as late as PTX allows: when
// somebody waits for it. Until then the bytes are marked, and whoever touches them is found.
class AsyncCopies {
 public:
  // What all that is under way may take of the host's memory; shared memory is some hundred
  // kilobytes, so that only a kernel that does not wait gets there.
  static constexpr uint64_t kMaxBytes = uint64_t{64} << 20;

  explicit AsyncCopies(Block& block) : block_(block) {}

  void Reset();
  // The block ended: what is under way completes.
  void Finish();
  // Completes the operation that is under way for longest. False if there is none.
  bool CompleteOldest();

  // cp.async: copies that a thread issues one by one and waits for in groups.
  struct Copy {
    uint32_t shared = 0;
    int bytes = 0;
    int source_bytes = 0;  // the rest becomes zero
    const std::byte* source = nullptr;
    std::shared_ptr<Allocation> holder = nullptr;  // of the source
  };
  void Issue(Warp& warp, int lane, Copy copy);
  void Commit(Warp& warp, int lane);
  // Until at most `groups` of the thread are under way; -1: also those of no group yet.
  void Wait(Warp& warp, int lane, int groups);

  // mbarriers. All report misuse and do nothing where there is no mbarrier.
  struct Mbarrier {
    uint32_t expected = 0;  // arrivals of a phase
    uint32_t pending = 0;
    int64_t transactions = 0;  // bytes that are still to come
    uint64_t phase = 0;
    VectorClock clock{};  // of all that arrived
    VectorClock over{};   // of what arrived up to the end of the last phase that is over
    int actor = 0;        // of copies that count there
  };
  void Init(Warp& warp, int lane, uint32_t address, uint32_t count);
  void Invalidate(Warp& warp, int lane, uint32_t address);
  Mbarrier* Find(Warp& warp, int lane, uint32_t address);
  // Arrives `count` times, after `transactions` more bytes are expected; `drop` lowers what later
  // phases expect. Returns the phase's token.
  uint64_t Arrive(Warp& warp, int lane, uint32_t address, uint32_t count, int64_t transactions,
                  bool drop);
  void ExpectTransactions(Warp& warp, int lane, uint32_t address, int64_t bytes);
  // Whether the phase with the token (or the parity) is over.
  bool TestWait(Warp& warp, int lane, uint32_t address, uint64_t token);
  bool TestWaitParity(Warp& warp, int lane, uint32_t address, uint32_t parity);
  // Lanes of the warp are at a fence for the mbarriers that they made.
  void FenceInits(const Warp& warp, uint32_t lanes);
  // By whom those who wait at the mbarrier take what a copy of the instruction of this line
  // brought, which is about to count there. Where it is gone, nobody can wait.
  SharedMemory::Arrival BeginArrival(uint32_t address, bool is_bulk, int line);
  // Bytes of an asynchronous operation arrived.
  void CompleteTransactions(uint32_t address, int64_t bytes);
  // An arrival of what is no thread.
  void ArriveAsync(uint32_t address);

  // An arrival at the mbarrier once the copies of the thread so far are there.
  void ArriveWhenCopied(Warp& warp, int lane, uint32_t address);

  // Counts an operation that holds `bytes` besides itself and is about to be issued; false, with a
  // finding, if too much is under way: then it is not to be.
  bool Begin(Warp& warp, int lane, uint64_t bytes);
  // An operation that was begun, and completes when others wait.
  void Enqueue(uint64_t bytes, std::function<void()> complete) {
    queue_.push_back({bytes, std::move(complete)});
  }

  // Bulk operations that a thread waits for in groups, for instance stores of tensors; each was
  // begun with its bytes. `read_done` runs when shared memory is no longer read, `done` when the
  // result is there.
  struct Bulk {
    uint64_t bytes = 0;
    std::function<void()> read_done;
    std::function<void()> done;
    bool was_read = false;
  };
  void IssueBulk(const Warp& warp, int lane, Bulk bulk);
  void CommitBulk(Warp& warp, int lane);
  void WaitBulk(const Warp& warp, int lane, int groups, bool read_only);

 private:
  struct Thread {
    std::vector<Copy> open;
    std::deque<std::vector<Copy>> groups;
    std::vector<Bulk> open_bulk;
    std::deque<std::vector<Bulk>> bulk_groups;
  };
  Thread& ThreadOf(const Warp& warp, int lane) { return threads_[warp.index() * kWarpSize + lane]; }
  // What an operation or a group takes without what it holds.
  static constexpr uint64_t kRecordBytes = 256;
  struct Queued {
    uint64_t bytes;
    std::function<void()> complete;
  };
  void End(uint64_t bytes) { under_way_ -= kRecordBytes + bytes; }
  void Complete(const Copy& copy);
  void CompleteBulk(std::vector<Bulk>& group, bool read_only);
  void AdvancePhase(Mbarrier& barrier);

  Block& block_;
  std::map<int, Thread> threads_;
  std::map<uint32_t, Mbarrier> mbarriers_;
  int mbarriers_made_ = 0;  // up to the number of places
  std::deque<Queued> queue_;
  uint64_t under_way_ = 0;  // bytes
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_ASYNC_H_
