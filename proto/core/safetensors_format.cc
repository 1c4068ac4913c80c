#include "proto/core/safetensors_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/core/crc32.h"
#include "proto/core/json.h"

namespace weft {
namespace {

constexpr std::string_view kNoCrc = "00000000";
constexpr std::string_view kMetadataKey = "__metadata__";
// By DataType.
constexpr std::string_view kTypeNames[kNumDataTypes] = {"",    "BOOL", "I8",   "U8",  "I32",
                                                        "I64", "F16",  "BF16", "F32", "F64"};
// As other readers have it.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
// Of one tensor; so the length of a header bounds their number.
constexpr size_t kLeastEntryBytes =
    std::string_view(R"("":{"dtype":"I8","shape":[],"data_offsets":[0,0]})").size();

class Parser {
 public:
  Parser(char* names, SafetensorsFile* file)
      : file_(file), json_(file->header, names, sizeof(uint64_t)), first_(file->header.data()) {}

  FormatError Parse() {
    bool good = json_.Object(
        [&](std::string_view key) { return key == kMetadataKey ? Metadata() : Tensor(key); });
    good = good && json_.End();
    return good ? FormatError() : error_ ? error_ : json_.error();
  }
  // The digits of the checksum; data() is null where there is none.
  std::string_view crc() const { return crc_; }

 private:
  bool Fail(std::string_view name, const char* before, std::string_view value = {},
            const char* after = "") {
    error_ = {.before = before, .value = value, .after = after, .tensor = name};
    return false;
  }

  bool Metadata() {
    if (!file_->metadata.empty()) return Fail(kMetadataKey, "is there twice");
    const char* start = first_ + json_.position();
    const bool good = json_.Object([&](std::string_view key) {
      std::string_view value;
      if (!json_.String(&value)) return false;
      if (key != kSafetensorsCrcKey) return true;
      if (crc_.data() != nullptr) return Fail({}, "the checksum is there twice");
      // Where the file has them; digits that are written with escapes are none.
      const char* digits = first_ + json_.position() - 1 - value.size();
      const bool plain = memcmp(digits, value.data(), value.size()) == 0;
      crc_ = {digits, plain ? value.size() : 0};
      return true;
    });
    file_->metadata = {start, static_cast<size_t>(first_ + json_.position() - start)};
    return good;
  }

  bool Tensor(std::string_view name) {
    SafetensorsTensor tensor = {};
    tensor.name = name;
    int64_t shape[kMaxFileRank], offsets[2];
    size_t rank = 0, num_offsets = 0;
    const bool good = json_.Object([&](std::string_view key) {
      if (key == "dtype") return Type(&tensor);
      if (key == "shape") {
        const size_t start = json_.position();
        if (!json_.Sizes(shape, kMaxFileRank, &rank)) return false;
        tensor.shape = {first_ + start, json_.position() - start};
        return true;
      }
      if (key != "data_offsets") return json_.Skip();
      if (!json_.Sizes(offsets, 2, &num_offsets)) return false;
      return num_offsets == 2 || Fail(name, "needs two data_offsets");
    });
    if (!good) return false;
    if (tensor.dtype == DataType::kInvalid || tensor.shape.empty() || num_offsets == 0) {
      return Fail(name, "lacks dtype, shape or data_offsets");
    }
    const int64_t size = BytesOfShape(tensor.dtype, shape, rank);
    if (size < 0 || offsets[1] - offsets[0] != size) {
      return Fail(name, "of shape ", tensor.shape, " does not have the size of its data_offsets");
    }
    tensor.begin = offsets[0];
    tensor.end = offsets[1];
    file_->tensors[file_->num_tensors++] = tensor;
    return true;
  }

  bool Type(SafetensorsTensor* tensor) {
    std::string_view type;
    if (!json_.String(&type)) return false;
    for (int i = 1; i < kNumDataTypes; ++i) {
      if (type == kTypeNames[i]) tensor->dtype = static_cast<DataType>(i);
    }
    return tensor->dtype != DataType::kInvalid ||
           Fail(tensor->name, "has dtype '", type, "', which Weft does not have");
  }

  SafetensorsFile* file_;
  JsonScanner json_;
  const char* first_;
  std::string_view crc_;
  FormatError error_;
};

// `digits` are the CRC-32 of the whole file with those digits as 0.
bool IsCrc(std::string_view digits, std::string_view bytes) {
  if (digits.size() != kNoCrc.size()) return false;
  const char* end = digits.data() + digits.size();
  uint32_t crc = Crc32({bytes.data(), static_cast<size_t>(digits.data() - bytes.data())});
  crc = Crc32(kNoCrc, crc);
  crc = Crc32({end, static_cast<size_t>(bytes.data() + bytes.size() - end)}, crc);
  char expected[kNoCrc.size() + 1];
  snprintf(expected, sizeof(expected), "%08x", crc);
  return digits == expected;
}

// The tensors of a file lie one after the other, whatever their order in the header.
FormatError VerifyPlaces(SafetensorsFile* file) {
  const auto by_place = [](const void* a, const void* b) {
    const auto &x = *static_cast<const SafetensorsTensor*>(a),
               &y = *static_cast<const SafetensorsTensor*>(b);
    if (x.begin != y.begin) return x.begin < y.begin ? -1 : 1;
    return x.end < y.end ? -1 : x.end > y.end;
  };
  qsort(file->tensors, file->num_tensors, sizeof(*file->tensors), by_place);
  const auto size = static_cast<int64_t>(file->data.size());
  int64_t end = 0;
  for (size_t i = 0; i < file->num_tensors; ++i) {
    const SafetensorsTensor& tensor = file->tensors[i];
    if (tensor.begin != end || tensor.end > size) {
      return {.before = "overlaps another, leaves a gap, or lies past the end",
              .tensor = tensor.name};
    }
    end = tensor.end;
    if (tensor.dtype == DataType::kBool && !AreBools(file->BytesOf(tensor))) {
      return {.before = "holds a bool that is neither 0 nor 1", .tensor = tensor.name};
    }
  }
  if (end == size) return {};
  return {.before = "expected the end after the last tensor, got ",
          .number = static_cast<uint64_t>(size - end),
          .unit = " bytes more"};
}

FormatError VerifyNames(SafetensorsFile* file) {
  const auto by_name = [](const void* a, const void* b) {
    return static_cast<const SafetensorsTensor*>(a)->name.compare(
        static_cast<const SafetensorsTensor*>(b)->name);
  };
  qsort(file->tensors, file->num_tensors, sizeof(*file->tensors), by_name);
  for (size_t i = 1; i < file->num_tensors; ++i) {
    if (file->tensors[i].name != file->tensors[i - 1].name) continue;
    return {.before = "is there twice", .tensor = file->tensors[i].name};
  }
  return {};
}

// Up to the digits of the checksum, behind the header's length.
constexpr std::string_view kStart = "{\"__metadata__\":{\"weft.crc32\":\"";

// Text into memory that is as large as it needs to be, or into none, to know how large that is.
class Writer {
 public:
  explicit Writer(char* text) : text_(text) {}
  size_t size() const { return size_; }
  void Append(std::string_view bytes) {
    if (text_ != nullptr) memcpy(text_ + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  void AppendNumber(int64_t value) {
    char digits[24];
    const int size = snprintf(digits, sizeof(digits), "%lld", static_cast<long long>(value));
    Append({digits, static_cast<size_t>(size)});
  }
  // As a JSON string.
  void AppendQuoted(std::string_view text) {
    Append("\"");
    for (const char c : text) {
      char bytes[kMaxJsonCharacter];
      Append({bytes, JsonCharacter(c, bytes)});
    }
    Append("\"");
  }

 private:
  char* text_;
  size_t size_ = 0;
};

}  // namespace

const SafetensorsTensor* SafetensorsFile::Find(std::string_view name) const {
  size_t first = 0, last = num_tensors;
  while (first < last) {
    const size_t middle = first + (last - first) / 2;
    const int order = tensors[middle].name.compare(name);
    if (order == 0) return &tensors[middle];
    (order < 0 ? first : last) = order < 0 ? middle + 1 : middle;
  }
  return nullptr;
}

FormatError OpenSafetensors(std::string_view bytes, SafetensorsFile* file) {
  *file = {};
  uint64_t size = 0;
  if (bytes.size() < sizeof(size)) return {.before = "too short to hold a header"};
  memcpy(&size, bytes.data(), sizeof(size));
  const size_t left = bytes.size() - sizeof(size);
  if (size > kMaxHeaderBytes || size > left) {
    return {.before = "not a safetensors file, or one that is cut short: the header's length, ",
            .number = size,
            .unit = ", is out of range"};
  }
  file->header = {bytes.data() + sizeof(size), size};
  file->data = {file->header.data() + size, left - size};
  file->memory_bytes = size / kLeastEntryBytes * sizeof(SafetensorsTensor) + size;
  return {};
}

FormatError ParseSafetensors(void* memory, SafetensorsFile* file) {
  if (!IsUtf8(file->header)) return {.before = "the header is not UTF-8"};
  file->tensors = static_cast<SafetensorsTensor*>(memory);
  Parser parser(reinterpret_cast<char*>(file->tensors + file->header.size() / kLeastEntryBytes),
                file);
  if (FormatError error = parser.Parse()) return error;
  const char* start = file->header.data() - sizeof(uint64_t);
  const char* end = file->data.data() + file->data.size();
  if (parser.crc().data() != nullptr &&
      !IsCrc(parser.crc(), {start, static_cast<size_t>(end - start)})) {
    return {.before = "damaged (the checksum differs)", .damaged = true};
  }
  if (FormatError error = VerifyPlaces(file)) return error;
  return VerifyNames(file);
}

size_t ShapeOf(const SafetensorsTensor& tensor, int64_t shape[kMaxFileRank]) {
  size_t rank = 0;
  JsonScanner(tensor.shape, nullptr).Sizes(shape, kMaxFileRank, &rank);
  return rank;
}

void SortSafetensors(SafetensorsItem* items, size_t count) {
  const auto order = [](const void* a, const void* b) {
    const auto &x = *static_cast<const SafetensorsItem*>(a),
               &y = *static_cast<const SafetensorsItem*>(b);
    const auto rank = [](const SafetensorsItem& item) {
      return item.bytes.size() % 64 == 0 ? -64 : -SizeOf(item.dtype);
    };
    return rank(x) != rank(y) ? rank(x) - rank(y) : x.name.compare(y.name);
  };
  if (count > 0) qsort(items, count, sizeof(*items), order);
}

size_t WriteSafetensorsHeader(const SafetensorsItem* items, size_t count,
                              const SafetensorsNote* notes, size_t num_notes, char* header) {
  Writer writer(header);
  writer.Append({"\0\0\0\0\0\0\0\0", sizeof(uint64_t)});
  writer.Append(kStart);
  writer.Append(kNoCrc);
  writer.Append("\"");
  for (size_t i = 0; i < num_notes; ++i) {
    writer.Append(",");
    writer.AppendQuoted(notes[i].key);
    writer.Append(":");
    writer.AppendQuoted(notes[i].value);
  }
  writer.Append("}");
  int64_t end = 0;
  for (size_t i = 0; i < count; ++i) {
    const SafetensorsItem& item = items[i];
    writer.Append(",");
    writer.AppendQuoted(item.name);
    writer.Append(":{\"dtype\":\"");
    writer.Append(kTypeNames[static_cast<int>(item.dtype)]);
    writer.Append("\",\"shape\":[");
    for (size_t d = 0; d < item.rank; ++d) {
      if (d > 0) writer.Append(",");
      writer.AppendNumber(item.shape[d]);
    }
    writer.Append("],\"data_offsets\":[");
    writer.AppendNumber(end);
    end += static_cast<int64_t>(item.bytes.size());
    writer.Append(",");
    writer.AppendNumber(end);
    writer.Append("]}");
  }
  writer.Append("}");
  while (writer.size() % 64 != 0) writer.Append(" ");
  const uint64_t size = writer.size() - sizeof(size);
  if (header != nullptr) memcpy(header, &size, sizeof(size));
  return writer.size();
}

void PutSafetensorsCrc(uint32_t crc, char* header) {
  char digits[kNoCrc.size() + 1];
  snprintf(digits, sizeof(digits), "%08x", crc);
  memcpy(header + sizeof(uint64_t) + kStart.size(), digits, kNoCrc.size());
}

}  // namespace weft
