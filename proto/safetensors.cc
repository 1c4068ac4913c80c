#include "proto/safetensors.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "proto/core/crc32.h"
#include "proto/core/json.h"
#include "proto/core/safetensors_format.h"
#include "proto/format_status.h"

namespace weft {
namespace {

std::string_view BytesOf(const HostTensor& tensor) {
  return {static_cast<const char*>(tensor.data()), tensor.size_bytes()};
}

// What the core has read: its notes, less the checksum.
std::map<std::string, std::string> MetadataOf(const SafetensorsFile& file) {
  std::map<std::string, std::string> metadata;
  if (file.metadata.empty()) return metadata;
  const auto memory = std::make_unique<char[]>(file.metadata.size());
  JsonScanner json(file.metadata, memory.get());
  const bool good = json.Object([&](std::string_view key) {
    std::string_view value;
    if (!json.String(&value)) return false;
    if (key != kSafetensorsCrcKey) metadata[std::string(key)] = value;
    return true;
  });
  if (!good) abort();  // the core took it
  return metadata;
}

// A view; a copy where the elements lie misaligned for their dtype.
absl::StatusOr<HostTensor> TensorOf(const SafetensorsFile& file, const SafetensorsTensor& tensor,
                                    const std::shared_ptr<const void>& owner) {
  int64_t sizes[kMaxFileRank];
  const absl::Span<const int64_t> shape(sizes, ShapeOf(tensor, sizes));
  const std::string_view bytes = file.BytesOf(tensor);
  const auto alignment = static_cast<uintptr_t>(SizeOf(tensor.dtype));
  if (reinterpret_cast<uintptr_t>(bytes.data()) % alignment == 0) {
    return HostTensor::View(tensor.dtype, shape, bytes.data(), owner);
  }
  absl::StatusOr<HostTensor> copy = HostTensor::Create(tensor.dtype, shape);
  if (copy.ok() && !bytes.empty()) memcpy(copy->mutable_data(), bytes.data(), bytes.size());
  return copy;
}

}  // namespace

std::string WriteSafetensors(const std::map<std::string, HostTensor>& tensors,
                             const std::map<std::string, std::string>& metadata) {
  std::vector<SafetensorsItem> items;
  std::vector<SafetensorsNote> notes;
  items.reserve(tensors.size());
  notes.reserve(metadata.size());
  size_t size = 0;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.dtype() == DataType::kInvalid || !IsUtf8(name)) abort();
    items.push_back(
        {name, tensor.dtype(), tensor.shape().data(), tensor.shape().size(), BytesOf(tensor)});
    size += tensor.size_bytes();
  }
  for (const auto& [key, value] : metadata) {
    if (!IsUtf8(key) || !IsUtf8(value)) abort();
    if (key != kSafetensorsCrcKey) notes.push_back({key, value});
  }
  SortSafetensors(items.data(), items.size());
  const auto write_header = [&](char* header) {
    return WriteSafetensorsHeader(items.data(), items.size(), notes.data(), notes.size(), header);
  };
  std::string file;
  const size_t header_size = write_header(nullptr);
  file.reserve(header_size + size);
  file.resize(header_size);
  write_header(file.data());
  for (const SafetensorsItem& item : items) file.append(item.bytes);
  PutSafetensorsCrc(Crc32(file), file.data());
  return file;
}

absl::StatusOr<Safetensors> ReadSafetensors(std::string_view bytes,
                                            std::shared_ptr<const void> owner) {
  SafetensorsFile file;
  FormatError error = OpenSafetensors(bytes, &file);
  const std::unique_ptr<char[]> memory(new char[file.memory_bytes]);
  if (!error) error = ParseSafetensors(memory.get(), &file);
  if (error) return AsStatus("safetensors", error);
  Safetensors result;
  result.metadata = MetadataOf(file);
  for (size_t i = 0; i < file.num_tensors; ++i) {
    const SafetensorsTensor& tensor = file.tensors[i];
    absl::StatusOr<HostTensor> value = TensorOf(file, tensor, owner);
    if (!value.ok()) return value.status();
    result.tensors.emplace_hint(result.tensors.end(), tensor.name, *std::move(value));
  }
  return result;
}

}  // namespace weft
