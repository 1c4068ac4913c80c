#include "runtime/cuda/context.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace weft::cuda {
namespace {

// The first generation that the compiler makes code for.
constexpr int kMinCapability = 70;

// After these the driver refuses everything else in the context.
bool EndsContext(CUresult result) {
  constexpr CUresult kErrors[] = {
      CUDA_ERROR_ECC_UNCORRECTABLE,
      CUDA_ERROR_NVLINK_UNCORRECTABLE,
      CUDA_ERROR_CONTAINED,
      CUDA_ERROR_ILLEGAL_ADDRESS,
      CUDA_ERROR_LAUNCH_TIMEOUT,
      CUDA_ERROR_CONTEXT_IS_DESTROYED,
      CUDA_ERROR_ASSERT,
      CUDA_ERROR_HARDWARE_STACK_ERROR,
      CUDA_ERROR_ILLEGAL_INSTRUCTION,
      CUDA_ERROR_MISALIGNED_ADDRESS,
      CUDA_ERROR_INVALID_ADDRESS_SPACE,
      CUDA_ERROR_INVALID_PC,
      CUDA_ERROR_LAUNCH_FAILED,
      CUDA_ERROR_EXTERNAL_DEVICE,
      CUDA_ERROR_UNKNOWN,
  };
  return std::find(std::begin(kErrors), std::end(kErrors), result) != std::end(kErrors);
}

}  // namespace

absl::StatusOr<std::shared_ptr<Context>> Context::Open(const Driver* driver, int ordinal) {
  std::shared_ptr<Context> context(new Context(driver));
  if (absl::Status status = context->Describe(ordinal); !status.ok()) return status;
  CUcontext primary = nullptr;
  absl::Status status = context->StatusOf(
      driver->api().cuDevicePrimaryCtxRetain(&primary, context->device_), "taking its context");
  if (!status.ok()) return status;
  context->context_ = primary;
  return context;
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
    staging_.Clear(api());
  }
  (void)api().cuDevicePrimaryCtxRelease_v2(device_);
}

absl::Status Context::StatusOf(CUresult result, const std::string& doing) {
  if (result == CUDA_SUCCESS) return absl::OkStatus();
  const std::string text = absl::StrCat(name_, ": ", doing, ": ", driver_->Describe(result));
  if (EndsContext(result)) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (lost_.empty()) lost_ = text;
    return absl::InternalError(text);
  }
  return absl::Status(result == CUDA_ERROR_OUT_OF_MEMORY ? absl::StatusCode::kResourceExhausted
                                                         : absl::StatusCode::kInternal,
                      text);
}

absl::Status Context::Usable() const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (lost_.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "this process cannot use the GPU any more and has to be started anew, after: ", lost_));
}

void Context::Abandon(CUevent event) {
  std::lock_guard<std::mutex> lock(mutex_);
  abandoned_.push_back(event);
}

void Context::Settle(CUevent event) {
  std::lock_guard<std::mutex> lock(mutex_);
  abandoned_.erase(std::remove(abandoned_.begin(), abandoned_.end(), event), abandoned_.end());
}

bool Context::has_abandoned() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return !abandoned_.empty();
}

absl::Status Context::WaitForAbandoned(CUstream stream) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const CUevent event : abandoned_) {
    const CUresult result = api().cuStreamWaitEvent(stream, event, 0);
    if (result != CUDA_SUCCESS) {
      return absl::InternalError(
          absl::StrCat(name_, ": waiting for abandoned work: ", driver_->Describe(result)));
    }
  }
  return absl::OkStatus();
}

}  // namespace weft::cuda
