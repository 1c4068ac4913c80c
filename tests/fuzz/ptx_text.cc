// PTX text, as the emulator reads it: parsed, and its kernels decoded and run for a while, by
// several threads.
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/ptx_emulator/emulator.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  weft::ptx::EmulatorOptions options;
  options.memory_bytes = 256 << 20;
  options.step_limit = 5000;
  options.threads = 2;
  weft::ptx::Emulator emulator(options);
  const absl::StatusOr<int> module =
      emulator.Load(std::string(reinterpret_cast<const char*>(data), size));
  if (!module.ok()) return 0;
  // Zeros for every parameter but the first: whatever they point to is found missing.
  constexpr uint64_t kBytes = 64 << 10;
  const absl::StatusOr<uint64_t> buffer = emulator.Allocate(kBytes, "buffer");
  if (!buffer.ok() || !emulator.Fill(*buffer, 0, kBytes).ok()) return 0;
  std::vector<uint64_t> first(1 << 12);
  first[0] = *buffer;
  const std::vector<uint64_t> zeros(first.size());
  // Blocks of the most threads take long.
  const uint32_t threads = size % 32 == 0 ? 1024 : size % 4 == 0 ? 1 : 40;
  for (const char* name : {"k", "l"}) {
    const absl::StatusOr<weft::ptx::FunctionHandle> kernel = emulator.GetFunction(*module, name);
    if (!kernel.ok()) continue;
    std::vector<const void*> pointers(emulator.Parameters(*kernel).size(), zeros.data());
    if (!pointers.empty()) pointers[0] = first.data();
    weft::ptx::LaunchOptions launch;
    launch.grid = {3};
    launch.parameters = pointers;
    launch.block = {threads};
    emulator.Launch(*kernel, launch).IgnoreError();
  }
  return 0;
}
