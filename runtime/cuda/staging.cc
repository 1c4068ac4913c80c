#include "runtime/cuda/staging.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/cuda/context.h"

namespace weft::cuda {
namespace {

bool IsInFlight(const DriverApi& api, const StagingRing& ring) {
  for (const StagingRing::Slot& slot : ring.slots) {
    if (slot.in_flight && api.cuEventQuery(slot.event) == CUDA_ERROR_NOT_READY) return true;
  }
  return false;
}

void Free(const DriverApi& api, StagingRing& ring) {
  for (StagingRing::Slot& slot : ring.slots) {
    if (slot.event != nullptr) (void)api.cuEventDestroy_v2(slot.event);
  }
  // The first slot's is the address of all.
  if (ring.slots[0].host != nullptr) (void)api.cuMemFreeHost(ring.slots[0].host);
}

}  // namespace

absl::StatusOr<std::unique_ptr<StagingRing>> StagingPool::Take(Context& context) {
  const DriverApi& api = context.api();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto at = free_.begin(); at != free_.end(); ++at) {
      // A run that was given up may have left it in use for long.
      if (IsInFlight(api, **at)) continue;
      std::unique_ptr<StagingRing> ring = std::move(*at);
      free_.erase(at);
      return ring;
    }
  }
  auto ring = std::make_unique<StagingRing>();
  constexpr size_t kBytes = StagingRing::kSlots * StagingRing::kSlotBytes;
  absl::StatusOr<void*> memory = context.Pin(kBytes);
  if (!memory.ok()) return memory.status();
  absl::Status status;
  for (size_t i = 0; i < StagingRing::kSlots && status.ok(); ++i) {
    StagingRing::Slot& slot = ring->slots[i];
    slot.host = static_cast<char*>(*memory) + i * StagingRing::kSlotBytes;
    status = context.StatusOf(api.cuEventCreate(&slot.event, CU_EVENT_DISABLE_TIMING),
                              "making an event");
  }
  if (status.ok()) return ring;
  Free(api, *ring);
  return status;
}

void StagingPool::Return(std::unique_ptr<StagingRing> ring) {
  std::lock_guard<std::mutex> lock(mutex_);
  free_.push_back(std::move(ring));
}

void StagingPool::Clear(const DriverApi& api) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const std::unique_ptr<StagingRing>& ring : free_) Free(api, *ring);
  free_.clear();
}

}  // namespace weft::cuda
