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
    if (api_.cuDriverGetVersion(&version_) != CUDA_SUCCESS) version_ = 0;
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
  switch (result) {
    case CUDA_SUCCESS:
      return absl::OkStatus();
    case CUDA_ERROR_NO_DEVICE:
      return absl::FailedPreconditionError(
          "cuda: the driver finds no GPU; see what nvidia-smi lists and whether the environment's "
          "CUDA_VISIBLE_DEVICES hides it");
    case CUDA_ERROR_STUB_LIBRARY:
      return absl::FailedPreconditionError(
          "cuda: expected NVIDIA's driver, got the toolkit's stub of it; take its folder out of "
          "the library path");
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
      return absl::FailedPreconditionError(
          "cuda: the driver in the kernel and its library are of different versions; restart the "
          "machine after an update of the driver");
    default:
      return absl::FailedPreconditionError(
          absl::StrCat("cuda: the driver cannot be initialised: ", Describe(result)));
  }
}

std::string Driver::Describe(CUresult result) const {
  const char* name = nullptr;
  const char* text = nullptr;
  if (api_.cuGetErrorName(result, &name) != CUDA_SUCCESS || name == nullptr) {
    return absl::StrCat("error ", static_cast<int>(result));
  }
  if (api_.cuGetErrorString(result, &text) != CUDA_SUCCESS || text == nullptr) return name;
  return absl::StrCat(text, " (", name, ")");
}

}  // namespace weft::cuda
