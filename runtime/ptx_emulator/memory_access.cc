#include <algorithm>
#include <bit>
#include <cstring>
#include <tuple>

#include "absl/strings/str_format.h"
#include "runtime/ptx_emulator/bank_conflicts.h"
#include "runtime/ptx_emulator/block.h"
#include "runtime/ptx_emulator/racing_bytes.h"
#include "runtime/ptx_emulator/text.h"

// How threads reach memory, and what is checked on the way.
namespace weft::ptx {
namespace {

bool InWindow(uint64_t address, uint64_t window) { return address - window < kWindowBytes; }

}  // namespace

std::pair<Space, uint64_t> Block::Classify(Space space, uint64_t address) {
  // Parameters of inlined functions lie in local memory, where generic addresses reach them.
  if (space == Space::kGeneric || space == Space::kParam) {
    if (InWindow(address, kSharedWindow)) return {Space::kShared, address - kSharedWindow};
    if (InWindow(address, kLocalWindow)) return {Space::kLocal, address - kLocalWindow};
    if (InWindow(address, kParamWindow)) return {Space::kParam, address - kParamWindow};
    return {Space::kGlobal, address};
  }
  if (space == Space::kConst) return {Space::kGlobal, address};
  return {space, address};
}

void Block::CountConflicts(Space space, const uint64_t (&addresses)[kWarpSize], uint32_t mask,
                           int bytes) {
  if (space != Space::kShared && space != Space::kGeneric) return;
  uint32_t at[kWarpSize] = {};
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    const auto [where, address] = Classify(space, addresses[lane]);
    at[lane] = static_cast<uint32_t>(address);
    if (where != Space::kShared) mask &= ~(1u << lane);
  }
  if (mask != 0) bank_conflicts_ += CountBankConflicts(at, mask, bytes);
}

void Block::CountTraffic(Space space, const uint64_t (&addresses)[kWarpSize], uint32_t mask,
                         int bytes) {
  if (space != Space::kGlobal && space != Space::kGeneric) return;
  for (int lane = 0; space == Space::kGeneric && lane < kWarpSize; ++lane) {
    const bool takes_part = (mask >> lane & 1) != 0;
    if (takes_part && Classify(space, addresses[lane]).first != Space::kGlobal) {
      mask &= ~(1u << lane);
    }
  }
  const GlobalTraffic traffic = CountSectors(addresses, mask, bytes);
  global_traffic_.sectors += traffic.sectors;
  global_traffic_.fewest += traffic.fewest;
}

SharedMemory::Accessor Block::Accessor(const Warp& warp, int lane) const {
  return {warp.index(), lane, warp.current().line};
}

void Block::ReportRace(Warp& warp, int lane, uint32_t address, std::string race) {
  if (!race.empty())
    warp.Report(FindingKind::kRace, lane, std::move(race), address, shared_->Describe(address));
}

bool Block::CheckAlignment(Warp& warp, int lane, Space space, uint64_t address, uint64_t bytes) {
  if ((address & (bytes - 1)) == 0) return true;
  std::string where =
      space == Space::kGlobal ? launch_.memory.Describe(address) : std::string(SpaceName(space));
  std::string text =
      absl::StrFormat("an access of %d bytes at 0x%x (%s) is not aligned", bytes, address, where);
  warp.Report(FindingKind::kMisaligned, lane, std::move(text), address, std::move(where));
  return false;
}

bool Block::CheckRegions(Warp& warp, int lane, uint64_t address, uint64_t bytes, bool write) {
  const std::vector<Region>& regions = launch_.regions;
  uint32_t& hint = region_hints_[&warp.current() - launch_.kernel.instructions.data()];
  const auto contains = [&](const Region& r) {
    return address >= r.address && address - r.address < r.bytes;
  };
  if (!contains(regions[hint])) {
    const auto after = std::upper_bound(regions.begin(), regions.end(), address,
                                        [](uint64_t a, const Region& r) { return a < r.address; });
    hint = after == regions.begin() ? 0 : static_cast<uint32_t>(after - regions.begin() - 1);
  }
  const Region& region = regions[hint];
  std::string problem;
  FindingKind kind = FindingKind::kOutOfBounds;
  if (!contains(region) || bytes > region.bytes - (address - region.address)) {
    const bool before = address < region.address;
    problem = before
                  ? Cat(region.address - address, " bytes before the start of ")
                  : Cat(address + bytes - region.address - region.bytes, " bytes past the end of ");
  } else if (write && !region.writable) {
    kind = FindingKind::kReadOnly;
    problem = Cat("in byte ", address - region.address, " of ");
  } else {
    return true;
  }
  warp.Report(kind, lane,
              Cat(write ? "writes " : "reads ", bytes, " bytes, ", problem, region.name, " (",
                  region.bytes, " bytes), which is ", launch_.memory.Describe(address)),
              address, region.name);
  return false;
}

Block::GlobalBytes Block::Global(Warp& warp, int lane, uint64_t address, uint64_t bytes,
                                 bool write) {
  std::shared_ptr<Allocation>& hint = hints_[&warp.current() - launch_.kernel.instructions.data()];
  if (hint == nullptr || address - hint->address >= hint->bytes)
    hint = launch_.memory.Find(address);
  const Allocation* allocation = hint.get();
  const uint64_t offset = allocation == nullptr ? 0 : address - allocation->address;
  if (allocation == nullptr || allocation->freed || bytes > allocation->bytes - offset) {
    std::string where = launch_.memory.Describe(address);
    const bool freed = allocation != nullptr && allocation->freed;
    std::string text = absl::StrFormat("%s %d bytes at 0x%x, %s", write ? "writes" : "reads", bytes,
                                       address, where);
    warp.Report(freed ? FindingKind::kUseAfterFree : FindingKind::kOutOfBounds, lane,
                std::move(text), address, std::move(where));
    if (freed) hint = nullptr;
    return {};
  }
  if (write && allocation->constants_of != nullptr) {
    warp.Report(FindingKind::kReadOnly, lane,
                Cat("writes constant memory: ", launch_.memory.Describe(address)), address,
                allocation->name);
    return {};
  }
  const bool is_own = allocation->constants_of == &launch_.module;
  if (!launch_.regions.empty() && !is_own && !CheckRegions(warp, lane, address, bytes, write))
    return {};
  return {allocation->data.get() + offset, allocation->written.get() + offset};
}

std::shared_ptr<Allocation> Block::Holder(const Warp& warp) const {
  return hints_[&warp.current() - launch_.kernel.instructions.data()];
}

bool Block::CheckShared(Warp& warp, int lane, uint64_t address, uint64_t bytes, uint64_t alignment,
                        bool write) {
  if (address >= kWindowBytes || shared_->Find(static_cast<uint32_t>(address), bytes) == nullptr) {
    std::string where = address < kWindowBytes ? shared_->Describe(static_cast<uint32_t>(address))
                                               : "in no variable";
    std::string text = absl::StrFormat("%s %d bytes at 0x%x of shared memory, %s",
                                       write ? "writes" : "reads", bytes, address, where);
    warp.Report(FindingKind::kOutOfBounds, lane, std::move(text), address, std::move(where));
    return false;
  }
  if (!CheckAlignment(warp, lane, Space::kShared, address, alignment)) return false;
  if (const char* problem =
          shared_->InFlight(static_cast<uint32_t>(address), static_cast<int>(bytes), write)) {
    std::string where = shared_->Describe(static_cast<uint32_t>(address));
    warp.Report(FindingKind::kInFlight, lane,
                Cat(write ? "writes " : "reads ", where, ", which ", problem), address, where);
    return false;
  }
  return true;
}

Block::LocalBytes Block::Local(Warp& warp, int lane, uint64_t address, uint64_t bytes) {
  const std::vector<PlacedVariable>& variables = warp.kernel().local;
  auto after = std::upper_bound(variables.begin(), variables.end(), address,
                                [](uint64_t a, const PlacedVariable& v) { return a < v.address; });
  if (after == variables.begin() ||
      address - std::prev(after)->address + bytes > std::prev(after)->bytes) {
    std::string where =
        after == variables.begin() ? "local memory" : std::string(std::prev(after)->name);
    warp.Report(
        FindingKind::kOutOfBounds, lane,
        absl::StrFormat("an access of %d bytes at 0x%x is outside of %s", bytes, address, where),
        address, where);
    return {};
  }
  return {warp.local(lane) + address, warp.local_written(lane) + address};
}

const std::byte* Block::ParameterBytes(Warp& warp, int lane, uint64_t address, uint64_t bytes) {
  for (const Parameter& parameter : launch_.kernel.parameters) {
    if (address >= parameter.offset && address - parameter.offset + bytes <= parameter.bytes)
      return launch_.parameters.data() + address;
  }
  warp.Report(FindingKind::kOutOfBounds, lane,
              Cat("reads ", bytes, " bytes outside of the kernel's parameters"), address);
  return nullptr;
}

bool Block::Load(Warp& warp, int lane, Space space, uint64_t address, int bytes, void* value,
                 bool synchronizing) {
  std::memset(value, 0, bytes);
  std::tie(space, address) = Classify(space, address);
  const auto unwritten = [&](std::string where) {
    warp.Report(FindingKind::kUninitializedMemory, lane,
                Cat("reads ", bytes, " bytes that were never written, ", where), address, where);
  };
  switch (space) {
    case Space::kGlobal: {
      if (!CheckAlignment(warp, lane, space, address, bytes)) return false;
      const GlobalBytes found = Global(warp, lane, address, bytes, false);
      if (found.data == nullptr) return false;
      if (!NoneIsZero(found.written, bytes)) unwritten(launch_.memory.Describe(address));
      LoadRacing(value, found.data, bytes);
      return true;
    }
    case Space::kShared: {
      if (!CheckShared(warp, lane, address, bytes, bytes, false)) return false;
      const auto at = static_cast<uint32_t>(address);
      if (!shared_->Written(at, bytes)) unwritten(shared_->Describe(at));
      if (synchronizing) order_.Observe(warp.index(), shared_->Synchronization(at));
      std::string race = shared_->Read(order_, Accessor(warp, lane), at, bytes, synchronizing);
      ReportRace(warp, lane, at, std::move(race));
      std::memcpy(value, shared_->data(at, bytes), bytes);
      return true;
    }
    case Space::kLocal: {
      if (!CheckAlignment(warp, lane, space, address, bytes)) return false;
      const LocalBytes found = Local(warp, lane, address, bytes);
      if (found.data == nullptr) return false;
      if (std::memchr(found.written, 0, bytes) != nullptr) unwritten("in local memory");
      std::memcpy(value, found.data, bytes);
      return true;
    }
    default: {
      if (!CheckAlignment(warp, lane, Space::kParam, address, bytes)) return false;
      const std::byte* data = ParameterBytes(warp, lane, address, bytes);
      if (data == nullptr) return false;
      std::memcpy(value, data, bytes);
      return true;
    }
  }
}

void Block::Store(Warp& warp, int lane, Space space, uint64_t address, int bytes, const void* value,
                  bool defined, bool synchronizing) {
  std::tie(space, address) = Classify(space, address);
  switch (space) {
    case Space::kGlobal: {
      if (!CheckAlignment(warp, lane, space, address, bytes)) return;
      const GlobalBytes found = Global(warp, lane, address, bytes, true);
      if (found.data == nullptr) return;
      StoreRacing(found.data, value, bytes);
      FillRacing(found.written, defined ? 1 : 0, bytes);
      return;
    }
    case Space::kShared: {
      if (!CheckShared(warp, lane, address, bytes, bytes, true)) return;
      const auto at = static_cast<uint32_t>(address);
      std::string race = synchronizing ? shared_->Atomic(order_, Accessor(warp, lane), at, bytes)
                                       : shared_->Write(order_, Accessor(warp, lane), at, bytes,
                                                        static_cast<const std::byte*>(value));
      ReportRace(warp, lane, at, std::move(race));
      if (synchronizing) order_.Publish(warp.index(), shared_->Synchronization(at));
      std::memcpy(shared_->data(at, bytes), value, bytes);
      shared_->SetWritten(at, bytes, defined);
      return;
    }
    case Space::kLocal: {
      if (!CheckAlignment(warp, lane, space, address, bytes)) return;
      const LocalBytes found = Local(warp, lane, address, bytes);
      if (found.data == nullptr) return;
      std::memcpy(found.data, value, bytes);
      std::memset(found.written, defined ? 1 : 0, bytes);
      return;
    }
    default:
      warp.Report(FindingKind::kReadOnly, lane, "writes a parameter of the kernel", address);
  }
}

std::byte* Block::Atomic(Warp& warp, int lane, Space space, uint64_t address, int bytes) {
  std::tie(space, address) = Classify(space, address);
  if (space == Space::kGlobal) {
    if (!CheckAlignment(warp, lane, space, address, bytes)) return nullptr;
    const GlobalBytes found = Global(warp, lane, address, bytes, true);
    if (found.data == nullptr) return nullptr;
    if (!NoneIsZero(found.written, bytes)) {
      std::string where = launch_.memory.Describe(address);
      warp.Report(FindingKind::kUninitializedMemory, lane,
                  Cat("updates ", bytes, " bytes that were never written, ", where), address,
                  where);
      FillRacing(found.written, 1, bytes);
    }
    return found.data;
  }
  if (space == Space::kShared) {
    if (!CheckShared(warp, lane, address, bytes, bytes, true)) return nullptr;
    const auto at = static_cast<uint32_t>(address);
    if (!shared_->Written(at, bytes)) {
      std::string where = shared_->Describe(at);
      warp.Report(FindingKind::kUninitializedMemory, lane,
                  Cat("updates ", bytes, " bytes that were never written, ", where), address,
                  where);
      shared_->SetWritten(at, bytes, true);
    }
    std::string race = shared_->Atomic(order_, Accessor(warp, lane), at, bytes);
    ReportRace(warp, lane, at, std::move(race));
    VectorClock& clock = shared_->Synchronization(at);
    order_.Observe(warp.index(), clock);
    order_.Publish(warp.index(), clock);
    return shared_->data(at, bytes);
  }
  warp.Report(FindingKind::kMisuse, lane,
              Cat("an atomic operation in ", SpaceName(space), " memory"), address);
  return nullptr;
}

}  // namespace weft::ptx
