// Files of tensors: checkpoints (safetensors), .npy and .npz.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "proto/core/json.h"
#include "proto/file.h"
#include "proto/npy.h"
#include "proto/safetensors.h"

namespace {

unsigned Sum(const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  unsigned sum = 0;
  for (size_t i = 0; i < size; ++i) sum += bytes[i];
  return sum;
}

void Keep(unsigned sum) {
  [[maybe_unused]] static volatile unsigned sink;
  sink = sum;
}

// Reads every element and writes the tensors again: what was read has to be whole.
void Use(const std::map<std::string, weft::HostTensor>& tensors) {
  for (const auto& [name, tensor] : tensors) {
    Keep(Sum(tensor.data(), tensor.size_bytes()));
    Keep(static_cast<unsigned>(tensor.ToString().size()));
    weft::WriteNpy(tensor);
  }
}

// Checkpoints are read back as they were, where their names are text.
void RoundTrip(const weft::Safetensors& file) {
  for (const auto& [name, tensor] : file.tensors) {
    if (!weft::IsUtf8(name)) abort();
  }
  const auto bytes = weft::Bytes::Of(weft::WriteSafetensors(file.tensors, {}));
  const auto again = weft::ReadSafetensors(bytes->view(), bytes);
  if (!again.ok() || again->tensors.size() != file.tensors.size()) abort();
  for (const auto& [name, tensor] : file.tensors) {
    if (again->tensors.at(name).TypeString() != tensor.TypeString()) abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto bytes = weft::Bytes::Of(input);
  if (auto read = weft::ReadSafetensors(bytes->view(), bytes); read.ok()) {
    Use(read->tensors);
    RoundTrip(*read);
  }
  if (auto read = weft::ReadNpz(bytes->view(), bytes); read.ok()) Use(*read);
  if (auto read = weft::ReadNpy(bytes->view(), bytes); read.ok()) Use({{"x", *read}});
  return 0;
}
