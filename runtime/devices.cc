#include "runtime/devices.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "runtime/cpu_features.h"
#include "runtime/cuda/libraries.h"
#include "runtime/hardware_devices.h"
#include "runtime/ptx_emulator/emulator_device.h"

namespace weft {

absl::StatusOr<std::shared_ptr<Device>> MakeDevice(std::string_view name, int threads) {
  return MakeDevice(name, threads, GpuLibraries::kNone);
}

absl::StatusOr<std::shared_ptr<Device>> MakeDevice(std::string_view name, int threads,
                                                   GpuLibraries libraries) {
  absl::string_view generation(name.data(), name.size());
  if (absl::ConsumePrefix(&generation, "emulator")) {
    if (generation.empty()) generation = ":sm_90";
    const bool accelerated = generation == ":sm_90a";
    if (accelerated) generation = ":sm_90";
    for (const int sm : {70, 80, 90}) {
      if (generation == absl::StrCat(":sm_", sm)) {
        return MakeEmulatorDevice({.sm = sm, .threads = threads > 0 ? threads : NumCores()},
                                  accelerated);
      }
    }
  } else if (name == "cpu" || absl::StartsWith(generation, "cuda")) {
    return MakeHardwareDevice(
        name, threads,
        libraries == GpuLibraries::kNone
            ? nullptr
            : UseCudaLibraries({.use_cublaslt = libraries != GpuLibraries::kCudnn,
                                .use_cudnn = libraries != GpuLibraries::kCublasLt,
                                .required = libraries != GpuLibraries::kFound}));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("device '", std::string(name),
                   "': expected cpu, cuda:0 and the like for a GPU, or emulator, emulator:sm_70, "
                   "emulator:sm_80, emulator:sm_90 or emulator:sm_90a"));
}

}  // namespace weft
