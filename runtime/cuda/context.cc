#include "runtime/cuda/context.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace weft::cuda {
namespace {

// The first generation that the compiler makes code for.
constexpr int kMinCapability = 70;

}  // namespace

absl::StatusOr<std::shared_ptr<Context>> Context::Open(const Driver* driver, int ordinal) {
  static std::mutex& mutex = *new std::mutex;
  static auto& opened = *new std::map<std::pair<const Driver*, int>, std::weak_ptr<Context>>;
  std::lock_guard<std::mutex> lock(mutex);
  std::weak_ptr<Context>& known = opened[{driver, ordinal}];
  if (std::shared_ptr<Context> context = known.lock(); context != nullptr) return context;
  std::shared_ptr<Context> context(new Context(driver));
  if (absl::Status status = context->Describe(ordinal); !status.ok()) return status;
  CUcontext primary = nullptr;
  absl::Status status = context->StatusOf(
      driver->api().cuDevicePrimaryCtxRetain(&primary, context->device_), "taking its context");
  if (!status.ok()) return status;
  context->context_ = primary;
  if (status = context->MakeStream(); !status.ok()) return status;
  known = context;
  return context;
}

absl::Status Context::MakeStream() {
  const Current current(*this);
  if (!current.ok()) return current.status();
  absl::Status status =
      StatusOf(api().cuStreamCreate(&clearing_, CU_STREAM_NON_BLOCKING), "making a stream");
  if (!status.ok()) return status;
  return StatusOf(api().cuEventCreate(&cleared_, CU_EVENT_DISABLE_TIMING), "making an event");
}

absl::Status Context::Describe(int ordinal) {
  const DriverApi& driver_api = api();
  name_ = absl::StrCat("cuda:", ordinal);
  int count = 0;
  absl::Status status = StatusOf(driver_api.cuDeviceGetCount(&count), "counting GPUs");
  if (!status.ok()) return status;
  if (ordinal < 0 || ordinal >= count) {
    return absl::InvalidArgumentError(
        absl::StrCat(name_, ": expected ", count == 1 ? "cuda:0, the only GPU" : "",
                     count > 1 ? absl::StrCat("one of cuda:0 to cuda:", count - 1) : "",
                     count == 0 ? "a GPU, and the driver finds none" : " that the driver finds",
                     "; nvidia-smi lists them, and CUDA_VISIBLE_DEVICES hides some"));
  }
  char model[256] = "";
  int major = 0, minor = 0;
  status = StatusOf(driver_api.cuDeviceGet(&device_, ordinal), "looking at it");
  const auto attribute = [&](int* value, CUdevice_attribute which) {
    if (status.ok()) {
      status = StatusOf(driver_api.cuDeviceGetAttribute(value, which, device_), "looking at it");
    }
  };
  attribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  attribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  attribute(&max_block_threads_, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  attribute(&max_shared_bytes_, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  attribute(&multiprocessors_, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  if (status.ok()) {
    status =
        StatusOf(driver_api.cuDeviceGetName(model, sizeof(model) - 1, device_), "looking at it");
  }
  if (!status.ok()) return status;
  sm_ = 10 * major + minor;
  absl::StrAppend(&name_, " (", model, ", sm_", sm_, ")");
  if (sm_ < kMinCapability) {
    return absl::FailedPreconditionError(absl::StrCat(
        name_, ": expected a GPU of compute capability ", kMinCapability / 10, ".",
        kMinCapability % 10, " or more, got ", major, ".", minor, "; choose another device"));
  }
  return absl::OkStatus();
}

Context::~Context() {
  if (context_ == nullptr) return;
  {
    const Current current(*this);
    if (current.ok()) {
      for (const Abandoned& abandoned : abandoned_) {
        (void)api().cuEventSynchronize(abandoned.event);
      }
      for (const Deferred& deferred : deferred_) deferred.release(api());
      staging_.Clear(api());
      if (cleared_ != nullptr) (void)api().cuEventDestroy_v2(cleared_);
      if (clearing_ != nullptr) (void)api().cuStreamDestroy_v2(clearing_);
    }
  }
  (void)api().cuDevicePrimaryCtxRelease_v2(device_);
}

absl::Status Context::StatusOf(CUresult result, const std::string& doing, bool waiting) {
  if (result == CUDA_SUCCESS) return absl::OkStatus();
  const std::string said = driver_->Describe(result);
  if (EndsContext(result, waiting)) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::string running;
    for (const auto& [queue, launches] : under_way_) {
      if (launches.count == 0) continue;
      absl::StrAppend(&running, running.empty() ? "running " : ", or at the same time ",
                      launches.Describe());
    }
    const std::string text =
        absl::StrCat(name_, ": ", running.empty() ? doing : running, ": ", said);
    if (lost_.empty()) lost_ = text;
    return absl::InternalError(text);
  }
  return absl::Status(result == CUDA_ERROR_OUT_OF_MEMORY ? absl::StatusCode::kResourceExhausted
                                                         : absl::StatusCode::kInternal,
                      absl::StrCat(name_, ": ", doing, ": ", said));
}

absl::Status Context::Usable() const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (lost_.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "this process cannot use the GPU any more and has to be started anew, after: ", lost_));
}

void Context::SetUnderWay(const void* queue, const Launches& launches) {
  std::lock_guard<std::mutex> lock(mutex_);
  under_way_[queue] = launches;
}

void Context::ForgetUnderWay(const void* queue) {
  std::lock_guard<std::mutex> lock(mutex_);
  under_way_.erase(queue);
}

void Context::Abandon(CUevent event) {
  std::lock_guard<std::mutex> lock(abandoned_mutex_);
  ++last_number_;
  // Recorded anew it is done later, and what waits for it as it was waits longer.
  for (const Abandoned& abandoned : abandoned_) {
    if (abandoned.event == event) return;
  }
  abandoned_.push_back({event, last_number_});
}

void Context::Settle(CUevent event) {
  std::lock_guard<std::mutex> lock(abandoned_mutex_);
  std::erase_if(abandoned_, [&](const Abandoned& abandoned) { return abandoned.event == event; });
}

void Context::ForgetDone() {
  // After an error nothing is under way any more.
  std::erase_if(abandoned_, [&](const Abandoned& abandoned) {
    return api().cuEventQuery(abandoned.event) != CUDA_ERROR_NOT_READY;
  });
}

absl::Status Context::WaitForAbandoned(CUstream stream, bool* waits) {
  std::lock_guard<std::mutex> lock(abandoned_mutex_);
  ForgetDone();
  for (const Abandoned& abandoned : abandoned_) {
    *waits = true;
    absl::Status status = StatusOf(api().cuStreamWaitEvent(stream, abandoned.event, 0),
                                   "waiting for work that was given up");
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void Context::ReleaseLater(std::function<void(const DriverApi&)> release) {
  {
    std::lock_guard<std::mutex> lock(abandoned_mutex_);
    deferred_.push_back({std::move(release), last_number_});
  }
  Release();
}

void Context::Release() {
  std::vector<Deferred> done;
  {
    std::lock_guard<std::mutex> lock(abandoned_mutex_);
    if (deferred_.empty()) return;
    ForgetDone();
    uint64_t first = UINT64_MAX;
    for (const Abandoned& abandoned : abandoned_) first = std::min(first, abandoned.number);
    const auto kept =
        std::partition(deferred_.begin(), deferred_.end(),
                       [&](const Deferred& deferred) { return deferred.number < first; });
    done.assign(std::make_move_iterator(deferred_.begin()), std::make_move_iterator(kept));
    deferred_.erase(deferred_.begin(), kept);
  }
  for (const Deferred& deferred : done) deferred.release(api());
}

CUresult Context::AllocateNow(size_t bytes, CUdeviceptr* address) {
  Release();
  const CUresult result = api().cuMemAlloc_v2(address, bytes);
  if (result != CUDA_ERROR_OUT_OF_MEMORY) return result;
  // Some may be free but for what is cleared yet.
  FinishClearing();
  return api().cuMemAlloc_v2(address, bytes);
}

absl::StatusOr<CUdeviceptr> Context::Allocate(size_t bytes, const RunLimits& limits) {
  // How often somebody looks whether work that was given up is done, behind which memory is freed.
  constexpr auto kPoll = std::chrono::milliseconds(5);
  for (;;) {
    std::unique_lock<std::mutex> lock(borrowing_mutex_);
    const uint64_t before = returned_;
    lock.unlock();
    CUdeviceptr address = 0;
    const CUresult result = AllocateNow(bytes, &address);
    if (result == CUDA_SUCCESS) return address;
    size_t free = 0, total = 0;
    if (result != CUDA_ERROR_OUT_OF_MEMORY ||
        api().cuMemGetInfo_v2(&free, &total) != CUDA_SUCCESS) {
      return StatusOf(result, absl::StrCat("allocating ", bytes, " bytes"));
    }
    lock.lock();
    for (;;) {
      if (returned_ == before && (borrowed_ == 0 || free + borrowed_ < bytes)) {
        return absl::ResourceExhaustedError(
            absl::StrCat(name_, ": expected ", bytes, " bytes of memory in one piece, ", free,
                         " of ", total, " are free: ", driver_->Describe(result)));
      }
      if (absl::Status ended = limits.Check("waiting for memory"); !ended.ok()) return ended;
      if (returned_ != before) break;
      has_returned_.wait_for(lock, kPoll);
      lock.unlock();
      Release();
      lock.lock();
    }
  }
}

CUdeviceptr Context::Borrow(size_t bytes) {
  {
    const std::lock_guard<std::mutex> lock(borrowing_mutex_);
    borrowed_ += bytes;
  }
  CUdeviceptr address = 0;
  if (AllocateNow(bytes, &address) == CUDA_SUCCESS) return address;
  CountReturn(bytes);
  return 0;
}

void Context::Return(CUdeviceptr borrowed, size_t bytes) {
  const Current current(*this);
  // What cannot be given back is nothing to wait for.
  if (!current.ok()) return CountReturn(bytes);
  ReleaseLater([this, borrowed, bytes](const DriverApi& api) {
    (void)api.cuMemFree_v2(borrowed);
    CountReturn(bytes);
  });
}

void Context::CountReturn(size_t bytes) {
  const std::lock_guard<std::mutex> lock(borrowing_mutex_);
  borrowed_ -= bytes;
  ++returned_;
  has_returned_.notify_all();
}

absl::StatusOr<void*> Context::Pin(size_t bytes) {
  void* memory = nullptr;
  const CUresult result = api().cuMemHostAlloc(&memory, bytes, 0);
  if (result == CUDA_SUCCESS) return memory;
  // What helps where the GPU's own memory is short does not help here.
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    return absl::ResourceExhaustedError(absl::StrCat(
        name_, ": expected ", bytes,
        " bytes of the host's memory that can be pinned, got none; see "
        "what is free and what may be locked (ulimit -l), or keep fewer calls (max_cached_bytes)"));
  }
  return StatusOf(result, absl::StrCat("pinning ", bytes, " bytes of the host"));
}

absl::Status Context::Clear(CUdeviceptr address, size_t bytes) {
  std::lock_guard<std::mutex> lock(clearing_mutex_);
  absl::Status status =
      StatusOf(api().cuMemsetD8Async(address, 0, bytes, clearing_), "clearing memory");
  if (!status.ok()) return status;
  if (api().cuEventRecord(cleared_, clearing_) == CUDA_SUCCESS) {
    Abandon(cleared_);
    return absl::OkStatus();
  }
  return StatusOf(api().cuStreamSynchronize(clearing_), "clearing memory", /*waiting=*/true);
}

void Context::FinishClearing() {
  (void)api().cuStreamSynchronize(clearing_);
  Release();
}

}  // namespace weft::cuda
