#include "runtime/ptx_emulator/global_memory.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {
namespace {

constexpr uint64_t kAlignment = 512;
constexpr uint64_t kRedZone = 4096;

uint64_t Rounded(uint64_t bytes) {
  return std::max((bytes + kAlignment - 1) & ~(kAlignment - 1), kAlignment);
}

// Of an allocation, without its bytes; nodes of maps included.
uint64_t RecordBytes(const Allocation& allocation) {
  return sizeof(Allocation) + allocation.name.size() + 128;
}

}  // namespace

absl::StatusOr<uint64_t> GlobalMemory::Allocate(uint64_t bytes, std::string name,
                                                const void* constants_of) {
  const uint64_t rounded = bytes > limit_ / 2 ? limit_ : Rounded(bytes);
  auto allocation = std::make_shared<Allocation>();
  allocation->bytes = bytes;
  allocation->constants_of = constants_of;
  uint64_t record = 0;
  {
    const std::unique_lock<std::shared_mutex> lock(mutex_);
    allocation->name = name.empty() ? absl::StrFormat("allocation 0x%x", next_) : std::move(name);
    record = RecordBytes(*allocation);
    const std::string what = Cat(bytes, " bytes of ", allocation->name);
    if (absl::Status status = MakeRoom(2 * rounded + record, what); !status.ok()) return status;
    // Generic addresses from the first window on are of other memory.
    if (rounded + kRedZone > kSharedWindow - next_) {
      return absl::ResourceExhaustedError(Cat("expected addresses for ", what,
                                              ", but they are used up, as none is used twice; "
                                              "make another device"));
    }
    allocation->address = next_;
    next_ += rounded + kRedZone;
    *used_ += 2 * rounded + record;
  }
  // The room is kept; others go on while it is filled.
  allocation->counted.used = used_;
  allocation->counted.bytes = 2 * rounded;
  allocation->data.reset(static_cast<std::byte*>(std::aligned_alloc(64, rounded)));
  allocation->written.reset(static_cast<uint8_t*>(std::calloc(rounded, 1)));
  if (allocation->data == nullptr || allocation->written == nullptr) {
    *used_ -= record;
    return absl::ResourceExhaustedError(
        Cat("the host has no memory for ", bytes, " bytes of ", allocation->name));
  }
  // Unwritten memory holds no zeros by chance.
  std::memset(allocation->data.get(), 0xcd, rounded);
  const uint64_t address = allocation->address;
  const std::unique_lock<std::shared_mutex> lock(mutex_);
  allocations_.emplace(address, std::move(allocation));
  return address;
}

absl::Status GlobalMemory::Free(uint64_t address) {
  std::shared_ptr<Allocation> ended;  // after the lock
  const std::unique_lock<std::shared_mutex> lock(mutex_);
  const auto found = allocations_.find(address);
  if (found == allocations_.end() || found->second->freed) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "expected the start of an allocation to free, got 0x%x, %s", address, Where(address)));
  }
  auto record = std::make_shared<Allocation>();
  record->address = found->second->address;
  record->bytes = found->second->bytes;
  record->name = found->second->name;
  record->freed = true;
  ended = std::exchange(found->second, std::move(record));
  ended->freed = true;
  freed_.push_back(address);
  if (freed_.size() > kMaxFreed) ForgetOldestFreed();
  return absl::OkStatus();
}

absl::Status GlobalMemory::MakeRoom(uint64_t bytes, std::string_view what) {
  const auto fits = [&] { return bytes <= limit_ && *used_ <= limit_ - bytes; };
  while (bytes <= limit_ && !fits() && !freed_.empty()) ForgetOldestFreed();
  if (fits()) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      Cat("out of device memory: the host would need ", bytes, " bytes for ", what, ", and ",
          used_->load(), " of ", limit_, limit_of_,
          " are in use; a byte of the device takes two, as it is known "
          "whether it was written"));
}

absl::Status GlobalMemory::Reserve(uint64_t bytes, std::string_view what) {
  const std::unique_lock<std::shared_mutex> lock(mutex_);
  absl::Status status = MakeRoom(bytes, what);
  if (status.ok()) *used_ += bytes;
  return status;
}

void GlobalMemory::Release(uint64_t bytes) { *used_ -= bytes; }

void GlobalMemory::ForgetOldestFreed() {
  const auto oldest = allocations_.find(freed_.front());
  *used_ -= RecordBytes(*oldest->second);
  allocations_.erase(oldest);
  freed_.pop_front();
}

uint64_t GlobalMemory::used() const { return *used_; }

std::shared_ptr<Allocation> GlobalMemory::Find(uint64_t address) const {
  const std::shared_lock<std::shared_mutex> lock(mutex_);
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return nullptr;
  const std::shared_ptr<Allocation>& allocation = std::prev(after)->second;
  return address - allocation->address < allocation->bytes ? allocation : nullptr;
}

std::string GlobalMemory::Describe(uint64_t address) const {
  const std::shared_lock<std::shared_mutex> lock(mutex_);
  return Where(address);
}

std::string GlobalMemory::Where(uint64_t address) const {
  const auto after = allocations_.upper_bound(address);
  const auto show = [](const Allocation& a) {
    return Cat(a.name, " (", a.bytes, " bytes", a.freed ? ", freed)" : ")");
  };
  if (after != allocations_.begin()) {
    const Allocation& before = *std::prev(after)->second;
    const uint64_t offset = address - before.address;
    if (offset < before.bytes) return Cat("byte ", offset, " of ", show(before));
    const bool nearer =
        after == allocations_.end() || offset - before.bytes <= after->first - address;
    if (nearer) return Cat(offset - before.bytes, " bytes past the end of ", show(before));
  }
  if (after != allocations_.end() && after->first - address <= kRedZone) {
    return Cat(after->first - address, " bytes before the start of ", show(*after->second));
  }
  return "in no allocation";
}

absl::StatusOr<std::shared_ptr<Allocation>> GlobalMemory::Range(uint64_t address,
                                                                uint64_t bytes) const {
  std::shared_ptr<Allocation> allocation = Find(address);
  if (allocation == nullptr && bytes == 0) return nullptr;
  if (allocation == nullptr || allocation->freed ||
      bytes > allocation->bytes - (address - allocation->address)) {
    return absl::OutOfRangeError(
        absl::StrFormat("expected %d bytes of one allocation from 0x%x, which is %s", bytes,
                        address, Describe(address)));
  }
  return allocation;
}

absl::Status GlobalMemory::Write(uint64_t address, const void* source, uint64_t bytes) {
  const absl::StatusOr<std::shared_ptr<Allocation>> allocation = Range(address, bytes);
  if (!allocation.ok()) return allocation.status();
  if (bytes == 0) return absl::OkStatus();
  const uint64_t offset = address - (*allocation)->address;
  std::memcpy((*allocation)->data.get() + offset, source, bytes);
  std::memset((*allocation)->written.get() + offset, 1, bytes);
  return absl::OkStatus();
}

absl::Status GlobalMemory::Read(uint64_t address, void* destination, uint64_t bytes) const {
  const absl::StatusOr<std::shared_ptr<Allocation>> allocation = Range(address, bytes);
  if (!allocation.ok()) return allocation.status();
  if (bytes != 0)
    std::memcpy(destination, (*allocation)->data.get() + (address - (*allocation)->address), bytes);
  return absl::OkStatus();
}

absl::Status GlobalMemory::Fill(uint64_t address, uint8_t value, uint64_t bytes) {
  const absl::StatusOr<std::shared_ptr<Allocation>> allocation = Range(address, bytes);
  if (!allocation.ok()) return allocation.status();
  if (bytes == 0) return absl::OkStatus();
  const uint64_t offset = address - (*allocation)->address;
  std::memset((*allocation)->data.get() + offset, value, bytes);
  std::memset((*allocation)->written.get() + offset, 1, bytes);
  return absl::OkStatus();
}

absl::Status GlobalMemory::CopyWithin(uint64_t to, uint64_t from, uint64_t bytes) {
  const absl::StatusOr<std::shared_ptr<Allocation>> target = Range(to, bytes);
  if (!target.ok()) return target.status();
  const absl::StatusOr<std::shared_ptr<Allocation>> source = Range(from, bytes);
  if (!source.ok()) return source.status();
  if (bytes == 0) return absl::OkStatus();
  const uint64_t at = to - (*target)->address;
  const uint64_t of = from - (*source)->address;
  std::memmove((*target)->data.get() + at, (*source)->data.get() + of, bytes);
  std::memmove((*target)->written.get() + at, (*source)->written.get() + of, bytes);
  return absl::OkStatus();
}

absl::Status GlobalMemory::MarkUnwritten(uint64_t address, uint64_t bytes) {
  const absl::StatusOr<std::shared_ptr<Allocation>> allocation = Range(address, bytes);
  if (!allocation.ok()) return allocation.status();
  if (bytes != 0)
    std::memset((*allocation)->written.get() + (address - (*allocation)->address), 0, bytes);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> GlobalMemory::CountUnwritten(uint64_t address, uint64_t bytes) const {
  const absl::StatusOr<std::shared_ptr<Allocation>> allocation = Range(address, bytes);
  if (!allocation.ok()) return allocation.status();
  if (bytes == 0) return 0;
  const uint8_t* first = (*allocation)->written.get() + (address - (*allocation)->address);
  return std::count(first, first + bytes, 0);
}

}  // namespace weft::ptx
