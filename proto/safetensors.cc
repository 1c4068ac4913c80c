#include "proto/safetensors.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/crc32.h"
#include "proto/json_scanner.h"

namespace weft {
namespace {

constexpr std::string_view kCrcKey = "weft.crc32";
constexpr std::string_view kNoCrc = "00000000";
constexpr std::string_view kMetadataKey = "__metadata__";
// As other readers have it.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxRank = 64;

struct TypeName {
  std::string_view name;
  DataType dtype;
};
constexpr TypeName kTypeNames[] = {
    {"BOOL", DataType::kBool}, {"I8", DataType::kI8},   {"U8", DataType::kU8},
    {"I32", DataType::kI32},   {"I64", DataType::kI64}, {"F16", DataType::kF16},
    {"BF16", DataType::kBF16}, {"F32", DataType::kF32}, {"F64", DataType::kF64},
};

std::string_view FormatName(DataType dtype) {
  for (const TypeName& type : kTypeNames) {
    if (type.dtype == dtype) return type.name;
  }
  abort();
}

std::string Join(const std::vector<int64_t>& values) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i) absl::StrAppend(&text, i == 0 ? "" : ",", values[i]);
  return text + "]";
}

// One tensor as the header describes it.
struct Entry {
  std::string name;
  DataType dtype = DataType::kInvalid;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // in the tensor bytes
};

struct Header {
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
  size_t crc_position = 0;  // of the digits, in the file; 0 where there is none
};

absl::Status Malformed(std::string_view name, const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat("safetensors: tensor '", std::string(name), "' ", what));
}

absl::StatusOr<Entry> ReadEntry(JsonScanner* json, const std::string& name) {
  Entry entry;
  entry.name = name;
  bool has_shape = false, has_offsets = false;
  absl::Status status = json->Object([&](const std::string& key) -> absl::Status {
    if (key == "dtype") {
      absl::StatusOr<std::string> dtype = json->String();
      if (!dtype.ok()) return dtype.status();
      for (const TypeName& type : kTypeNames) {
        if (type.name == *dtype) entry.dtype = type.dtype;
      }
      if (entry.dtype == DataType::kInvalid) {
        return Malformed(name, absl::StrCat("has dtype '", *dtype, "', which Weft does not have"));
      }
      return absl::OkStatus();
    }
    if (key == "shape") {
      absl::StatusOr<std::vector<int64_t>> shape = json->Sizes(kMaxRank);
      if (!shape.ok()) return shape.status();
      entry.shape = *std::move(shape);
      has_shape = true;
      return absl::OkStatus();
    }
    if (key == "data_offsets") {
      absl::StatusOr<std::vector<int64_t>> offsets = json->Sizes(2);
      if (!offsets.ok()) return offsets.status();
      if (offsets->size() != 2) return Malformed(name, "needs two data_offsets");
      entry.begin = static_cast<uint64_t>((*offsets)[0]);
      entry.end = static_cast<uint64_t>((*offsets)[1]);
      has_offsets = true;
      return absl::OkStatus();
    }
    return json->Skip();
  });
  if (!status.ok()) return status;
  if (entry.dtype == DataType::kInvalid || !has_shape || !has_offsets) {
    return Malformed(name, "lacks dtype, shape or data_offsets");
  }
  absl::StatusOr<int64_t> elements = CheckedNumElements(entry.shape);
  int64_t size = 0;
  if (!elements.ok() || __builtin_mul_overflow(*elements, SizeOf(entry.dtype), &size) ||
      entry.end < entry.begin || entry.end - entry.begin != static_cast<uint64_t>(size)) {
    return Malformed(name, absl::StrCat("of shape ", Join(entry.shape),
                                        " does not have the size of its data_offsets"));
  }
  return entry;
}

absl::StatusOr<Header> ReadHeader(std::string_view text, size_t position) {
  if (!IsUtf8(text)) return absl::InvalidArgumentError("safetensors: the header is not UTF-8");
  Header header;
  JsonScanner json(text);
  bool has_metadata = false;
  absl::Status status = json.Object([&](const std::string& key) -> absl::Status {
    if (key == kMetadataKey && !has_metadata) {
      has_metadata = true;
      return json.Object([&](const std::string& name) -> absl::Status {
        absl::StatusOr<std::string> value = json.String();
        if (!value.ok()) return value.status();
        if (name == kCrcKey) header.crc_position = position + json.position() - 1 - value->size();
        header.metadata[name] = *std::move(value);
        return absl::OkStatus();
      });
    }
    absl::StatusOr<Entry> entry = ReadEntry(&json, key);
    if (!entry.ok()) return entry.status();
    header.entries.push_back(*std::move(entry));
    return absl::OkStatus();
  });
  if (status.ok()) status = json.End();
  if (!status.ok()) return status;
  return header;
}

absl::Status VerifyCrc(std::string_view bytes, const Header& header) {
  const absl::Status damaged = absl::DataLossError("safetensors: damaged (the checksum differs)");
  const std::string& digits = header.metadata.at(std::string(kCrcKey));
  // A string written with escapes is not where its length says.
  if (digits.size() != kNoCrc.size() ||
      bytes.substr(header.crc_position, kNoCrc.size()) != digits) {
    return damaged;
  }
  uint32_t crc = Crc32(bytes.substr(0, header.crc_position));
  crc = Crc32(kNoCrc, crc);
  crc = Crc32(bytes.substr(header.crc_position + kNoCrc.size()), crc);
  return digits == absl::StrFormat("%08x", crc) ? absl::OkStatus() : damaged;
}

// The tensors of a file lie one after the other, whatever their order in the header.
absl::Status VerifyPlaces(const std::vector<Entry>& entries, uint64_t size) {
  std::vector<const Entry*> sorted;
  sorted.reserve(entries.size());
  for (const Entry& entry : entries) sorted.push_back(&entry);
  std::sort(sorted.begin(), sorted.end(), [](const Entry* a, const Entry* b) {
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
  });
  uint64_t end = 0;
  for (const Entry* entry : sorted) {
    if (entry->begin != end || entry->end > size) {
      return Malformed(entry->name, "overlaps another, leaves a gap, or lies past the end");
    }
    end = entry->end;
  }
  if (end != size) {
    return absl::InvalidArgumentError(
        absl::StrCat("safetensors: expected ", end, " bytes of tensors, got ", size));
  }
  return absl::OkStatus();
}

}  // namespace

std::string WriteSafetensors(const std::map<std::string, HostTensor>& tensors,
                             const std::map<std::string, std::string>& metadata) {
  using Item = std::pair<const std::string, HostTensor>;
  std::vector<const Item*> order;
  order.reserve(tensors.size());
  for (const Item& item : tensors) order.push_back(&item);
  const auto rank = [](const HostTensor& tensor) {
    return tensor.size_bytes() % 64 == 0 ? -64 : -SizeOf(tensor.dtype());
  };
  std::sort(order.begin(), order.end(), [&](const Item* a, const Item* b) {
    const int rank_a = rank(a->second), rank_b = rank(b->second);
    return rank_a != rank_b ? rank_a < rank_b : a->first < b->first;
  });

  std::string header =
      absl::StrCat("{\"", std::string(kMetadataKey), "\":{\"", std::string(kCrcKey), "\":\"");
  const size_t crc_position = sizeof(uint64_t) + header.size();
  absl::StrAppend(&header, std::string(kNoCrc), "\"");
  for (const auto& [key, value] : metadata) {
    if (key == kCrcKey) continue;
    if (!IsUtf8(key) || !IsUtf8(value)) abort();
    absl::StrAppend(&header, ",", JsonQuote(key), ":", JsonQuote(value));
  }
  header += "}";
  uint64_t end = 0;
  for (const Item* item : order) {
    const auto& [name, tensor] = *item;
    if (!IsUtf8(name)) abort();
    const uint64_t begin = end;
    end += tensor.size_bytes();
    absl::StrAppend(&header, ",", JsonQuote(name), ":{\"dtype\":\"",
                    std::string(FormatName(tensor.dtype())), "\",\"shape\":", Join(tensor.shape()),
                    ",\"data_offsets\":[", begin, ",", end, "]}");
  }
  header += "}";
  header.resize((sizeof(uint64_t) + header.size() + 63) / 64 * 64 - sizeof(uint64_t), ' ');

  const uint64_t header_size = header.size();
  std::string file;
  file.reserve(sizeof(header_size) + header.size() + end);
  file.append(reinterpret_cast<const char*>(&header_size), sizeof(header_size));
  file.append(header);
  for (const Item* item : order) {
    file.append(static_cast<const char*>(item->second.data()), item->second.size_bytes());
  }
  const std::string crc = absl::StrFormat("%08x", Crc32(file));
  file.replace(crc_position, crc.size(), crc);
  return file;
}

absl::StatusOr<Safetensors> ReadSafetensors(std::string_view bytes,
                                            std::shared_ptr<const void> owner) {
  uint64_t header_size = 0;
  if (bytes.size() < sizeof(header_size)) {
    return absl::InvalidArgumentError("safetensors: too short to hold a header");
  }
  memcpy(&header_size, bytes.data(), sizeof(header_size));
  if (header_size > kMaxHeaderBytes || header_size > bytes.size() - sizeof(header_size)) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a safetensors file, or one that is cut short: the header's length, ",
                     header_size, ", is out of range"));
  }
  absl::StatusOr<Header> header =
      ReadHeader(bytes.substr(sizeof(header_size), header_size), sizeof(header_size));
  if (!header.ok()) return header.status();
  if (header->crc_position != 0) {
    if (absl::Status status = VerifyCrc(bytes, *header); !status.ok()) return status;
  }
  const std::string_view data = bytes.substr(sizeof(header_size) + header_size);
  if (absl::Status status = VerifyPlaces(header->entries, data.size()); !status.ok()) return status;

  Safetensors result;
  result.metadata = std::move(header->metadata);
  result.metadata.erase(std::string(kCrcKey));
  for (const Entry& entry : header->entries) {
    const char* first = data.data() + entry.begin;
    if (entry.dtype == DataType::kBool &&
        std::any_of(first, data.data() + entry.end, [](char c) { return c != 0 && c != 1; })) {
      return Malformed(entry.name, "holds a bool that is neither 0 nor 1");
    }
    HostTensor tensor = HostTensor::View(entry.dtype, entry.shape, first, owner);
    const auto alignment = static_cast<uintptr_t>(SizeOf(entry.dtype));
    if (reinterpret_cast<uintptr_t>(first) % alignment != 0) {
      absl::StatusOr<HostTensor> copy = HostTensor::Create(entry.dtype, entry.shape);
      if (!copy.ok()) return copy.status();
      if (copy->size_bytes() > 0) memcpy(copy->mutable_data(), first, copy->size_bytes());
      tensor = *std::move(copy);
    }
    if (!result.tensors.emplace(entry.name, std::move(tensor)).second) {
      return Malformed(entry.name, "is there twice");
    }
  }
  return result;
}

}  // namespace weft
