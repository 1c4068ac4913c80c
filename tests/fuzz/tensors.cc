// Files of tensors: checkpoints (safetensors), .npy and .npz.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "proto/file.h"
#include "proto/npy.h"
#include "proto/safetensors.h"

namespace {

// Reads every element and writes the tensors again: what was read has to be whole.
void Use(const std::map<std::string, weft::HostTensor>& tensors) {
  unsigned sum = 0;
  for (const auto& [name, tensor] : tensors) {
    const auto* bytes = static_cast<const uint8_t*>(tensor.data());
    for (size_t i = 0; i < tensor.size_bytes(); ++i) sum += bytes[i];
    const std::string text = tensor.ToString();
    sum += static_cast<unsigned>(text.size());
    weft::WriteNpy(tensor);
  }
  static volatile unsigned sink;
  sink = sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = weft::Bytes::Of(std::string_view(reinterpret_cast<const char*>(data), size));
  if (auto read = weft::ReadSafetensors(bytes->view(), bytes); read.ok()) {
    Use(read->tensors);
    // Names are UTF-8 where JSON is; others must not be written.
  }
  if (auto read = weft::ReadNpz(bytes->view(), bytes); read.ok()) Use(*read);
  if (auto read = weft::ReadNpy(bytes->view(), bytes); read.ok()) Use({{"x", *read}});
  return 0;
}
