// Pinned host memory, which the GPU copies from and to by itself.
#ifndef WEFT_RUNTIME_CUDA_STAGING_H_
#define WEFT_RUNTIME_CUDA_STAGING_H_

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/cuda/driver_api.h"

namespace weft::cuda {

class Context;

// What one tensor after the other goes through in pieces. One user at a time.
struct StagingRing {
  static constexpr size_t kSlots = 4, kSlotBytes = size_t{1} << 20;

  struct Slot {
    char* host = nullptr;
    CUevent event = nullptr;  // recorded after the copy that uses the slot
    bool in_flight = false;   // whether it has been since the event was last waited for
  };
  // The slot whose turn it is.
  Slot& Next() { return slots[next++ % kSlots]; }

  std::array<Slot, kSlots> slots;
  size_t next = 0;
};

// Rings that nobody uses at the moment; as many are made as are in use at once. Thread-safe. All
// need the context current.
class StagingPool {
 public:
  // One that the GPU is done with, if there is one. ResourceExhausted where the system gives no
  // pinned memory.
  absl::StatusOr<std::unique_ptr<StagingRing>> Take(Context& context);
  // Slots may be in flight; whoever uses them next waits.
  void Return(std::unique_ptr<StagingRing> ring);
  // Frees them, when all their copies are done.
  void Clear(const DriverApi& api);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<StagingRing>> free_;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_STAGING_H_
