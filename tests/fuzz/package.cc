// Packages: the file as it is, and a manifest in a file that is otherwise whole (random bytes
// seldom get past the checksums). What opens is also laid out for small shapes. Nothing is
// executed: code in a package is trusted.
#include "runtime/package.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proto/container.h"
#include "runtime/core/executor.h"
#include "runtime/cpu/cpu_device.h"

namespace weft {
namespace {

void LayOut(const WeftPlan& plan, int64_t size) {
  std::vector<std::vector<int64_t>> shapes(plan.num_inputs);
  std::vector<const int64_t*> pointers;
  for (uint32_t i = 0; i < plan.num_inputs; ++i) {
    shapes[i].assign(plan.inputs[i].rank, size);
    pointers.push_back(shapes[i].data());
  }
  std::vector<int64_t> symbols(plan.num_symbols);
  weft_bind_symbols(&plan, pointers.data(), symbols.data());
  std::vector<uint64_t> memory(weft_instance_bytes(&plan) / 8 + 8);
  void* aligned = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) & ~63);
  WeftInstance* instance = nullptr;
  WeftError error = {};
  if (weft_instance_create(&plan, symbols.data(), aligned, &instance, &error) != WEFT_OK) return;
  weft_check_shapes(instance, pointers.data(), &error);
  if (weft_arena_bytes(instance) < 0 || weft_arena_bytes(instance) > WEFT_MAX_BYTES) {
    __builtin_trap();
  }
}

void Open(std::string_view file) {
  static auto& device = *new std::shared_ptr<Device>(MakeCpuDevice(1).value());
  absl::StatusOr<std::shared_ptr<const Package>> package = Package::Open(Bytes::Of(file), device);
  if (!package.ok()) return;
  for (const LoadedPlan& plan : (*package)->plans()) {
    for (const int64_t size : {int64_t{0}, int64_t{1}, int64_t{7}, INT64_MAX}) {
      LayOut(plan.tables->plan(), size);
    }
  }
}

}  // namespace
}  // namespace weft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  weft::Open(input);
  const std::string code(0xe00, '\xc3'), constants(80, '\0');
  weft::Open(weft::WriteContainer(
      {{"manifest", input, 6}, {"constants", constants, 6}, {"code.x86-64-v3", code, 12}}));
  return 0;
}
