#include "runtime/ptx_emulator/async.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "runtime/ptx_emulator/racing_bytes.h"
#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {

void AsyncCopies::Reset() {
  threads_.clear();
  mbarriers_.clear();
  mbarriers_made_ = 0;
  queue_.clear();
  under_way_ = 0;
}

bool AsyncCopies::Begin(Warp& warp, int lane, uint64_t bytes) {
  if (under_way_ + kRecordBytes + bytes > kMaxBytes) {
    warp.Report(FindingKind::kMisuse, lane,
                Cat("asynchronous operations of the block that nobody waited for take ", under_way_,
                    " bytes, and at most ", kMaxBytes, " are kept"));
    block_.EndLaunch();
    return false;
  }
  under_way_ += kRecordBytes + bytes;
  return true;
}

void AsyncCopies::Finish() {
  while (CompleteOldest()) {
  }
  for (auto& [index, thread] : threads_) {
    for (auto& group : thread.bulk_groups) CompleteBulk(group, false);
    CompleteBulk(thread.open_bulk, false);
  }
}

bool AsyncCopies::CompleteOldest() {
  if (queue_.empty()) return false;
  const Queued oldest = std::move(queue_.front());
  queue_.pop_front();
  oldest.complete();
  End(oldest.bytes);
  return true;
}

void AsyncCopies::Issue(Warp& warp, int lane, Copy copy) {
  if (!Begin(warp, lane, 0)) return;
  SharedMemory& shared = block_.shared();
  block_.ReportRace(
      warp, lane, copy.shared,
      shared.Write(block_.order(), block_.Accessor(warp, lane), copy.shared, copy.bytes, nullptr));
  shared.BeginAsync(copy.shared, copy.bytes, true);
  ThreadOf(warp, lane).open.push_back(std::move(copy));
}

void AsyncCopies::Commit(Warp& warp, int lane) {
  if (!Begin(warp, lane, 0)) return;
  Thread& thread = ThreadOf(warp, lane);
  thread.groups.push_back(std::exchange(thread.open, {}));
}

void AsyncCopies::Complete(const Copy& copy) {
  End(0);
  SharedMemory& shared = block_.shared();
  shared.EndAsync(copy.shared, copy.bytes, true);
  std::byte* to = shared.data(copy.shared, copy.bytes);
  if (copy.source_bytes > 0) LoadRacing(to, copy.source, copy.source_bytes);
  std::memset(to + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
  shared.SetWritten(copy.shared, copy.bytes, true);
}

void AsyncCopies::Wait(Warp& warp, int lane, int groups) {
  Thread& thread = ThreadOf(warp, lane);
  SharedMemory& shared = block_.shared();
  const auto complete = [&](const std::vector<Copy>& copies) {
    for (const Copy& copy : copies) {
      Complete(copy);
      // To others the bytes are written here, by the thread that waited.
      shared.Write(block_.order(), block_.Accessor(warp, lane), copy.shared, copy.bytes, nullptr);
    }
  };
  while (static_cast<int>(thread.groups.size()) > (groups < 0 ? 0 : groups)) {
    const std::vector<Copy> group = std::move(thread.groups.front());
    thread.groups.pop_front();
    complete(group);
    End(0);
  }
  if (groups < 0) complete(std::exchange(thread.open, {}));
}

void AsyncCopies::Init(Warp& warp, int lane, uint32_t address, uint32_t count) {
  if (!block_.CheckShared(warp, lane, address, 8, 8, true)) return;
  if (count == 0 || count >= 1u << 20) {
    warp.Report(FindingKind::kMisuse, lane,
                Cat("an mbarrier for ", count, " arrivals: expected 1 to 1048575"), address);
    return;
  }
  SharedMemory& shared = block_.shared();
  block_.ReportRace(warp, lane, address,
                    shared.Write(block_.order(), block_.Accessor(warp, lane), address, 8, nullptr));
  shared.SetWritten(address, 8, true);
  Mbarrier barrier;
  barrier.expected = barrier.pending = count;
  barrier.actor = kMaxWarps + mbarriers_made_;
  mbarriers_made_ = std::min(mbarriers_made_ + 1, kMbarrierPlaces - 1);
  mbarriers_[address] = barrier;
}

void AsyncCopies::Invalidate(Warp& warp, int lane, uint32_t address) {
  if (Find(warp, lane, address) == nullptr) return;
  mbarriers_.erase(address);
  block_.shared().SetWritten(address, 8, false);
}

AsyncCopies::Mbarrier* AsyncCopies::Find(Warp& warp, int lane, uint32_t address) {
  const auto found = mbarriers_.find(address);
  if (found == mbarriers_.end()) {
    warp.Report(FindingKind::kMisuse, lane,
                Cat("no mbarrier was made at ", block_.shared().Describe(address)), address);
    return nullptr;
  }
  // That it was made has to be known here: the initialisation counts as a write, this as a read.
  block_.ReportRace(
      warp, lane, address,
      block_.shared().Read(block_.order(), block_.Accessor(warp, lane), address, 8, true));
  return &found->second;
}

void AsyncCopies::AdvancePhase(Mbarrier& barrier) {
  if (barrier.pending != 0 || barrier.transactions != 0) return;
  ++barrier.phase;
  barrier.pending = barrier.expected;
  barrier.over = barrier.clock;
}

uint64_t AsyncCopies::Arrive(Warp& warp, int lane, uint32_t address, uint32_t count,
                             int64_t transactions, bool drop) {
  Mbarrier* barrier = Find(warp, lane, address);
  if (barrier == nullptr) return 0;
  const uint64_t token = barrier->phase;
  if (count > barrier->pending) {
    warp.Report(FindingKind::kMisuse, lane,
                Cat(count, " arrivals at an mbarrier that expects ", barrier->pending, " more"),
                address);
    return token;
  }
  block_.order().Publish(warp.index(), barrier->clock);
  barrier->transactions += transactions;
  barrier->pending -= count;
  if (drop) barrier->expected -= count;
  AdvancePhase(*barrier);
  return token;
}

void AsyncCopies::ExpectTransactions(Warp& warp, int lane, uint32_t address, int64_t bytes) {
  if (Mbarrier* barrier = Find(warp, lane, address)) barrier->transactions += bytes;
}

bool AsyncCopies::TestWait(Warp& warp, int lane, uint32_t address, uint64_t token) {
  Mbarrier* barrier = Find(warp, lane, address);
  if (barrier == nullptr) return true;
  if (barrier->phase <= token) return false;
  block_.order().Observe(warp.index(), barrier->over);
  return true;
}

bool AsyncCopies::TestWaitParity(Warp& warp, int lane, uint32_t address, uint32_t parity) {
  Mbarrier* barrier = Find(warp, lane, address);
  if (barrier == nullptr) return true;
  if ((barrier->phase & 1) == (parity & 1)) return false;
  block_.order().Observe(warp.index(), barrier->over);
  return true;
}

void AsyncCopies::FenceInits(const Warp& warp, uint32_t lanes) {
  for (const auto& [address, barrier] : mbarriers_) {
    block_.shared().FenceOwnWrites(address, 8, warp.index(), lanes);
  }
}

SharedMemory::Arrival AsyncCopies::BeginArrival(uint32_t address, bool is_bulk, int line) {
  const auto found = mbarriers_.find(address);
  VectorClock nobodys;
  const bool gone = found == mbarriers_.end();
  const int actor = gone ? kActors - 1 : found->second.actor;
  VectorClock& clock = gone ? nobodys : found->second.clock;
  return {actor, block_.order().Complete(actor, is_bulk, clock), line};
}

void AsyncCopies::CompleteTransactions(uint32_t address, int64_t bytes) {
  const auto found = mbarriers_.find(address);
  if (found == mbarriers_.end()) return;
  found->second.transactions -= bytes;
  AdvancePhase(found->second);
}

void AsyncCopies::ArriveAsync(uint32_t address) {
  const auto found = mbarriers_.find(address);
  if (found == mbarriers_.end() || found->second.pending == 0) return;
  --found->second.pending;
  AdvancePhase(found->second);
}

void AsyncCopies::ArriveWhenCopied(Warp& warp, int lane, uint32_t address) {
  if (!Begin(warp, lane, 0)) return;
  Thread& thread = ThreadOf(warp, lane);
  std::vector<Copy> copies = std::exchange(thread.open, {});
  for (std::vector<Copy>& group : thread.groups) {
    std::move(group.begin(), group.end(), std::back_inserter(copies));
    group.clear();
  }
  const int line = block_.Accessor(warp, lane).line;
  Enqueue(0, [this, copies = std::move(copies), address, line] {
    const SharedMemory::Arrival arrival = BeginArrival(address, false, line);
    for (const Copy& copy : copies) {
      Complete(copy);
      block_.shared().Arrived(copy.shared, copy.bytes, arrival);
    }
    ArriveAsync(address);
  });
}

void AsyncCopies::IssueBulk(const Warp& warp, int lane, Bulk bulk) {
  ThreadOf(warp, lane).open_bulk.push_back(std::move(bulk));
}

void AsyncCopies::CommitBulk(Warp& warp, int lane) {
  if (!Begin(warp, lane, 0)) return;
  Thread& thread = ThreadOf(warp, lane);
  thread.bulk_groups.push_back(std::exchange(thread.open_bulk, {}));
}

void AsyncCopies::CompleteBulk(std::vector<Bulk>& group, bool read_only) {
  for (Bulk& bulk : group) {
    if (!bulk.was_read) bulk.read_done();
    bulk.was_read = true;
    if (read_only) continue;
    bulk.done();
    End(bulk.bytes);
  }
}

void AsyncCopies::WaitBulk(const Warp& warp, int lane, int groups, bool read_only) {
  Thread& thread = ThreadOf(warp, lane);
  const int finish = static_cast<int>(thread.bulk_groups.size()) - groups;
  for (int i = 0; i < finish; ++i) CompleteBulk(thread.bulk_groups[i], read_only);
  if (!read_only) {
    for (int i = 0; i < finish; ++i) {
      thread.bulk_groups.pop_front();
      End(0);
    }
  }
}

}  // namespace weft::ptx
