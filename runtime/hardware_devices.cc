#include "runtime/hardware_devices.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "runtime/cpu/cpu_device.h"

// Runs once: small rather than quick, since the size of weft-run is bounded.
#pragma clang attribute push(__attribute__((minsize)), apply_to = function)

namespace weft {

absl::StatusOr<std::shared_ptr<Device>> MakeHardwareDevice(std::string_view name, int threads) {
  return MakeHardwareDevice(name, threads, nullptr);
}

absl::StatusOr<std::shared_ptr<Device>> MakeHardwareDevice(std::string_view name, int threads,
                                                           CudaLibraries libraries) {
  if (name == "cpu") return MakeCpuDevice(threads);
  CudaOptions options;
  options.libraries = std::move(libraries);
  if (name == "cuda") return MakeCudaDevice(options);
  absl::string_view number(name.data(), name.size());
  if (absl::ConsumePrefix(&number, "cuda:")) {
    const bool digits = std::all_of(number.begin(), number.end(), absl::ascii_isdigit);
    if (digits && absl::SimpleAtoi(number, &options.ordinal)) return MakeCudaDevice(options);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "device '", std::string(name), "': expected cpu, or cuda:0 and the like for a GPU"));
}

}  // namespace weft

#pragma clang attribute pop
