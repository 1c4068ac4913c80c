#include "runtime/ptx_emulator/warp.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/ptx_emulator/block.h"
#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {

Warp::Warp(Block& block, const Kernel& kernel, int index)
    : block_(block), kernel_(kernel), index_(index) {
  registers_.resize((kernel.register_bytes + 7) / 8);
  bases_[0] = reinterpret_cast<std::byte*>(registers_.data());
  bases_[1] = const_cast<std::byte*>(kernel.constants.data());
  defined_.resize(kernel.id_count);
  local_.resize(size_t(kernel.local_end) * kWarpSize);
  local_written_.resize(local_.size());
}

void Warp::Reset() {
  const uint32_t first = index_ * kWarpSize;
  const uint32_t threads = std::min<uint32_t>(block_.thread_count() - first, kWarpSize);
  live_ = threads == kWarpSize ? kAllLanes : (1u << threads) - 1;
  std::fill(defined_.begin(), defined_.end(), 0);
  defined_[kAlwaysDefined] = kAllLanes;
  std::fill(local_written_.begin(), local_written_.end(), 0);
  products_.Reset();
  splits_.clear();
  splits_.push_back({.state = Split::State::kReady, .mask = live_, .pc = 0});
  next_split_ = 0;
  FillSpecials();
}

void Warp::FillSpecials() {
  const LaunchState& launch = block_.launch();
  const Dim3 block = block_.position();
  const uint32_t dynamic = launch.dynamic_shared_bytes;
  for (const SpecialRegister& special : kernel_.specials) {
    uint32_t* lanes = Lanes<uint32_t>(special.ref);
    SetDefined(special.ref, kAllLanes, kAllLanes);
    for (int l = 0; l < kWarpSize; ++l) {
      const Dim3 thread = block_.ThreadAt(index_, l);
      switch (special.special) {
        case Special::kTidX:
          lanes[l] = thread.x;
          break;
        case Special::kTidY:
          lanes[l] = thread.y;
          break;
        case Special::kTidZ:
          lanes[l] = thread.z;
          break;
        case Special::kNtidX:
          lanes[l] = launch.block.x;
          break;
        case Special::kNtidY:
          lanes[l] = launch.block.y;
          break;
        case Special::kNtidZ:
          lanes[l] = launch.block.z;
          break;
        case Special::kCtaidX:
          lanes[l] = block.x;
          break;
        case Special::kCtaidY:
          lanes[l] = block.y;
          break;
        case Special::kCtaidZ:
          lanes[l] = block.z;
          break;
        case Special::kNctaidX:
          lanes[l] = launch.grid.x;
          break;
        case Special::kNctaidY:
          lanes[l] = launch.grid.y;
          break;
        case Special::kNctaidZ:
          lanes[l] = launch.grid.z;
          break;
        case Special::kLaneId:
          lanes[l] = l;
          break;
        case Special::kWarpId:
          lanes[l] = index_;
          break;
        case Special::kNwarpId:
          lanes[l] = (block_.thread_count() + kWarpSize - 1) / kWarpSize;
          break;
        case Special::kSmId:
          lanes[l] = 0;
          break;
        case Special::kNsmId:
          lanes[l] = 1;
          break;
        case Special::kGridId:
          lanes[l] = 1;
          break;
        case Special::kLaneMaskEq:
          lanes[l] = 1u << l;
          break;
        case Special::kLaneMaskLe:
          lanes[l] = kAllLanes >> (31 - l);
          break;
        case Special::kLaneMaskLt:
          lanes[l] = (1u << l) - 1;
          break;
        case Special::kLaneMaskGe:
          lanes[l] = kAllLanes << l;
          break;
        case Special::kLaneMaskGt:
          lanes[l] = l == 31 ? 0 : kAllLanes << (l + 1);
          break;
        case Special::kDynamicSharedBytes:
          lanes[l] = dynamic;
          break;
        case Special::kTotalSharedBytes:
          lanes[l] = static_cast<uint32_t>(kernel_.shared_bytes) + dynamic;
          break;
        case Special::kClusterZero:
          lanes[l] = 0;
          break;
        case Special::kClusterOne:
          lanes[l] = 1;
          break;
        case Special::kClock:
        case Special::kClockHigh:
        case Special::kClock64:
        case Special::kGlobalTimer:
          break;  // read by an instruction of their own
      }
    }
  }
}

bool Warp::ready() const {
  return std::any_of(splits_.begin(), splits_.end(),
                     [](const Split& s) { return s.state == Split::State::kReady; });
}

int64_t Warp::Run(int64_t steps) {
  const int64_t budget = steps;
  yield_ = false;
  // Splits take turns, so that one that waits for another in a loop does not keep it from running.
  while (steps > 0 && !yield_ && !block_.ended()) {
    const int count = static_cast<int>(splits_.size());
    int chosen = -1;
    for (int i = 0; i < count && chosen < 0; ++i) {
      const int candidate = (next_split_ + i) % count;
      if (splits_[candidate].state == Split::State::kReady) chosen = candidate;
    }
    if (chosen < 0) break;
    RunSplit(chosen, &steps);
    next_split_ = chosen + 1;
  }
  if (!ready()) ArriveTogether();
  return budget - steps;
}

void Warp::RunSplit(int index, int64_t* steps) {
  while (*steps > 0 && !yield_) {
    Split& split = splits_[index];
    const Instruction& instruction = kernel_.instructions[split.pc];
    current_ = &instruction;
    active_ = split.mask;
    --*steps;
    uint32_t mask = split.mask;
    if (instruction.has_guard) {
      RequireDefined(instruction.guard, mask, "the predicate");
      const uint32_t guard = Predicate(instruction.guard);
      mask &= instruction.guard_negated ? ~guard : guard;
    }
    switch (instruction.control) {
      case Control::kNone:
        ++split.pc;
        if (mask != 0) {
          active_ = mask;
          if (kernel_.has_products) CheckProducts(instruction);
          instruction.execute(*this, instruction, mask);
        }
        break;
      case Control::kBranch:
        if (!Branch(index, instruction, mask)) return;
        break;
      case Control::kBranchTable:
        if (!BranchTable(index, instruction, mask)) return;
        break;
      case Control::kExit:
        if (!Exit(index, mask)) return;
        break;
      case Control::kTrap:
        ++split.pc;
        if (mask != 0) {
          active_ = mask;
          Report(FindingKind::kTrap, -1, "the kernel trapped");
          return;
        }
        break;
      case Control::kBarrier:
        if (mask == 0) {
          ++split.pc;
          break;
        }
        Barrier(index, instruction, mask);
        return;
    }
    if (instruction.ends_block && JoinAtReconvergence(index)) return;
    if (block_.ended()) return;
  }
}

// Registers of products under way belong to them, and what other instructions write has to be
// fenced before the next product.
void Warp::CheckProducts(const Instruction& instruction) {
  if (instruction.is_product) return;
  if (instruction.writes_product_register) products_.NoteWrite();
  if (products_.any() && products_.Touches(instruction)) {
    Report(FindingKind::kInFlight, -1, "uses a register of a wgmma that was not waited for");
  }
}

bool Warp::Branch(int index, const Instruction& instruction, uint32_t taken) {
  Split& split = splits_[index];
  const uint32_t rest = split.mask & ~taken;
  if (rest == 0 || taken == 0) {
    split.pc = rest == 0 ? instruction.target : split.pc + 1;
    return true;
  }
  if (instruction.uniform) {
    Report(FindingKind::kMisuse, std::countr_zero(rest), "a branch marked .uni diverges");
  }
  Diverge(index, {{instruction.target, taken}, {split.pc + 1, rest}}, instruction.reconvergence);
  return false;
}

bool Warp::BranchTable(int index, const Instruction& instruction, uint32_t mask) {
  Split& split = splits_[index];
  std::vector<std::pair<int, uint32_t>> paths;
  const auto add = [&](int target, uint32_t lanes) {
    for (auto& [known, known_lanes] : paths) {
      if (known == target) {
        known_lanes |= lanes;
        return;
      }
    }
    paths.push_back({target, lanes});
  };
  if (const uint32_t rest = split.mask & ~mask; rest != 0) add(split.pc + 1, rest);
  const std::vector<int>& table = kernel_.tables[instruction.target];
  RequireDefined(instruction.sources[0], mask, "the index of a branch");
  const uint32_t* choice = Lanes<uint32_t>(instruction.sources[0]);
  for (int lane : LanesOf(mask)) {
    if (choice[lane] >= table.size()) {
      Report(FindingKind::kMisuse, lane,
             Cat("index ", choice[lane], " of a branch with ", table.size(), " targets"));
    }
    add(table[std::min<size_t>(choice[lane], table.size() - 1)], 1u << lane);
  }
  if (paths.size() == 1) {
    split.pc = paths[0].first;
    return true;
  }
  Diverge(index, paths, instruction.reconvergence);
  return false;
}

int Warp::NewSplit() {
  for (size_t i = 0; i < splits_.size(); ++i) {
    if (splits_[i].state == Split::State::kFree) return static_cast<int>(i);
  }
  splits_.emplace_back();
  return static_cast<int>(splits_.size()) - 1;
}

void Warp::Diverge(int index, const std::vector<std::pair<int, uint32_t>>& paths,
                   int reconvergence) {
  int parent = index;
  // Lanes that leave a loop one after the other meet in the split that waits behind the loop
  // already. Where the paths never meet, they are as free as the split was.
  const bool siblings = reconvergence < 0 || (splits_[index].parent >= 0 &&
                                              splits_[index].reconvergence == reconvergence);
  if (siblings) {
    parent = splits_[index].parent;
    reconvergence = splits_[index].reconvergence;
    splits_[index].state = Split::State::kFree;
  } else {
    splits_[index].state = Split::State::kWaitsForChildren;
    splits_[index].mask = 0;
    splits_[index].pc = reconvergence;
    splits_[index].children = 1;  // kept until all paths are there
  }
  for (const auto& [target, mask] : paths) {
    if (parent >= 0 && target == reconvergence) {
      splits_[parent].mask |= mask;
      continue;
    }
    const int child = NewSplit();
    splits_[child] = {.state = Split::State::kReady,
                      .mask = mask,
                      .pc = target,
                      .reconvergence = reconvergence,
                      .parent = parent};
    if (parent >= 0) ++splits_[parent].children;
  }
  ChildGone(parent);
}

void Warp::ChildGone(int parent) {
  while (parent >= 0 && --splits_[parent].children == 0) {
    Split& split = splits_[parent];
    if (split.mask != 0) {
      split.state = Split::State::kReady;
      if (!(split.parent >= 0 && split.pc == split.reconvergence)) return;
      splits_[split.parent].mask |= split.mask;
    }
    split.state = Split::State::kFree;
    parent = split.parent;
  }
}

bool Warp::JoinAtReconvergence(int index) {
  Split& split = splits_[index];
  if (split.parent < 0 || split.pc != split.reconvergence) return false;
  const int parent = split.parent;
  splits_[parent].mask |= split.mask;
  split.state = Split::State::kFree;
  ChildGone(parent);
  return true;
}

bool Warp::Exit(int index, uint32_t mask) {
  Split& split = splits_[index];
  live_ &= ~mask;
  split.mask &= ~mask;
  if (split.mask != 0) {
    ++split.pc;
    return true;
  }
  split.state = Split::State::kFree;
  ChildGone(split.parent);
  return false;
}

void Warp::Barrier(int index, const Instruction& instruction, uint32_t mask) {
  active_ = mask;
  Split& split = splits_[index];
  if (instruction.uniform && mask != split.mask) {
    ReportMissing(mask);
    return;
  }
  if (instruction.uniform && mask != live_) {
    // The other lanes may still come, or end.
    split.state = Split::State::kBeforeBarrier;
    return;
  }
  if (mask != split.mask) {
    // A guarded barrier that need not be aligned: those that skip it go on alone.
    const uint32_t rest = split.mask & ~mask;
    const int pc = split.pc;
    const int other = NewSplit();
    Split copy = splits_[index];
    copy.mask = rest;
    copy.pc = pc + 1;
    splits_[other] = copy;
    splits_[index].mask = mask;
    if (copy.parent >= 0) ++splits_[copy.parent].children;
  }
  ++splits_[index].pc;
  splits_[index].state = Split::State::kAtBarrier;
  block_.ArriveAtBarrier(*this, index, instruction, mask);
}

void Warp::ReportMissing(uint32_t mask) {
  const uint32_t missing = live_ & ~mask;
  Report(
      FindingKind::kBarrierDivergence, std::countr_zero(missing),
      Cat("this thread is not at the barrier with ", std::popcount(mask), " others of its warp"));
}

// No split can go on: those that stand before a barrier have to be all that lives of the warp, and
// at the same one.
void Warp::ArriveTogether() {
  uint32_t mask = 0;
  int pc = -1;
  for (const Split& split : splits_) {
    if (split.state != Split::State::kBeforeBarrier) continue;
    if (pc < 0) pc = split.pc;
    if (split.pc == pc) mask |= split.mask;
  }
  if (pc < 0) return;
  const Instruction& instruction = kernel_.instructions[pc];
  SetCurrent(&instruction, mask);
  if (mask != live_) return ReportMissing(mask);
  for (size_t i = 0; i < splits_.size(); ++i) {
    if (splits_[i].state != Split::State::kBeforeBarrier) continue;
    splits_[i].state = Split::State::kAtBarrier;
    ++splits_[i].pc;
    block_.ArriveAtBarrier(*this, static_cast<int>(i), instruction, splits_[i].mask);
  }
}

void Warp::Release(int split) {
  if (splits_[split].state != Split::State::kAtBarrier) return;
  splits_[split].state = Split::State::kReady;
  JoinAtReconvergence(split);
}

void Warp::Report(FindingKind kind, int lane, std::string message, uint64_t address,
                  std::string allocation) {
  if (lane < 0) lane = active_ != 0 ? std::countr_zero(active_) : 0;
  Finding finding;
  finding.kind = kind;
  finding.kernel = kernel_.name;
  finding.block = block_.position();
  finding.thread = block_.ThreadAt(index_, lane);
  finding.address = address;
  finding.allocation = std::move(allocation);
  finding.message = std::move(message);
  if (current_ != nullptr) {
    finding.ptx_line = current_->line;
    finding.instruction = std::string(current_->opcode);
    finding.source_line = current_->source.line;
    const auto& files = block_.launch().module.files;
    if (auto file = files.find(current_->source.file); file != files.end())
      finding.file = file->second;
  }
  block_.Report(std::move(finding));
}

void Warp::ReportUndefined(uint32_t lanes, std::string_view what) {
  Report(FindingKind::kUndefinedValue, std::countr_zero(lanes),
         Cat(what, " comes from a register that was never written, in ", std::popcount(lanes),
             " threads of the warp"));
}

}  // namespace weft::ptx
