#include "runtime/ptx_emulator/shared_memory.h"

#include <algorithm>
#include <cstring>

#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {

SharedMemory::SharedMemory(const Kernel& kernel, uint32_t dynamic_bytes) : kernel_(kernel) {
  dynamic_ = {kernel.dynamic_shared.empty() ? std::string_view("dynamic shared memory")
                                            : kernel.dynamic_shared,
              kernel.shared_end, dynamic_bytes};
  end_ = kernel.shared_end + dynamic_bytes;
  data_.resize(end_);
  written_.resize(end_);
  async_writes_.resize(end_);
  async_reads_.resize(end_);
  cells_.resize(end_);
}

void SharedMemory::Reset() {
  std::memset(data_.data(), 0xcd, data_.size());
  std::fill(written_.begin(), written_.end(), 0);
  std::fill(async_writes_.begin(), async_writes_.end(), 0);
  std::fill(async_reads_.begin(), async_reads_.end(), 0);
  async_marks_ = 0;
  std::fill(cells_.begin(), cells_.end(), Cell());
  reader_sets_.assign(1, ReaderSet());
  free_reader_sets_.clear();
  synchronization_.clear();
}

const PlacedVariable* SharedMemory::Find(uint32_t address, uint64_t bytes) const {
  const auto contains = [&](const PlacedVariable& v) {
    return address >= v.address && address - v.address + bytes <= v.bytes;
  };
  if (contains(dynamic_)) return &dynamic_;
  auto after = std::upper_bound(kernel_.shared.begin(), kernel_.shared.end(), address,
                                [](uint32_t a, const PlacedVariable& v) { return a < v.address; });
  if (after == kernel_.shared.begin()) return nullptr;
  --after;
  return contains(*after) ? &*after : nullptr;
}

std::string SharedMemory::Describe(uint32_t address) const {
  const PlacedVariable* before = nullptr;
  for (const PlacedVariable& variable : kernel_.shared) {
    if (variable.address <= address) before = &variable;
  }
  if (address >= dynamic_.address && (dynamic_.bytes > 0 || before == nullptr)) before = &dynamic_;
  if (before == nullptr) return "in no variable";
  const uint64_t offset = address - before->address;
  if (offset < before->bytes)
    return Cat("byte ", offset, " of ", before->name, " (", before->bytes, " bytes)");
  return Cat(offset - before->bytes, " bytes past the end of ", before->name, " (", before->bytes,
             " bytes)");
}

bool SharedMemory::Ordered(const HappensBefore& order, const Accessor& by, int actor, int lane,
                           uint32_t clock) const {
  if (actor == by.warp) return lane == by.lane || clock < order.IntervalStart(actor);
  return order.Seen(by.warp, actor) >= clock;
}

std::string SharedMemory::Describe(int actor, int lane) {
  if (actor >= kMaxWarps) return "an asynchronous copy";
  if (lane == kSeveralLanes) return Cat("several threads of warp ", actor);
  return Cat("thread ", actor * kWarpSize + lane);
}

std::string SharedMemory::Race(std::string_view verb, std::string_view earlier, int actor, int lane,
                               uint32_t line, uint32_t address) const {
  const std::string_view missing = actor >= kMaxWarps ? "wait for its mbarrier" : "barrier";
  return Cat(verb, " ", Describe(address), " which ", Describe(actor, lane), " ", earlier,
             " at PTX line ", line, ", with no ", missing, " between");
}

std::string SharedMemory::CheckAgainstWrite(const HappensBefore& order, const Accessor& by,
                                            const Cell& cell, uint32_t address,
                                            std::string_view verb) const {
  if (cell.write_clock == 0 || Ordered(order, by, cell.writer, cell.write_lane, cell.write_clock))
    return "";
  return Race(verb, "wrote", cell.writer, cell.write_lane, cell.write_line, address);
}

std::string SharedMemory::CheckAgainstReads(const HappensBefore& order, const Accessor& by,
                                            const Cell& cell, uint32_t address) const {
  if (cell.readers == 0) {
    if (cell.read_clock == 0 || Ordered(order, by, cell.read_warp, cell.read_lane, cell.read_clock))
      return "";
    return Race("writes", "read", cell.read_warp, cell.read_lane, cell.read_line, address);
  }
  const ReaderSet& set = reader_sets_[cell.readers];
  for (int warp = 0; warp < kMaxWarps; ++warp) {
    if (set[warp].clock == 0 || Ordered(order, by, warp, set[warp].lane, set[warp].clock)) continue;
    return Race("writes", "read", warp, set[warp].lane, cell.read_line, address);
  }
  return "";
}

void SharedMemory::RecordWrite(const HappensBefore& order, const Accessor& by, Cell& cell,
                               bool atomic) {
  cell.write_clock = order.Now(by.warp);
  cell.writer = static_cast<uint8_t>(by.warp);
  cell.write_lane = static_cast<uint8_t>(by.lane);
  cell.write_line = by.line;
  cell.write_atomic = atomic;
  cell.write_fenced = false;
  cell.read_clock = 0;
  if (cell.readers != 0) free_reader_sets_.push_back(cell.readers);
  cell.readers = 0;
}

void SharedMemory::RecordRead(const HappensBefore& order, const Accessor& by, Cell& cell) {
  const uint32_t now = order.Now(by.warp), start = order.IntervalStart(by.warp);
  const auto merge = [&](uint32_t clock, uint8_t lane) -> uint8_t {
    return clock >= start && lane != by.lane ? kSeveralLanes : static_cast<uint8_t>(by.lane);
  };
  cell.read_line = by.line;
  if (cell.readers != 0) {
    Reader& reader = reader_sets_[cell.readers][by.warp];
    reader = {now, merge(reader.clock, reader.lane)};
    return;
  }
  if (cell.read_clock == 0 || cell.read_warp == by.warp) {
    cell.read_lane = cell.read_clock == 0 ? static_cast<uint8_t>(by.lane)
                                          : merge(cell.read_clock, cell.read_lane);
  } else if (order.Seen(by.warp, cell.read_warp) >= cell.read_clock) {
    cell.read_lane = static_cast<uint8_t>(by.lane);
  } else {
    // Two warps read with no order between: both have to come before the next write.
    ReaderSet set;
    set[cell.read_warp] = {cell.read_clock, cell.read_lane};
    set[by.warp] = {now, static_cast<uint8_t>(by.lane)};
    if (free_reader_sets_.empty()) {
      cell.readers = static_cast<uint32_t>(reader_sets_.size());
      reader_sets_.push_back(set);
    } else {
      cell.readers = free_reader_sets_.back();
      free_reader_sets_.pop_back();
      reader_sets_[cell.readers] = set;
    }
    return;
  }
  cell.read_warp = static_cast<uint8_t>(by.warp);
  cell.read_clock = now;
}

std::string SharedMemory::Read(const HappensBefore& order, const Accessor& by, uint32_t address,
                               int bytes, bool synchronizing) {
  std::string race;
  for (int i = 0; i < bytes; ++i) {
    Cell& cell = cells_[address + i];
    if (race.empty() && !(synchronizing && cell.write_atomic))
      race = CheckAgainstWrite(order, by, cell, address + i, "reads");
    RecordRead(order, by, cell);
  }
  return race;
}

std::string SharedMemory::Write(const HappensBefore& order, const Accessor& by, uint32_t address,
                                int bytes, const std::byte* value) {
  std::string race;
  for (int i = 0; i < bytes; ++i) {
    Cell& cell = cells_[address + i];
    if (race.empty()) {
      // Threads that write the same value do not depend on their order.
      const bool same =
          value != nullptr && written_[address + i] != 0 && data_[address + i] == value[i];
      if (!same) race = CheckAgainstWrite(order, by, cell, address + i, "writes");
      if (race.empty()) race = CheckAgainstReads(order, by, cell, address + i);
    }
    RecordWrite(order, by, cell, false);
  }
  return race;
}

std::string SharedMemory::Atomic(const HappensBefore& order, const Accessor& by, uint32_t address,
                                 int bytes) {
  std::string race;
  for (int i = 0; i < bytes; ++i) {
    Cell& cell = cells_[address + i];
    if (race.empty()) {
      if (!cell.write_atomic) race = CheckAgainstWrite(order, by, cell, address + i, "updates");
      if (race.empty()) race = CheckAgainstReads(order, by, cell, address + i);
    }
    RecordWrite(order, by, cell, true);
  }
  return race;
}

std::string SharedMemory::AsyncRead(const HappensBefore& order, const Accessor& by,
                                    uint32_t address, int bytes) {
  std::string problem = Read(order, by, address, bytes);
  for (int i = 0; i < bytes && problem.empty(); ++i) {
    const Cell& cell = cells_[address + i];
    const bool fenced = cell.write_fenced || order.Fenced(by.warp, cell.writer) >= cell.write_clock;
    if (cell.write_clock == 0 || fenced) continue;
    problem = Cat("reads ", Describe(address + i), " which ",
                  Describe(cell.writer, cell.write_lane), " wrote at PTX line ", cell.write_line,
                  ", with no fence.proxy.async between: an asynchronous operation need not see it");
  }
  return problem;
}

void SharedMemory::FenceWrites(const HappensBefore& order, int warp, uint32_t lanes) {
  for (Cell& cell : cells_) {
    if (cell.writer == warp && cell.write_clock >= order.IntervalStart(warp) &&
        cell.write_lane < kWarpSize && (lanes >> cell.write_lane & 1) != 0) {
      cell.write_fenced = true;
    }
  }
}

void SharedMemory::FenceOwnWrites(uint32_t address, int bytes, int warp, uint32_t lanes) {
  for (int i = 0; i < bytes; ++i) {
    Cell& cell = cells_[address + i];
    if (cell.writer == warp && cell.write_lane < kWarpSize && (lanes >> cell.write_lane & 1) != 0) {
      cell.write_fenced = true;
    }
  }
}

bool SharedMemory::Written(uint32_t address, int bytes) const {
  for (int i = 0; i < bytes; ++i) {
    if (written_[address + i] == 0) return false;
  }
  return true;
}

void SharedMemory::SetWritten(uint32_t address, int bytes, bool written) {
  std::memset(written_.data() + address, written ? 1 : 0, bytes);
}

void SharedMemory::BeginAsync(uint32_t address, int bytes, bool write) {
  std::vector<uint32_t>& marks = write ? async_writes_ : async_reads_;
  for (int i = 0; i < bytes; ++i) {
    ++marks[address + i];
  }
  ++async_marks_;
}

void SharedMemory::EndAsync(uint32_t address, int bytes, bool write) {
  std::vector<uint32_t>& marks = write ? async_writes_ : async_reads_;
  for (int i = 0; i < bytes; ++i) {
    if (marks[address + i] > 0) --marks[address + i];
  }
  --async_marks_;
}

void SharedMemory::Arrived(uint32_t address, int bytes, const Arrival& by) {
  for (int i = 0; i < bytes; ++i) {
    Cell& cell = cells_[address + i];
    if (cell.readers != 0) free_reader_sets_.push_back(cell.readers);
    cell = Cell();
    cell.write_clock = by.clock;
    cell.write_line = static_cast<uint32_t>(by.line);
    cell.writer = static_cast<uint8_t>(by.actor);
  }
}

const char* SharedMemory::InFlight(uint32_t address, int bytes, bool write) const {
  if (async_marks_ == 0) return nullptr;
  for (int i = 0; i < bytes; ++i) {
    if (async_writes_[address + i] != 0)
      return "an asynchronous operation that was not waited for still writes";
    if (write && async_reads_[address + i] != 0)
      return "an asynchronous operation that was not waited for still reads";
  }
  return nullptr;
}

}  // namespace weft::ptx
