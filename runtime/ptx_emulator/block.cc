#include "runtime/ptx_emulator/block.h"

#include <algorithm>
#include <bit>

#include "runtime/ptx_emulator/async.h"
#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {
namespace {

// Instructions that a warp runs before another has its turn. Short enough that warps that wait for
// one another by spinning get on.
constexpr int64_t kSlice = 4096;
// Rounds in which every warp only spins, before it is called a deadlock.
constexpr int kMaxIdleRounds = 4096;

}  // namespace

Block::Block(LaunchState& launch)
    : launch_(launch),
      thread_count_(static_cast<uint32_t>(launch.block.Count())),
      shared_(std::make_unique<SharedMemory>(launch.kernel, launch.dynamic_shared_bytes)),
      async_(std::make_unique<AsyncCopies>(*this)) {
  hints_.resize(launch.kernel.instructions.size());
  region_hints_.resize(launch.kernel.instructions.size());
  for (uint32_t first = 0; first < thread_count_; first += kWarpSize) {
    warps_.push_back(std::make_unique<Warp>(*this, launch.kernel, static_cast<int>(warps_.size())));
  }
}

Block::~Block() = default;

Dim3 Block::ThreadAt(int warp, int lane) const {
  const uint32_t thread = warp * kWarpSize + lane;
  const Dim3& size = launch_.block;
  return {thread % size.x, thread / size.x % size.y, thread / size.x / size.y};
}

uint64_t Block::HostBytes(const Kernel& kernel, const Dim3& block) {
  const uint64_t warps = (block.Count() + kWarpSize - 1) / kWarpSize;
  return warps * (kernel.register_bytes + uint64_t{kernel.id_count} * sizeof(uint32_t) +
                  uint64_t{kernel.local_end} * 2 * kWarpSize);
}

void Block::Report(Finding finding) {
  const bool ends = EndsLaunch(finding.kind);
  AddFinding(findings_, std::move(finding));
  if (ends || findings_.size() == kMaxFindings) EndLaunch();
}

void Block::EndLaunch() {
  ended_ = true;
  launch_.EndAt(number_ + 1);
}

void Block::Run(Dim3 position, uint64_t number) {
  position_ = position;
  number_ = number;
  ended_ = false;
  findings_.clear();
  shared_->Reset();
  order_.Reset();
  async_->Reset();
  for (Barrier& barrier : barriers_) barrier = Barrier();
  for (WarpgroupAgreement& agreement : agreements_) agreement = {};
  for (auto& warp : warps_) warp->Reset();
  int64_t left = launch_.step_limit;
  int idle_rounds = 0;
  for (;;) {
    bool any_ready = false;
    bool any_live = false;
    bool progress = false;
    for (auto& warp : warps_) {
      if (warp->finished()) continue;
      any_live = true;
      if (!warp->ready()) continue;
      any_ready = true;
      const int64_t ran = warp->Run(std::min(kSlice, left));
      steps_ += ran;
      left -= ran;
      progress |= !warp->yielded();
      launch_.AskInterrupt();
      if (ended()) return;
      if (left <= 0) {
        warp->Report(FindingKind::kStepLimit, -1,
                     Cat("the block ran ", launch_.step_limit,
                         " instructions without an end; this is one that it was at"));
        return;
      }
    }
    if (!any_live) break;
    if (progress) {
      idle_rounds = 0;
      continue;
    }
    // Nobody gets on: now, as late as can be, asynchronous operations complete.
    if (async_->CompleteOldest()) continue;
    if (any_ready && ++idle_rounds < kMaxIdleRounds) continue;
    ReportDeadlock();
    return;
  }
  CheckWarpgroups();
  async_->Finish();
}

// That no warp issued fewer products than the others of its warpgroup.
void Block::CheckWarpgroups() {
  for (auto& warp : warps_) {
    const int rank = warp->index() % WarpgroupAgreement::kWarps;
    const int64_t ahead = agreement(warp->index() / WarpgroupAgreement::kWarps).Ahead(rank);
    if (ahead == 0) continue;
    warp->Report(FindingKind::kMisuse, -1,
                 Cat("ended ", ahead,
                     " products of its warpgroup after another warp, which has to issue the same"));
  }
}

void Block::ArriveAtBarrier(Warp& warp, int split, const Instruction& instruction, uint32_t mask) {
  // sources: barrier, and where they are given, number of threads and predicate.
  const auto uniform = [&](const Ref& ref, std::string_view what) {
    warp.RequireDefined(ref, mask, what);
    const uint32_t* lanes = warp.Lanes<uint32_t>(ref);
    const int first = std::countr_zero(mask);
    for (int lane : LanesOf(mask)) {
      if (lanes[lane] != lanes[first]) {
        warp.Report(FindingKind::kMisuse, lane,
                    Cat(what, " differs between the threads of a warp"));
        break;
      }
    }
    return lanes[first];
  };
  const auto operation = static_cast<BarrierOperation>(instruction.detail & 0xff);
  const bool has_count = (instruction.detail & 0x100) != 0;
  const uint32_t id = uniform(instruction.sources[0], "the number of a barrier");
  uint32_t expected = thread_count_;
  if (has_count) expected = uniform(instruction.sources[1], "the number of threads of a barrier");
  const bool is_cluster = (instruction.detail & 0x400) != 0;
  if (id > (is_cluster ? kClusterBarrier : 15) ||
      (has_count && (expected == 0 || expected % kWarpSize != 0))) {
    warp.Report(FindingKind::kMisuse, -1,
                Cat("barrier ", id, " for ", expected,
                    " threads: expected a barrier of 0 to 15 and a multiple of 32 threads"));
    EndLaunch();
    return;
  }
  Barrier& barrier = barriers_[id];
  if (barrier.expected == 0) {
    barrier.expected = expected;
    barrier.operation = operation;
    barrier.clock = {};
  } else if (barrier.expected != expected) {
    warp.Report(FindingKind::kMisuse, -1,
                Cat("barrier ", id, " for ", expected, " threads, at which others wait for ",
                    barrier.expected));
  }
  // With a number, threads are counted by whole warps, also where the warp comes in parts.
  const bool counts_warp = instruction.uniform && has_count;
  const bool first_part = (mask & (0 - warp.live()) & warp.live()) != 0;
  barrier.arrived += !counts_warp ? std::popcount(mask) : first_part ? kWarpSize : 0;
  order_.Publish(warp.index(), barrier.clock);
  if (operation >= BarrierOperation::kCount) {
    const Ref& predicate = instruction.sources[instruction.source_count - 1];
    warp.RequireDefined(predicate, mask, "the predicate of a barrier");
    uint32_t lanes = warp.Predicate(predicate);
    if ((instruction.detail & 0x200) != 0) lanes = ~lanes;
    barrier.count += std::popcount(lanes & mask);
    barrier.all &= (lanes & mask) == mask;
    barrier.any |= (lanes & mask) != 0;
  }
  if (operation == BarrierOperation::kArrive) {
    warp.Release(split);
  } else {
    barrier.waiting.push_back({warp.index(), split, &instruction, mask});
  }
  if (barrier.arrived >= barrier.expected) Open(barrier);
}

void Block::Open(Barrier& barrier) {
  const std::vector<Barrier::Waiting> waiting = std::move(barrier.waiting);
  for (const Barrier::Waiting& w : waiting) {
    Warp& warp = *warps_[w.warp];
    order_.Observe(w.warp, barrier.clock);
    const auto operation = static_cast<BarrierOperation>(w.instruction->detail & 0xff);
    if (operation == BarrierOperation::kCount) {
      uint32_t counts[kWarpSize];
      std::fill(counts, counts + kWarpSize, barrier.count);
      warp.Store(w.instruction->results[0], counts, w.mask);
    } else if (operation != BarrierOperation::kSync) {
      const bool value = operation == BarrierOperation::kAnd ? barrier.all : barrier.any;
      warp.StorePredicate(w.instruction->results[0], value ? kAllLanes : 0, w.mask);
    }
    if (w.instruction->result_count > 0)
      warp.SetDefined(w.instruction->results[0], kAllLanes, w.mask);
    warp.Release(w.split);
  }
  barrier = Barrier();
}

void Block::ReportDeadlock() {
  uint32_t exited = 0;
  for (auto& warp : warps_) {
    const uint32_t threads =
        std::min<uint32_t>(thread_count_ - warp->index() * kWarpSize, kWarpSize);
    exited += threads - std::popcount(warp->live());
  }
  for (size_t id = 0; id < barriers_.size(); ++id) {
    const Barrier& barrier = barriers_[id];
    if (barrier.waiting.empty()) continue;
    const Barrier::Waiting& first = barrier.waiting[0];
    Warp& warp = *warps_[first.warp];
    warp.SetCurrent(first.instruction, first.mask);
    warp.Report(
        FindingKind::kDeadlock, -1,
        Cat("waits for ever at barrier ", id, ": ", barrier.arrived, " of ", barrier.expected,
            " threads arrived, ", exited, " of the block's ", thread_count_, " ended without"));
  }
  for (auto& warp : warps_) {
    if (warp->ready()) {
      warp->Report(
          FindingKind::kDeadlock, -1,
          Cat("waits for ever for another thread of the block; ", exited, " threads ended"));
      return;
    }
  }
}

}  // namespace weft::ptx
