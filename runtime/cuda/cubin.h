// What has to be known of machine code before the driver gets it.
#ifndef WEFT_RUNTIME_CUDA_CUBIN_H_
#define WEFT_RUNTIME_CUDA_CUBIN_H_

#include <string_view>

#include "absl/status/status.h"

namespace weft::cuda {

// InvalidArgument where the bytes are not one ELF image for NVIDIA's GPUs with all that its headers
// speak of within it: sections and segments, names, symbols, and the places that relocations
// change. The driver is told no length and believes the headers. What sections hold besides, code
// and NVIDIA's own tables, is not looked at.
absl::Status CheckCubin(std::string_view bytes);

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_CUBIN_H_
