#include "runtime/cuda/queue.h"

#include <time.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/blame.h"

namespace weft::cuda {
namespace {

// Work that waits to be given to the GPU, in words of work.h, so that memory is bounded.
constexpr size_t kMaxWords = size_t{1} << 16;
constexpr int64_t kMaxBlocks = 0x7fffffff;

// A wait looks at the stream without a pause for so long (in nanoseconds), since most work is
// short, and then after pauses of an eighth of what it has waited.
constexpr int64_t kWithoutPause = 300'000, kLongestPause = 500'000;

int64_t Now() {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Queue>> Queue::Make(std::shared_ptr<Context> context) {
  if (absl::Status usable = context->Usable(); !usable.ok()) return usable;
  std::unique_ptr<Queue> queue(new Queue(std::move(context)));
  Context& shared = *queue->context_;
  const Context::Current current(shared);
  absl::Status status = shared.StatusOf(
      shared.api().cuStreamCreate(&queue->stream_, CU_STREAM_NON_BLOCKING), "making a stream");
  if (!status.ok()) return status;
  status = shared.StatusOf(
      shared.api().cuEventCreate(&queue->abandonment_, CU_EVENT_DISABLE_TIMING), "making an event");
  if (!status.ok()) return status;
  return queue;
}

Queue::~Queue() {
  const Context::Current current(*context_);
  const DriverApi& api = context_->api();
  if (in_flight_) (void)api.cuStreamSynchronize(stream_);
  if (abandoned_) context_->Settle(abandonment_);
  graphs_.Clear(api);
  if (abandonment_ != nullptr) (void)api.cuEventDestroy_v2(abandonment_);
  if (stream_ != nullptr) (void)api.cuStreamDestroy_v2(stream_);
  if (small_ != nullptr) (void)api.cuMemFreeHost(small_);
}

void Queue::Bind(WeftRunArgs* args) {
  static const WeftDeviceFunctions functions = {Launch, CopyWithin, Read, Commit};
  args->device = &functions;
  args->queue = this;
  deadline_ = args->deadline;
  cancel_ = args->cancel;
  committed_ = false;
}

absl::Status Queue::Begin() {
  if (begun_) return absl::OkStatus();
  if (absl::Status usable = context_->Usable(); !usable.ok()) return usable;
  if (abandoned_) {
    // Pinned memory and the arena are still in use.
    if (absl::Status status = Wait(nullptr); !status.ok()) return status;
  }
  if (absl::Status status = context_->WaitForAbandoned(stream_); !status.ok()) return status;
  begun_ = true;
  return absl::OkStatus();
}

absl::Status Queue::TakeSmall(size_t bytes, char** pinned) {
  *pinned = nullptr;
  if (small_ == nullptr) {
    void* memory = nullptr;
    absl::Status status =
        context_->StatusOf(context_->api().cuMemHostAlloc(&memory, kSmallBytes, 0),
                           absl::StrCat("pinning ", kSmallBytes, " bytes of the host"));
    if (!status.ok()) return status;
    small_ = static_cast<char*>(memory);
  }
  if (bytes > kSmallBytes - small_used_) return absl::OkStatus();
  *pinned = small_ + small_used_;
  small_used_ = std::min(kSmallBytes, small_used_ + (bytes + 63) / 64 * 64);
  return absl::OkStatus();
}

absl::Status Queue::CopyIn(void* device, const void* host, size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  const Context::Current current(*context_);
  if (absl::Status status = Begin(); !status.ok()) return status;
  if (absl::Status status = CopyOutLarge(); !status.ok()) return status;
  char* pinned = nullptr;
  if (absl::Status status = TakeSmall(bytes, &pinned); !status.ok()) return status;
  if (pinned == nullptr) {
    return CopyInLarge(AddressOf(device), static_cast<const char*>(host), bytes);
  }
  memcpy(pinned, host, bytes);
  work_.CopyIn(AddressOf(device), pinned, bytes);
  return absl::OkStatus();
}

absl::Status Queue::CopyOut(void* host, const void* device, size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  const Context::Current current(*context_);
  if (absl::Status status = Begin(); !status.ok()) return status;
  char* pinned = nullptr;
  if (absl::Status status = TakeSmall(bytes, &pinned); !status.ok()) return status;
  if (pinned == nullptr) {
    large_results_.push_back({static_cast<char*>(host), AddressOf(device), bytes});
    return absl::OkStatus();
  }
  work_.CopyOut(pinned, AddressOf(device), bytes);
  small_results_.push_back({host, pinned, bytes});
  return absl::OkStatus();
}

absl::Status Queue::Zero(void* device, size_t bytes) {
  const Context::Current current(*context_);
  if (absl::Status status = Begin(); !status.ok()) return status;
  in_flight_ = true;
  return context_->StatusOf(context_->api().cuMemsetD8Async(AddressOf(device), 0, bytes, stream_),
                            "clearing memory");
}

absl::Status Queue::WaitForOthers() {
  const Context::Current current(*context_);
  absl::Status status = context_->WaitForAbandoned(stream_);
  return status.ok() ? Wait(nullptr) : status;
}

absl::Status Queue::TakeRing() {
  if (ring_ != nullptr) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<StagingRing>> ring = context_->staging().Take(*context_);
  if (!ring.ok()) return ring.status();
  ring_ = *std::move(ring);
  return absl::OkStatus();
}

absl::Status Queue::Drain(StagingRing::Slot& slot, Piece& piece) {
  if (slot.in_flight) {
    if (absl::Status status = Wait(slot.event); !status.ok()) return status;
    slot.in_flight = false;
  }
  if (piece.host != nullptr) memcpy(piece.host, slot.host, piece.bytes);
  piece = {};
  return absl::OkStatus();
}

absl::Status Queue::CopyInLarge(CUdeviceptr device, const char* host, size_t bytes) {
  absl::Status status = Flush();
  if (status.ok()) status = TakeRing();
  const DriverApi& api = context_->api();
  Piece none;
  while (status.ok() && bytes > 0) {
    StagingRing::Slot& slot = ring_->Next();
    status = Drain(slot, none);
    if (!status.ok()) break;
    const size_t size = std::min(bytes, StagingRing::kSlotBytes);
    memcpy(slot.host, host, size);
    in_flight_ = slot.in_flight = true;
    status = context_->StatusOf(api.cuMemcpyHtoDAsync_v2(device, slot.host, size, stream_),
                                "copying to it");
    if (!status.ok()) break;
    status = context_->StatusOf(api.cuEventRecord(slot.event, stream_), "recording an event");
    device += size;
    host += size;
    bytes -= size;
  }
  return status;
}

absl::Status Queue::CopyOutLarge() {
  if (large_results_.empty()) return absl::OkStatus();
  absl::Status status = Flush();
  if (status.ok()) status = TakeRing();
  if (!status.ok()) return status;
  const DriverApi& api = context_->api();
  std::array<Piece, StagingRing::kSlots> pieces;
  const auto piece_of = [&](const StagingRing::Slot& slot) -> Piece& {
    return pieces[static_cast<size_t>(&slot - ring_->slots.data())];
  };
  for (LargeResult& result : large_results_) {
    while (result.bytes > 0) {
      StagingRing::Slot& slot = ring_->Next();
      if (status = Drain(slot, piece_of(slot)); !status.ok()) return status;
      const size_t size = std::min(result.bytes, StagingRing::kSlotBytes);
      in_flight_ = slot.in_flight = true;
      status = context_->StatusOf(api.cuMemcpyDtoHAsync_v2(slot.host, result.device, size, stream_),
                                  "copying from it");
      if (!status.ok()) return status;
      status = context_->StatusOf(api.cuEventRecord(slot.event, stream_), "recording an event");
      if (!status.ok()) return status;
      piece_of(slot) = {result.host, size};
      result.device += size;
      result.host += size;
      result.bytes -= size;
    }
  }
  large_results_.clear();
  // The oldest first.
  for (size_t i = 0; i < StagingRing::kSlots; ++i) {
    StagingRing::Slot& slot = ring_->Next();
    if (status = Drain(slot, piece_of(slot)); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Queue::Flush() {
  if (work_.size() == 0) return absl::OkStatus();
  if (absl::Status status = Begin(); !status.ok()) return status;
  // Whatever comes of it, some of it may have been started.
  in_flight_ = true;
  launched_.Add(work_.launches());
  absl::Status status = graphs_.Start(*context_, work_, stream_);
  work_.Clear();
  return status;
}

absl::Status Queue::Interruption() const {
  if (!interruptible()) return absl::OkStatus();
  if (cancel_ != nullptr && __atomic_load_n(cancel_, __ATOMIC_ACQUIRE) != 0) {
    return absl::CancelledError("cancelled");
  }
  if (Now() >= deadline_) return absl::DeadlineExceededError("the deadline passed");
  return absl::OkStatus();
}

CUresult Queue::Poll(CUevent event, absl::Status* interruption) const {
  const DriverApi& api = context_->api();
  const int64_t start = Now();
  for (;;) {
    const CUresult result = event != nullptr ? api.cuEventQuery(event) : api.cuStreamQuery(stream_);
    if (result != CUDA_ERROR_NOT_READY) return result;
    *interruption = Interruption();
    if (!interruption->ok()) return result;
    const int64_t now = Now();
    if (now - start < kWithoutPause) continue;
    const int64_t pause = std::min({(now - start) / 8, kLongestPause, deadline_ - now});
    const struct timespec time = {0, std::max<int64_t>(pause, 1)};
    nanosleep(&time, nullptr);
  }
}

absl::Status Queue::Wait(CUevent event) {
  const DriverApi& api = context_->api();
  absl::Status interruption;
  CUresult result = CUDA_SUCCESS;
  if (interruptible()) {
    result = Poll(event, &interruption);
    if (!interruption.ok()) {
      interrupted_ = true;
      return Abandon(std::move(interruption));
    }
  } else {
    result = event != nullptr ? api.cuEventSynchronize(event) : api.cuStreamSynchronize(stream_);
  }
  if (result != CUDA_SUCCESS) {
    const std::string what = launched_.Describe();
    return context_->StatusOf(result, what.empty() ? "copying" : "running " + what);
  }
  if (event != nullptr) return absl::OkStatus();
  launched_ = {};
  in_flight_ = false;
  if (abandoned_) context_->Settle(abandonment_);
  abandoned_ = false;
  return absl::OkStatus();
}

absl::Status Queue::Abandon(absl::Status interruption) {
  if (abandoned_ || !in_flight_) return interruption;
  absl::Status status = context_->StatusOf(context_->api().cuEventRecord(abandonment_, stream_),
                                           "recording an event");
  if (!status.ok()) return status;
  context_->Abandon(abandonment_);
  abandoned_ = true;
  return interruption;
}

absl::Status Queue::Complete() {
  if (!status_.ok()) return std::exchange(status_, absl::OkStatus());
  if (interrupted_) return absl::OkStatus();  // that was said
  if (absl::Status interruption = Interruption(); !interruption.ok()) {
    return Abandon(std::move(interruption));
  }
  if (absl::Status status = Flush(); !status.ok()) return status;
  if (absl::Status status = CopyOutLarge(); !status.ok()) return status;
  if (in_flight_) {
    if (absl::Status status = Wait(nullptr); !status.ok()) return status;
  }
  for (const SmallResult& result : small_results_) {
    memcpy(result.host, result.pinned, result.bytes);
  }
  return absl::OkStatus();
}

absl::Status Queue::Finish() {
  const Context::Current current(*context_);
  absl::Status status = Complete();
  if (!status.ok() && in_flight_ && !abandoned_) {
    // What was started before the error still uses memory.
    (void)context_->api().cuStreamSynchronize(stream_);
    launched_ = {};
    in_flight_ = false;
  }
  if (ring_ != nullptr) context_->staging().Return(std::move(ring_));
  work_.Clear();
  small_results_.clear();
  large_results_.clear();
  small_used_ = kReadBytes;
  begun_ = interrupted_ = false;
  committed_ = true;
  deadline_ = INT64_MAX;
  cancel_ = nullptr;
  return status;
}

int Queue::Keep(absl::Status status) {
  if (status.ok()) return 0;
  if (absl::IsDeadlineExceeded(status)) return WEFT_ERROR_DEADLINE;
  if (absl::IsCancelled(status)) return WEFT_ERROR_CANCELLED;
  status_.Update(std::move(status));
  return WEFT_ERROR_DEVICE;
}

absl::Status Queue::MoveLargeResults() {
  if (large_results_.empty()) return absl::OkStatus();
  const Context::Current current(*context_);
  return CopyOutLarge();
}

absl::Status Queue::Record(const WeftLaunch& launch) {
  const auto* kernel = reinterpret_cast<const Kernel*>(launch.kernel);
  const int64_t parameters = int64_t{launch.num_buffers} + launch.num_sizes;
  if (kernel->num_parameters >= 0 && kernel->num_parameters != parameters) {
    return absl::InvalidArgumentError(absl::StrCat("expected a kernel of ", launch.num_buffers,
                                                   " buffers and ", launch.num_sizes,
                                                   " sizes, got one of ", kernel->num_parameters,
                                                   " parameters; in ", PlaceOfStep(*launch.step)));
  }
  if (launch.tiles > kMaxBlocks) {
    return absl::ResourceExhaustedError(absl::StrCat("expected at most ", kMaxBlocks,
                                                     " blocks, got ", launch.tiles, "; in ",
                                                     PlaceOfStep(*launch.step)));
  }
  if (absl::Status status = MoveLargeResults(); !status.ok()) return status;
  work_.Launch(*kernel, launch);
  if (work_.words() < kMaxWords) return absl::OkStatus();
  const Context::Current current(*context_);
  return Flush();
}

int Queue::Launch(void* queue, const WeftLaunch* launch) {
  auto* self = static_cast<Queue*>(queue);
  return self->Keep(self->Record(*launch));
}

int Queue::CopyWithin(void* queue, void* destination, const void* source, int64_t bytes) {
  auto* self = static_cast<Queue*>(queue);
  if (bytes <= 0) return 0;
  if (absl::Status status = self->MoveLargeResults(); !status.ok()) return self->Keep(status);
  self->work_.CopyWithin(AddressOf(destination), AddressOf(source), static_cast<size_t>(bytes));
  return 0;
}

absl::Status Queue::ReadPieces(char* host, const void* source, size_t bytes) {
  const Context::Current current(*context_);
  // `small_` is there.
  char* unused = nullptr;
  absl::Status status = Begin();
  if (status.ok()) status = TakeSmall(0, &unused);
  for (bool first = true; status.ok() && (first || bytes > 0); first = false) {
    const size_t size = std::min(bytes, kReadBytes);
    if (size > 0) work_.CopyOut(small_, AddressOf(source), size);
    status = Flush();
    if (status.ok() && in_flight_) status = Wait(nullptr);
    if (!status.ok()) break;
    if (size > 0) memcpy(host, small_, size);
    host += size;
    source = static_cast<const char*>(source) + size;
    bytes -= size;
  }
  return status;
}

int Queue::Read(void* queue, void* host, const void* source, int64_t bytes) {
  auto* self = static_cast<Queue*>(queue);
  return self->Keep(self->ReadPieces(static_cast<char*>(host), source,
                                     static_cast<size_t>(std::max<int64_t>(bytes, 0))));
}

void Queue::Commit(void* queue) { static_cast<Queue*>(queue)->committed_ = true; }

}  // namespace weft::cuda
