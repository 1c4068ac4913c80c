#ifndef WEFT_RUNTIME_PTX_EMULATOR_GLOBAL_MEMORY_H_
#define WEFT_RUNTIME_PTX_EMULATOR_GLOBAL_MEMORY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/ptx_emulator/types.h"

namespace weft::ptx {

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};

// Bytes that count towards a limit until their owner ends.
struct CountedBytes {
  CountedBytes() = default;
  CountedBytes(const CountedBytes&) = delete;
  CountedBytes& operator=(const CountedBytes&) = delete;
  ~CountedBytes() {
    if (used != nullptr) *used -= bytes;
  }
  std::shared_ptr<std::atomic<uint64_t>> used;
  uint64_t bytes = 0;
};

// One allocation of device memory: the bytes, and for each byte whether it was ever written. What
// was freed has neither, but for who looked it up before.
struct Allocation {
  uint64_t address = 0;
  uint64_t bytes = 0;
  std::string name;
  // The module whose constants these are, which no kernel may write; null: other memory.
  const void* constants_of = nullptr;
  std::atomic<bool> freed = false;
  CountedBytes counted;  // both of these, until nobody has them any more
  std::unique_ptr<std::byte, FreeDeleter> data;
  std::unique_ptr<uint8_t, FreeDeleter> written;
};

// The global memory of the device. Addresses are the device's own, below the windows of generic
// addresses and never used twice, and unmapped bytes lie between allocations, so that whatever goes
// past an end is found. Thread-safe; bytes that several threads access at once are theirs to order.
class GlobalMemory {
 public:
  // `limit`: of what all of it takes on the host: two bytes for each of the device, what there is
  // to know about an allocation, and what was reserved. `limit_of`: where it comes from, for
  // messages. `first_address`: a multiple of 512.
  explicit GlobalMemory(uint64_t limit, std::string limit_of = {},
                        uint64_t first_address = uint64_t{1} << 36)
      : limit_(limit), limit_of_(std::move(limit_of)), next_(first_address) {}

  // ResourceExhausted beyond the limit, or where addresses have run out. Aligned to 512 bytes.
  // `name` is for messages. `constants_of`: as in Allocation.
  absl::StatusOr<uint64_t> Allocate(uint64_t bytes, std::string name,
                                    const void* constants_of = nullptr);
  // InvalidArgument unless `address` is the start of an allocation that lives. Its bytes stay, and
  // count, for as long as a launch under way holds them.
  absl::Status Free(uint64_t address);

  // OutOfRange unless the bytes lie in one living allocation. Reading does not need them to be
  // written.
  absl::Status Write(uint64_t address, const void* source, uint64_t bytes);
  absl::Status Read(uint64_t address, void* destination, uint64_t bytes) const;
  absl::Status Fill(uint64_t address, uint8_t value, uint64_t bytes);
  absl::Status CopyWithin(uint64_t to, uint64_t from, uint64_t bytes);
  // Declares the bytes unwritten, as when an arena gives them to another buffer.
  absl::Status MarkUnwritten(uint64_t address, uint64_t bytes);
  // How many of the bytes were never written.
  absl::StatusOr<uint64_t> CountUnwritten(uint64_t address, uint64_t bytes) const;

  // The allocation that `address` lies in, the last kMaxFreed that were freed too; null if none.
  std::shared_ptr<Allocation> Find(uint64_t address) const;
  // "byte 12 of x (400 bytes)", "4 bytes past the end of x (400 bytes)", or that nothing is near.
  std::string Describe(uint64_t address) const;

  // Counts what the host holds for something else: ResourceExhausted beyond the limit. Give it back
  // by Release.
  absl::Status Reserve(uint64_t bytes, std::string_view what);
  void Release(uint64_t bytes);

  // Of the limit.
  uint64_t used() const;
  uint64_t limit() const { return limit_; }

  // Remembered, so that a use after the end is called one. Of those before them, addresses are just
  // in no allocation.
  static constexpr size_t kMaxFreed = 1024;

 private:
  // All of these with the lock held.
  absl::Status MakeRoom(uint64_t bytes, std::string_view what);
  std::string Where(uint64_t address) const;
  void ForgetOldestFreed();

  absl::StatusOr<std::shared_ptr<Allocation>> Range(uint64_t address, uint64_t bytes) const;

  const uint64_t limit_;
  const std::string limit_of_;
  mutable std::shared_mutex mutex_;
  // Of the limit; it grows with the lock held alone, and may shrink at any time.
  const std::shared_ptr<std::atomic<uint64_t>> used_ = std::make_shared<std::atomic<uint64_t>>(0);
  uint64_t next_;
  std::map<uint64_t, std::shared_ptr<Allocation>> allocations_;  // by address
  std::deque<uint64_t> freed_;                                   // addresses, oldest first
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_GLOBAL_MEMORY_H_
