#include "runtime/cuda/driver.h"

#include <dlfcn.h>

#include <map>
#include <memory>
#include <mutex>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace weft::cuda {
namespace {

// The first that instantiates graphs as we do (cuGraphInstantiateWithFlags).
constexpr int kMinVersion = 11040;

struct Advice {
  CUresult result;
  const char* text;
};
constexpr Advice kAdvice[] = {
    {CUDA_ERROR_OUT_OF_MEMORY,
     "feed smaller batches, or end other programs on the GPU (nvidia-smi lists them)"},
    {CUDA_ERROR_STUB_LIBRARY,
     "this is the toolkit's stub of the driver: take its folder out of the library path"},
    {CUDA_ERROR_DEVICE_UNAVAILABLE,
     "another process has the GPU for itself, or its compute mode allows none (nvidia-smi)"},
    {CUDA_ERROR_NO_DEVICE,
     "see what nvidia-smi lists and whether the environment's CUDA_VISIBLE_DEVICES hides it"},
    {CUDA_ERROR_JIT_COMPILER_NOT_FOUND,
     "install the driver's libnvidia-ptxjitcompiler.so.1 (in a container: the capability compute)"},
    {CUDA_ERROR_JIT_COMPILATION_DISABLED, "take CUDA_DISABLE_PTX_JIT out of the environment"},
    {CUDA_ERROR_OPERATING_SYSTEM, "see the kernel's log (dmesg)"},
    {CUDA_ERROR_SYSTEM_NOT_READY,
     "start the service of the links between GPUs (nvidia-fabricmanager), of the driver's version"},
    {CUDA_ERROR_SYSTEM_DRIVER_MISMATCH,
     "the driver in the kernel and its library are of different versions: restart the machine "
     "after "
     "an update of the driver"},
    {CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE,
     "take the folder of cuda-compat out of the library path"},
    {CUDA_ERROR_UNKNOWN,
     "see the kernel's log (dmesg), and whether its module nvidia_uvm is loaded"},
};

const char* AdviceFor(CUresult result) {
  for (const Advice& advice : kAdvice) {
    if (advice.result == result) return advice.text;
  }
  // All of these are the same service's.
  const bool mps =
      result >= CUDA_ERROR_MPS_CONNECTION_FAILED && result <= CUDA_ERROR_MPS_CLIENT_TERMINATED;
  return mps ? "see the log of the MPS server (nvidia-cuda-mps-control)" : nullptr;
}

template <typename Function>
bool FindSymbol(void* handle, const char* symbol, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(handle, symbol));
  return *function != nullptr;
}

}  // namespace

std::string VersionText(int version) {
  return absl::StrCat(version / 1000, ".", version % 1000 / 10);
}

absl::StatusOr<const Driver*> Driver::Load(const std::string& library) {
  // Those that were loaded; they stay, since a driver leaves threads and handlers behind.
  static std::mutex& mutex = *new std::mutex;
  static auto& loaded = *new std::map<std::string, std::unique_ptr<const Driver>>;
  std::lock_guard<std::mutex> lock(mutex);
  if (const auto found = loaded.find(library); found != loaded.end()) return found->second.get();
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = dlerror();
    return absl::FailedPreconditionError(
        absl::StrCat("cuda: expected NVIDIA's driver, but ", library, " cannot be loaded (",
                     why == nullptr ? "no reason given" : why,
                     "); install the driver, or choose another device"));
  }
  std::unique_ptr<Driver> driver(new Driver);
  absl::Status status = driver->Find(handle, library);
  if (status.ok()) status = driver->Initialize();
  if (!status.ok()) return status;
  return (loaded[library] = std::move(driver)).get();
}

absl::Status Driver::Find(void* handle, const std::string& library) {
  // The version comes first: it says why something else is missing.
  if (FindSymbol(handle, "cuDriverGetVersion", &api_.cuDriverGetVersion)) {
    const CUresult result = api_.cuDriverGetVersion(&version_);
    if (result != CUDA_SUCCESS) {
      // Not in the library's own words: those of a stub cannot be called.
      const char* advice = AdviceFor(result);
      return absl::FailedPreconditionError(absl::StrCat(
          "cuda: expected NVIDIA's driver, but ", library, " does not tell its version (error ",
          static_cast<int>(result), "); ", advice == nullptr ? "install the driver" : advice));
    }
    if (version_ < kMinVersion) {
      return absl::FailedPreconditionError(
          absl::StrCat("cuda: expected a driver for CUDA ", VersionText(kMinVersion),
                       " or newer, got one for ", VersionText(version_), "; update the driver"));
    }
  }
  const char* missing = nullptr;
#define WEFT_CUDA_FIND(symbol, parameters) \
  if (!FindSymbol(handle, #symbol, &api_.symbol) && missing == nullptr) missing = #symbol;
  WEFT_CUDA_DRIVER_FUNCTIONS(WEFT_CUDA_FIND)
#undef WEFT_CUDA_FIND
  if (missing != nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("cuda: expected a whole driver, but ", library, " has no function ", missing,
                     "; install NVIDIA's driver again, or another version of it"));
  }
#define WEFT_CUDA_FIND(symbol, parameters) (void)FindSymbol(handle, #symbol, &api_.symbol);
  WEFT_CUDA_OPTIONAL_FUNCTIONS(WEFT_CUDA_FIND)
#undef WEFT_CUDA_FIND
  return absl::OkStatus();
}

absl::Status Driver::Initialize() {
  const CUresult result = api_.cuInit(0);
  if (result == CUDA_SUCCESS) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("cuda: the driver cannot be initialised: ", Describe(result)));
}

bool EndsContext(CUresult result, bool waiting) {
  switch (result) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_TENSOR_MEMORY_LEAK:
    case CUDA_ERROR_MPS_CLIENT_TERMINATED:
    case CUDA_ERROR_EXTERNAL_DEVICE:
      return true;
    case CUDA_ERROR_UNKNOWN:
      return waiting;
    default:
      return false;
  }
}

std::string Driver::Describe(CUresult result) const {
  const char* name = nullptr;
  const char* text = nullptr;
  std::string described;
  if (api_.cuGetErrorName(result, &name) != CUDA_SUCCESS || name == nullptr) {
    described = absl::StrCat("error ", static_cast<int>(result));
  } else if (api_.cuGetErrorString(result, &text) != CUDA_SUCCESS || text == nullptr) {
    described = name;
  } else {
    described = absl::StrCat(text, " (", name, ")");
  }
  const char* advice = AdviceFor(result);
  return advice == nullptr ? described : absl::StrCat(described, "; ", advice);
}

}  // namespace weft::cuda
