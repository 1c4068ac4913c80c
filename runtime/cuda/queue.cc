#include "runtime/cuda/queue.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/blame.h"
#include "runtime/cuda/encode_maps.h"
#include "runtime/gpu_kernel.h"

namespace weft::cuda {
namespace {

// Work that waits to be given to the GPU, in words and starts of work.h, so that memory and graphs
// are bounded.
constexpr size_t kMaxWords = size_t{1} << 16;
constexpr int64_t kMaxStarts = 512;
// A stream takes about 1000 launches and copies; to give it more waits inside the driver, where
// nothing ends that.
constexpr int64_t kMaxUnderWay = 512;

// A wait looks at the stream without a pause for so long, since most work is short, and then after
// pauses of an eighth of what it has waited.
constexpr std::chrono::nanoseconds kWithoutPause(300'000), kLongestPause(500'000);

}  // namespace

void Queue::Resources::Release(const DriverApi& api) {
  graphs.Clear(api);
  if (abandonment != nullptr) (void)api.cuEventDestroy_v2(abandonment);
  if (stream != nullptr) (void)api.cuStreamDestroy_v2(stream);
  if (small != nullptr) (void)api.cuMemFreeHost(small);
}

absl::StatusOr<std::unique_ptr<Queue>> Queue::Make(std::shared_ptr<Context> context,
                                                   std::shared_ptr<Tuner> tuner) {
  if (absl::Status usable = context->Usable(); !usable.ok()) return usable;
  std::unique_ptr<Queue> queue(new Queue(std::move(context), std::move(tuner)));
  Context& shared = *queue->context_;
  Resources& made = *queue->resources_;
  const Context::Current current(shared);
  if (!current.ok()) return current.status();
  absl::Status status = shared.StatusOf(
      shared.api().cuStreamCreate(&made.stream, CU_STREAM_NON_BLOCKING), "making a stream");
  if (!status.ok()) return status;
  status = shared.StatusOf(shared.api().cuEventCreate(&made.abandonment, CU_EVENT_DISABLE_TIMING),
                           "making an event");
  if (!status.ok()) return status;
  // Now, since a run that has begun to write variables must not fail for want of it.
  absl::StatusOr<void*> memory = shared.Pin(kSmallBytes);
  if (!memory.ok()) return memory.status();
  made.small = static_cast<char*>(*memory);
  return queue;
}

Queue::~Queue() {
  const Context::Current current(*context_);
  if (current.ok()) {
    if (in_flight_) Abandon();
    context_->ReleaseLater(
        [resources = resources_](const DriverApi& api) { resources->Release(api); });
    calls_.clear();
  }
  // Plans do not outlive their queues.
  context_->ForgetUnderWay(this);
}

int64_t Queue::held_bytes() const {
  int64_t bytes = static_cast<int64_t>(kSmallBytes) + resources_->graphs.bytes();
  for (const auto& calls : calls_) bytes += calls->held_bytes();
  return bytes;
}

absl::Status Queue::Tune(const TuningRequest& request) {
  if (tuner_ == nullptr) return absl::OkStatus();
  if (absl::Status usable = context_->Usable(); !usable.ok()) return usable;
  const Context::Current current(*context_);
  if (!current.ok()) return current.status();
  // As a run before its commit.
  committed_ = false;
  deadline_ = request.limits.deadline();
  cancel_ = reinterpret_cast<const uint8_t*>(request.limits.cancel());
  absl::StatusOr<std::unique_ptr<LibraryCalls>> calls = tuner_->Tune(request, stream(), [this] {
    in_flight_ = true;
    return Wait(nullptr);
  });
  committed_ = true;
  deadline_ = INT64_MAX;
  cancel_ = nullptr;
  interrupted_ = false;
  if (calls.ok() && *calls != nullptr) calls_.push_back(*std::move(calls));
  return calls.status();
}

void Queue::Bind(WeftRunArgs* args) {
  static const WeftDeviceFunctions functions = {Launch, CopyWithin, Read, Commit, Write};
  args->device = &functions;
  args->queue = this;
  deadline_ = args->deadline;
  cancel_ = args->cancel;
  committed_ = false;
  may_have_written_ = false;
}

absl::Status Queue::Begin() {
  if (begun_) return absl::OkStatus();
  if (absl::Status usable = context_->Usable(); !usable.ok()) return usable;
  if (abandoned_) {
    // Pinned memory and the arena are still in use.
    if (absl::Status status = Wait(nullptr); !status.ok()) return status;
  }
  absl::Status status = context_->WaitForAbandoned(stream(), &in_flight_);
  begun_ = status.ok();
  return status;
}

char* Queue::TakeSmall(size_t bytes) {
  if (bytes > kSmallBytes - written_ - small_used_) return nullptr;
  char* pinned = resources_->small + small_used_;
  small_used_ = std::min(kSmallBytes - written_, small_used_ + (bytes + 63) / 64 * 64);
  return pinned;
}

char* Queue::TakeForWrite(size_t bytes) {
  const size_t left = kSmallBytes - written_ - small_used_, rounded = (bytes + 63) / 64 * 64;
  if (writes_ == kMaxWrites || bytes > left || rounded > left) return nullptr;
  ++writes_;
  written_ += rounded;
  return resources_->small + kSmallBytes - written_;
}

absl::Status Queue::CopyIn(void* device, const void* host, size_t bytes) {
  return Bring(AddressOf(device), static_cast<const char*>(host), bytes, /*write=*/false);
}

absl::Status Queue::Bring(CUdeviceptr device, const char* host, size_t bytes, bool write) {
  if (bytes == 0) return absl::OkStatus();
  const Context::Current current(*context_);
  if (!current.ok()) return current.status();
  if (absl::Status status = Begin(); !status.ok()) return status;
  if (absl::Status status = CopyOutLarge(); !status.ok()) return status;
  char* pinned = write ? TakeForWrite(bytes) : TakeSmall(bytes);
  // A wait frees what writes have, not what feeds and outputs have.
  if (pinned == nullptr && write && (bytes + 63) / 64 * 64 <= kSmallBytes - small_used_ &&
      bytes <= kReadBytes) {
    absl::Status status = Flush();
    if (status.ok() && in_flight_) status = Wait(nullptr);
    if (!status.ok()) return status;
    pinned = TakeForWrite(bytes);
  }
  if (pinned != nullptr) {
    memcpy(pinned, host, bytes);
    work_.CopyIn(device, pinned, bytes);
    return absl::OkStatus();
  }
  if (absl::Status status = Flush(); !status.ok()) return status;
  // Of all that may run short of memory here only the ring can be done without: what was flushed
  // and refused is lost.
  absl::Status ring = TakeRing();
  if (ring.ok()) return CopyInLarge(device, host, bytes);
  return write && absl::IsResourceExhausted(ring) ? WritePieces(device, host, bytes) : ring;
}

absl::Status Queue::CopyOut(void* host, const void* device, size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  const Context::Current current(*context_);
  if (!current.ok()) return current.status();
  if (absl::Status status = Begin(); !status.ok()) return status;
  char* pinned = TakeSmall(bytes);
  if (pinned == nullptr) {
    large_results_.push_back({static_cast<char*>(host), AddressOf(device), bytes});
    return absl::OkStatus();
  }
  work_.CopyOut(pinned, AddressOf(device), bytes);
  small_results_.push_back({host, pinned, bytes});
  return absl::OkStatus();
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
  if (piece.host != nullptr) {
    memcpy(piece.host, slot.host, piece.bytes);
    delivering_ = delivering_ || piece.is_result;
  }
  piece = {};
  return absl::OkStatus();
}

absl::Status Queue::CopyInLarge(CUdeviceptr device, const char* host, size_t bytes) {
  absl::Status status;
  const DriverApi& api = context_->api();
  Piece none;
  while (status.ok() && bytes > 0) {
    StagingRing::Slot& slot = ring_->Next();
    status = Drain(slot, none);
    if (!status.ok()) break;
    const size_t size = std::min(bytes, StagingRing::kSlotBytes);
    memcpy(slot.host, host, size);
    in_flight_ = slot.in_flight = true;
    // What another device made may go into a variable.
    may_have_written_ = may_have_written_ || committed_;
    status = context_->StatusOf(api.cuMemcpyHtoDAsync_v2(device, slot.host, size, stream()),
                                "copying to it");
    if (!status.ok()) break;
    status = context_->StatusOf(api.cuEventRecord(slot.event, stream()), "recording an event");
    device += size;
    host += size;
    bytes -= size;
  }
  return status;
}

absl::Status Queue::CopyOutLarge() {
  if (large_results_.empty()) return absl::OkStatus();
  if (absl::Status status = Flush(); !status.ok()) return status;
  return ReadLarge(std::exchange(large_results_, {}), /*are_results=*/true);
}

absl::Status Queue::ReadLarge(std::vector<LargeResult> all, bool are_results) {
  absl::Status status = TakeRing();
  if (absl::IsResourceExhausted(status)) {
    // More slowly, since what the run computed is not to be lost for that.
    for (const LargeResult& one : all) {
      status = ReadPieces(one.host, one.device, one.bytes, are_results);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }
  if (!status.ok()) return status;
  const DriverApi& api = context_->api();
  std::array<Piece, StagingRing::kSlots> pieces;
  const auto piece_of = [&](const StagingRing::Slot& slot) -> Piece& {
    return pieces[static_cast<size_t>(&slot - ring_->slots.data())];
  };
  for (LargeResult& one : all) {
    while (one.bytes > 0) {
      StagingRing::Slot& slot = ring_->Next();
      if (status = Drain(slot, piece_of(slot)); !status.ok()) return status;
      const size_t size = std::min(one.bytes, StagingRing::kSlotBytes);
      in_flight_ = slot.in_flight = true;
      status = context_->StatusOf(api.cuMemcpyDtoHAsync_v2(slot.host, one.device, size, stream()),
                                  "copying from it");
      if (!status.ok()) return status;
      status = context_->StatusOf(api.cuEventRecord(slot.event, stream()), "recording an event");
      if (!status.ok()) return status;
      piece_of(slot) = {one.host, size, are_results};
      one.device += size;
      one.host += size;
      one.bytes -= size;
    }
  }
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
  if (interruptible() && given_ >= kMaxUnderWay) {
    if (absl::Status status = Wait(nullptr); !status.ok()) return status;
  }
  in_flight_ = true;
  const Launches before = launched_;
  Launches all = before;
  all.Add(work_.launches());
  // Whoever is told of an error while this is given has to know of all of it.
  SetUnderWay(all);
  given_ += work_.starts();
  const Issued issued = resources_->graphs.Start(context_->api(), work_, stream());
  // Of what a library refuses, a part may have been started.
  const int64_t started = issued.size + (issued.library_error == nullptr ? 0 : 1);
  if (committed_ && started > committed_at_) may_have_written_ = true;
  committed_at_ = 0;
  work_.Clear();
  if (issued.result == CUDA_SUCCESS) return absl::OkStatus();
  // What was not given is not to blame.
  all = before;
  all.Add(issued.launches);
  SetUnderWay(all);
  const std::string refused = issued.refused.Describe();
  if (issued.library_error != nullptr) {
    // It also refuses where what was given before has failed: that is to blame, and remembered.
    const CUresult before_it = context_->api().cuStreamQuery(stream());
    if (before_it != CUDA_ERROR_NOT_READY && before_it != CUDA_SUCCESS) {
      return context_->StatusOf(before_it, "launching " + refused, /*waiting=*/true);
    }
    return absl::InternalError(absl::StrCat(context_->name(), ": launching ", refused,
                                            " by a library: ", issued.library_error));
  }
  return context_->StatusOf(issued.result,
                            refused.empty() ? "starting work" : "launching " + refused);
}

void Queue::NothingIsUnderWay() {
  SetUnderWay({});
  given_ = 0;
  in_flight_ = false;
  // What was not given to it yet may copy from there.
  if (work_.size() > 0) return;
  written_ = 0;
  writes_ = 0;
}

void Queue::SetUnderWay(const Launches& launches) {
  launched_ = launches;
  context_->SetUnderWay(this, launches);
}

absl::Status Queue::Interruption() const {
  switch (interruptible() ? weft_interrupted(deadline_, cancel_) : WEFT_OK) {
    case WEFT_ERROR_CANCELLED:
      return absl::CancelledError("cancelled");
    case WEFT_ERROR_DEADLINE:
      return absl::DeadlineExceededError("the deadline passed");
    default:
      return absl::OkStatus();
  }
}

CUresult Queue::Poll(CUevent event, absl::Status* interruption) const {
  using Clock = std::chrono::steady_clock;
  const DriverApi& api = context_->api();
  const Clock::time_point start = Clock::now();
  for (;;) {
    const CUresult result =
        event != nullptr ? api.cuEventQuery(event) : api.cuStreamQuery(stream());
    if (result != CUDA_ERROR_NOT_READY) return result;
    *interruption = Interruption();
    if (!interruption->ok()) return result;
    const std::chrono::nanoseconds waited = Clock::now() - start;
    if (waited >= kWithoutPause) std::this_thread::sleep_for(std::min(waited / 8, kLongestPause));
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
      Abandon();
      return interruption;
    }
  } else {
    result = event != nullptr ? api.cuEventSynchronize(event) : api.cuStreamSynchronize(stream());
  }
  if (result != CUDA_SUCCESS) {
    const std::string what = launched_.Describe();
    return context_->StatusOf(result, what.empty() ? "copying" : "running " + what,
                              /*waiting=*/true);
  }
  if (event != nullptr) return absl::OkStatus();
  NothingIsUnderWay();
  if (abandoned_) context_->Settle(resources_->abandonment);
  abandoned_ = false;
  return absl::OkStatus();
}

void Queue::Abandon() {
  if (abandoned_ || !in_flight_) return;
  if (context_->api().cuEventRecord(resources_->abandonment, stream()) == CUDA_SUCCESS) {
    context_->Abandon(resources_->abandonment);
    abandoned_ = true;
    return;
  }
  // Of a lost context nothing is under way; of another one nobody else could know when it is done.
  (void)context_->api().cuStreamSynchronize(stream());
  NothingIsUnderWay();
}

absl::Status Queue::Complete() {
  if (!status_.ok()) return std::exchange(status_, absl::OkStatus());
  if (interrupted_) return absl::OkStatus();  // that was said
  if (absl::Status interruption = Interruption(); !interruption.ok()) return interruption;
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
  absl::Status status = current.ok() ? Complete() : current.status();
  if (!status.ok()) {
    if (current.ok()) Abandon();
    // What variables hold is not to be had any more.
    if (committed_ && !context_->Usable().ok()) may_have_written_ = true;
  }
  status_ = absl::OkStatus();
  if (ring_ != nullptr) context_->staging().Return(std::move(ring_));
  work_.Clear();
  small_results_.clear();
  large_results_.clear();
  small_used_ = kReadBytes;
  written_ = 0;
  writes_ = 0;
  begun_ = interrupted_ = delivering_ = false;
  committed_ = true;
  committed_at_ = 0;
  deadline_ = INT64_MAX;
  cancel_ = nullptr;
  // What others gave back meanwhile.
  if (current.ok()) context_->Release();
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
  return current.ok() ? CopyOutLarge() : current.status();
}

absl::Status Queue::Record(const WeftLaunch& launch) {
  const auto* kernel = reinterpret_cast<const Kernel*>(launch.kernel);
  absl::Status status =
      CheckGpuLaunch(launch, kernel->maps, kernel->num_parameters, kernel->max_scratch_bytes);
  const LibraryCall* call = nullptr;
  for (const auto& calls : calls_) {
    if (call == nullptr) call = calls->Find(launch.step);
  }
  absl::StatusOr<const std::vector<CUtensorMap>*> maps = nullptr;
  if (status.ok() && call == nullptr) {
    maps = maps_.Of(*context_, *kernel, launch);
    status = maps.status();
  }
  if (status.ok()) status = MoveLargeResults();
  if (!status.ok()) return status;
  if (call != nullptr) {
    work_.Call(*call, launch);
  } else {
    work_.Launch(*kernel, launch, **maps);
  }
  return FlushWhereFull();
}

absl::Status Queue::FlushWhereFull() {
  if (work_.words() < kMaxWords && work_.starts() < kMaxStarts) return absl::OkStatus();
  const Context::Current current(*context_);
  return current.ok() ? Flush() : current.status();
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
  return self->Keep(self->FlushWhereFull());
}

absl::Status Queue::ReadPieces(char* host, CUdeviceptr source, size_t bytes, bool is_result) {
  absl::Status status = Begin();
  for (bool first = true; status.ok() && (first || bytes > 0); first = false) {
    const size_t size = std::min(bytes, kReadBytes);
    if (size > 0) work_.CopyOut(resources_->small, source, size);
    status = Flush();
    if (status.ok() && in_flight_) status = Wait(nullptr);
    if (!status.ok()) break;
    if (size > 0) memcpy(host, resources_->small, size);
    delivering_ = delivering_ || is_result;
    host += size;
    source += size;
    bytes -= size;
  }
  return status;
}

absl::Status Queue::WritePieces(CUdeviceptr destination, const char* host, size_t bytes) {
  absl::Status status = Begin();
  while (status.ok() && bytes > 0) {
    const size_t size = std::min(bytes, kReadBytes);
    status = Flush();
    if (status.ok() && in_flight_) status = Wait(nullptr);
    if (!status.ok()) break;
    memcpy(resources_->small, host, size);
    work_.CopyIn(destination, resources_->small, size);
    destination += size;
    host += size;
    bytes -= size;
  }
  if (status.ok()) status = Flush();
  return status.ok() && in_flight_ ? Wait(nullptr) : status;
}

int Queue::Write(void* queue, void* destination, const void* host, int64_t bytes) {
  auto* self = static_cast<Queue*>(queue);
  // More slowly where nothing can be pinned, since a run that has begun to write variables must not
  // fail for want of that.
  return self->Keep(self->Bring(AddressOf(destination), static_cast<const char*>(host),
                                static_cast<size_t>(std::max<int64_t>(bytes, 0)),
                                /*write=*/true));
}

int Queue::Read(void* queue, void* host, const void* source, int64_t bytes) {
  auto* self = static_cast<Queue*>(queue);
  const Context::Current current(*self->context_);
  if (!current.ok()) return self->Keep(current.status());
  const auto size = static_cast<size_t>(std::max<int64_t>(bytes, 0));
  char* to = static_cast<char*>(host);
  if (size <= kReadBytes) {
    return self->Keep(self->ReadPieces(to, AddressOf(source), size, /*is_result=*/false));
  }
  absl::Status status = self->Begin();
  if (status.ok()) status = self->Flush();
  if (status.ok()) {
    status = self->ReadLarge({{to, AddressOf(source), size}}, /*are_results=*/false);
  }
  return self->Keep(std::move(status));
}

void Queue::Commit(void* queue) {
  auto* self = static_cast<Queue*>(queue);
  self->committed_ = true;
  self->committed_at_ = self->work_.size();
}

}  // namespace weft::cuda
