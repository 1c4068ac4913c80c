// What has to be known of PTX before the driver gets it.
#ifndef WEFT_RUNTIME_CUDA_PTX_TEXT_H_
#define WEFT_RUNTIME_CUDA_PTX_TEXT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace weft::cuda {

struct PtxText {
  std::string version;  // "8.0"
  // Threads of a block, of the kernels that state them exactly (.reqntid).
  std::map<std::string, uint64_t, std::less<>> required_threads;
};

// InvalidArgument where the bytes are no text that begins with PTX's version. The driver is told no
// length, and takes machine code in several containers as well, whose headers it believes: sizes,
// and in one of them addresses.
absl::StatusOr<PtxText> ReadPtxText(std::string_view bytes);

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_PTX_TEXT_H_
