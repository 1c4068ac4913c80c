#ifndef WEFT_RUNTIME_PTX_EMULATOR_BUFFER_LAUNCH_H_
#define WEFT_RUNTIME_PTX_EMULATOR_BUFFER_LAUNCH_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "runtime/ptx_emulator/emulator.h"
#include "runtime/ptx_emulator/tensor_map.h"

namespace weft::ptx {

// A kernel as plans launch it: its parameters are tensor maps, and then, 8 bytes each, the
// addresses of buffers (operands, then results) and sizes.
struct BufferLaunch {
  struct Buffer {
    uint64_t address = 0;
    uint64_t bytes = 0;
  };
  FunctionHandle function;
  std::vector<TensorMap> maps;  // those without dimensions are zeros
  std::vector<Buffer> buffers;
  size_t num_results = 0;  // the last of them; one may lie in the buffer of an operand
  std::span<const int64_t> sizes;
  int64_t blocks = 0;  // 0: nothing is launched
  uint32_t block_threads = 0;
  uint32_t dynamic_shared_bytes = 0;
  std::function<absl::Status()> interrupt;  // as in LaunchOptions
};

// Runs it. Errors as of Emulator::Launch and EncodeTensorMap, where the kernel touches other memory
// than its buffers or writes to an operand in whose buffer no result lies, and Internal where it
// leaves bytes of a result unwritten, whatever was there before.
absl::Status LaunchOnBuffers(Emulator& emulator, const BufferLaunch& launch);

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_BUFFER_LAUNCH_H_
