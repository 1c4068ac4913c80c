#ifndef WEFT_RUNTIME_PTX_EMULATOR_SHARED_MEMORY_H_
#define WEFT_RUNTIME_PTX_EMULATOR_SHARED_MEMORY_H_

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/ptx_emulator/happens_before.h"
#include "runtime/ptx_emulator/program.h"

namespace weft::ptx {

// The shared memory of a block: bytes, whether they were written, which asynchronous operation is
// under way on them, and for each byte who wrote and read it last, by which races are found.
class SharedMemory {
 public:
  explicit SharedMemory(const Kernel& kernel, uint32_t dynamic_bytes);

  void Reset();

  // The bytes from `address` on, which were checked to be there.
  std::byte* data(uint32_t address, size_t bytes) {
    assert(address <= end_ && bytes <= end_ - address);
    return data_.data() + address;
  }
  uint32_t end() const { return end_; }
  // The variable in which all the bytes lie, or null.
  const PlacedVariable* Find(uint32_t address, uint64_t bytes) const;
  std::string Describe(uint32_t address) const;
  const PlacedVariable& dynamic() const { return dynamic_; }

  // A thread's access to bytes that lie in a variable. All return an empty text, or what is wrong.
  struct Accessor {
    int warp = 0;
    int lane = 0;
    int line = 0;
  };
  // `synchronizing`: volatile, relaxed or acquire, so that it may meet atomics.
  std::string Read(const HappensBefore& order, const Accessor& by, uint32_t address, int bytes,
                   bool synchronizing = false);
  // Before the bytes change; `value` is what they become, null where that is not known yet.
  std::string Write(const HappensBefore& order, const Accessor& by, uint32_t address, int bytes,
                    const std::byte* value);
  std::string Atomic(const HappensBefore& order, const Accessor& by, uint32_t address, int bytes);
  // By an asynchronous operation of the thread: what others wrote has to have passed a proxy fence.
  std::string AsyncRead(const HappensBefore& order, const Accessor& by, uint32_t address,
                        int bytes);
  // Some lanes of the warp, not all, are at a proxy fence.
  void FenceWrites(const HappensBefore& order, int warp, uint32_t lanes);
  // A fence of some lanes of the warp for what they wrote there.
  void FenceOwnWrites(uint32_t address, int bytes, int warp, uint32_t lanes);

  bool Written(uint32_t address, int bytes) const;
  void SetWritten(uint32_t address, int bytes, bool written);
  // Marks bytes that an asynchronous operation will write (or read) until it is waited for. Marks
  // count.
  void BeginAsync(uint32_t address, int bytes, bool write);
  void EndAsync(uint32_t address, int bytes, bool write);
  // A copy that counts at an mbarrier has brought the bytes: whoever touches them has to have
  // waited for it. Its actor (see HappensBefore), the clock of that, and the line of its
  // instruction.
  struct Arrival {
    int actor = 0;
    uint32_t clock = 0;
    int line = 0;
  };
  void Arrived(uint32_t address, int bytes, const Arrival& by);
  // What is under way on the bytes that forbids the access, or null.
  const char* InFlight(uint32_t address, int bytes, bool write) const;

  // The clock that travels through a word by atomics and mbarriers.
  VectorClock& Synchronization(uint32_t address) { return synchronization_[address]; }

 private:
  static constexpr uint8_t kSeveralLanes = 32;
  struct Cell {
    uint32_t write_clock = 0;  // 0: nobody
    uint32_t read_clock = 0;
    uint32_t write_line = 0;
    uint32_t read_line = 0;
    uint8_t writer = 0;  // an actor
    uint8_t write_lane = 0;
    uint8_t read_warp = 0;
    uint8_t read_lane = 0;
    bool write_atomic = false;
    bool write_fenced = false;  // by its own thread alone
    uint32_t readers = 0;  // index of a set, where several warps read without order between them
  };
  struct Reader {
    uint32_t clock = 0;
    uint8_t lane = 0;
  };
  using ReaderSet = std::array<Reader, kMaxWarps>;

  bool Ordered(const HappensBefore& order, const Accessor& by, int actor, int lane,
               uint32_t clock) const;
  std::string CheckAgainstWrite(const HappensBefore& order, const Accessor& by, const Cell& cell,
                                uint32_t address, std::string_view verb) const;
  std::string CheckAgainstReads(const HappensBefore& order, const Accessor& by, const Cell& cell,
                                uint32_t address) const;
  static std::string Describe(int actor, int lane);
  std::string Race(std::string_view verb, std::string_view earlier, int actor, int lane,
                   uint32_t line, uint32_t address) const;
  void RecordWrite(const HappensBefore& order, const Accessor& by, Cell& cell, bool atomic);
  void RecordRead(const HappensBefore& order, const Accessor& by, Cell& cell);

  const Kernel& kernel_;
  PlacedVariable dynamic_;
  uint32_t end_ = 0;
  std::vector<std::byte> data_;
  std::vector<uint8_t> written_;
  std::vector<uint32_t> async_writes_;
  std::vector<uint32_t> async_reads_;
  int async_marks_ = 0;
  std::vector<Cell> cells_;
  std::vector<ReaderSet> reader_sets_;
  std::vector<uint32_t> free_reader_sets_;
  std::map<uint32_t, VectorClock> synchronization_;
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_SHARED_MEMORY_H_
