// PTX text, as the emulator reads it: parsed, and its kernels decoded and run for a while.
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/ptx_emulator/emulator.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  weft::ptx::EmulatorOptions options;
  options.memory_bytes = 1 << 20;
  options.step_limit = 2000;
  weft::ptx::Emulator emulator(options);
  const absl::StatusOr<int> module =
      emulator.Load(std::string(reinterpret_cast<const char*>(data), size));
  if (!module.ok()) return 0;
  const absl::StatusOr<weft::ptx::FunctionHandle> kernel = emulator.GetFunction(*module, "k");
  if (!kernel.ok()) return 0;
  // Zeros for every parameter: whatever they point to is found missing.
  const std::vector<weft::ptx::ParameterInfo> parameters = emulator.Parameters(*kernel);
  const std::vector<uint8_t> zeros(1 << 15);
  const std::vector<const void*> pointers(parameters.size(), zeros.data());
  weft::ptx::LaunchOptions launch;
  launch.block = {40};
  launch.parameters = pointers;
  emulator.Launch(*kernel, launch).IgnoreError();
  return 0;
}
