#include "proto/npy.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/zip.h"

namespace weft {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxRank = 64;

struct TypeCode {
  std::string_view code;  // without the byte order
  DataType dtype;
};
constexpr TypeCode kTypeCodes[] = {
    {"b1", DataType::kBool}, {"i1", DataType::kI8},  {"u1", DataType::kU8},
    {"i4", DataType::kI32},  {"i8", DataType::kI64}, {"f2", DataType::kF16},
    {"V2", DataType::kBF16}, {"f4", DataType::kF32}, {"f8", DataType::kF64},
};

absl::Status Malformed(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("npy: ", what));
}

struct Header {
  DataType dtype = DataType::kInvalid;
  bool big_endian = false;
  bool fortran_order = false;
  std::vector<int64_t> shape;
};

// Reads the Python dictionary that describes the array, such as
// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : text_(text) {}

  absl::StatusOr<Header> Read() {
    Header header;
    bool has_type = false, has_order = false, has_shape = false;
    if (!Take('{')) return Bad();
    while (!Take('}')) {
      std::string_view key;
      if (!Text(&key) || !Take(':')) return Bad();
      if (key == "descr" && !has_type) {
        std::string_view type;
        if (!Text(&type))
          return Malformed("the element type is a record, which Weft does not have");
        if (absl::Status status = ReadType(type, &header); !status.ok()) return status;
        has_type = true;
      } else if (key == "fortran_order" && !has_order) {
        if (Word("True")) {
          header.fortran_order = true;
        } else if (!Word("False")) {
          return Bad();
        }
        has_order = true;
      } else if (key == "shape" && !has_shape) {
        if (!ReadShape(&header.shape)) return Bad();
        has_shape = true;
      } else {
        return Bad();
      }
      if (!Take(',')) {
        if (!Take('}')) return Bad();
        break;
      }
    }
    SkipSpace();
    if (at_ != text_.size() || !has_type || !has_order || !has_shape) return Bad();
    return header;
  }

 private:
  absl::Status Bad() const {
    return Malformed(absl::StrCat("the header is malformed at byte ", at_));
  }
  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool Take(char c) {
    SkipSpace();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool Word(std::string_view word) {
    SkipSpace();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  bool Text(std::string_view* value) {
    SkipSpace();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) return false;
    const size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string_view::npos) return false;
    *value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return true;
  }
  bool ReadShape(std::vector<int64_t>* shape) {
    if (!Take('(')) return false;
    while (!Take(')')) {
      SkipSpace();
      int64_t size = 0;
      const size_t start = at_;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
        if (__builtin_mul_overflow(size, 10, &size) ||
            __builtin_add_overflow(size, text_[at_] - '0', &size)) {
          return false;
        }
        ++at_;
      }
      if (at_ == start || shape->size() == kMaxRank) return false;
      Take('L');  // Python 2 wrote long numbers so
      shape->push_back(size);
      if (!Take(',')) return Take(')');
    }
    return true;
  }
  static absl::Status ReadType(std::string_view type, Header* header) {
    if (!type.empty() && std::string_view("<>|=").find(type[0]) != std::string_view::npos) {
      header->big_endian = type[0] == '>';
      for (const TypeCode& known : kTypeCodes) {
        if (known.code == type.substr(1)) {
          header->dtype = known.dtype;
          return absl::OkStatus();
        }
      }
    }
    return Malformed(absl::StrCat("element type '", std::string(type),
                                  "' is none of Weft's; convert it with astype first"));
  }

  std::string_view text_;
  size_t at_ = 0;
};

void SwapBytes(size_t size, HostTensor* tensor) {
  char* bytes = static_cast<char*>(tensor->mutable_data());
  for (size_t i = 0; i < tensor->size_bytes(); i += size) std::reverse(bytes + i, bytes + i + size);
}

// `tensor`'s elements, which lie with the first index running fastest, in row-major order.
absl::StatusOr<HostTensor> FromFortranOrder(const HostTensor& tensor) {
  absl::StatusOr<HostTensor> result = HostTensor::Create(tensor.dtype(), tensor.shape());
  if (!result.ok()) return result;
  const size_t size = static_cast<size_t>(SizeOf(tensor.dtype()));
  const auto* source = static_cast<const char*>(tensor.data());
  auto* target = static_cast<char*>(result->mutable_data());
  const std::vector<int64_t>& shape = tensor.shape();
  std::vector<int64_t> strides(shape.size()), index(shape.size(), 0);
  int64_t stride = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    strides[i] = stride;
    stride *= shape[i];
  }
  int64_t at = 0;
  for (int64_t n = 0; n < tensor.num_elements(); ++n, target += size) {
    memcpy(target, source + static_cast<size_t>(at) * size, size);
    for (size_t i = shape.size(); i-- > 0;) {
      at += strides[i];
      if (++index[i] < shape[i]) break;
      at -= strides[i] * shape[i];
      index[i] = 0;
    }
  }
  return result;
}

absl::Status WithPath(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

}  // namespace

std::string WriteNpy(const HostTensor& tensor) {
  std::string_view code;
  for (const TypeCode& known : kTypeCodes) {
    if (known.dtype == tensor.dtype()) code = known.code;
  }
  if (code.empty()) abort();
  const bool bytes = SizeOf(tensor.dtype()) == 1;
  std::string header = absl::StrCat("{'descr': '", bytes ? "|" : "<", std::string(code),
                                    "', 'fortran_order': False, 'shape': (");
  for (size_t i = 0; i < tensor.shape().size(); ++i) {
    absl::StrAppend(&header, i == 0 ? "" : " ", tensor.shape()[i], ",");
  }
  // One dimension is written "(3,)", several "(3, 4)".
  if (tensor.shape().size() > 1) header.pop_back();
  header += "), }";
  constexpr size_t kPrefix = 10;
  header.resize((kPrefix + header.size() + 1 + 63) / 64 * 64 - kPrefix - 1, ' ');
  header += '\n';

  std::string file(kMagic);
  file.reserve(kPrefix + header.size() + tensor.size_bytes());
  file += '\x01';
  file += '\x00';
  file += static_cast<char>(header.size() & 0xff);
  file += static_cast<char>(header.size() >> 8);
  file += header;
  file.append(static_cast<const char*>(tensor.data()), tensor.size_bytes());
  return file;
}

absl::StatusOr<HostTensor> ReadNpy(std::string_view bytes, std::shared_ptr<const void> owner) {
  if (bytes.size() < 10 || bytes.substr(0, kMagic.size()) != kMagic) {
    return Malformed("not a .npy file");
  }
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(bytes[i])); };
  const size_t version = byte(6);
  size_t start = 10, header_size = byte(8) | byte(9) << 8;
  if (version == 2 || version == 3) {
    if (bytes.size() < 12) return Malformed("not a .npy file");
    start = 12;
    header_size |= byte(10) << 16 | byte(11) << 24;
  } else if (version != 1) {
    return Malformed(absl::StrCat("expected format version 1, 2 or 3, got ", version));
  }
  if (header_size > bytes.size() - start) return Malformed("the header is cut off");
  absl::StatusOr<Header> header = HeaderReader(bytes.substr(start, header_size)).Read();
  if (!header.ok()) return header.status();

  const std::string_view data = bytes.substr(start + header_size);
  const size_t element = static_cast<size_t>(SizeOf(header->dtype));
  absl::StatusOr<int64_t> elements = CheckedNumElements(header->shape);
  int64_t size = 0;
  if (!elements.ok() || __builtin_mul_overflow(*elements, static_cast<int64_t>(element), &size) ||
      static_cast<uint64_t>(size) != data.size()) {
    return Malformed(absl::StrCat("the shape in the header does not fit the ", data.size(),
                                  " bytes of elements"));
  }
  if (header->dtype == DataType::kBool &&
      std::any_of(data.begin(), data.end(), [](char c) { return c != 0 && c != 1; })) {
    return Malformed("holds a bool that is neither 0 nor 1");
  }
  HostTensor tensor = HostTensor::View(header->dtype, header->shape, data.data(), std::move(owner));
  const bool swap = header->big_endian && element > 1;
  if (swap || reinterpret_cast<uintptr_t>(data.data()) % element != 0) {
    absl::StatusOr<HostTensor> copy = HostTensor::Create(header->dtype, header->shape);
    if (!copy.ok()) return copy;
    if (!data.empty()) memcpy(copy->mutable_data(), data.data(), data.size());
    tensor = *std::move(copy);
    if (swap) SwapBytes(element, &tensor);
  }
  if (header->fortran_order && *elements > 1) return FromFortranOrder(tensor);
  return tensor;
}

absl::StatusOr<std::string> WriteNpz(const std::map<std::string, HostTensor>& tensors) {
  std::vector<std::string> files;
  std::vector<ZipMemberToWrite> members;
  files.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    files.push_back(WriteNpy(tensor));
    members.push_back({name + ".npy", files.back()});
  }
  return WriteZip(members);
}

absl::StatusOr<std::map<std::string, HostTensor>> ReadNpz(std::string_view bytes,
                                                          std::shared_ptr<const void> owner) {
  absl::StatusOr<std::vector<ZipMember>> members = ReadZip(bytes);
  if (!members.ok()) return members.status();
  std::map<std::string, HostTensor> tensors;
  for (const ZipMember& member : *members) {
    std::string name = member.name;
    if (name.ends_with(".npy")) name.resize(name.size() - 4);
    const auto in_member = [&](const absl::Status& status) {
      return absl::Status(status.code(), absl::StrCat("'", name, "': ", status.message()));
    };
    std::string_view file = member.bytes;
    std::shared_ptr<const void> file_owner = owner;
    if (member.deflated) {
      // What a small archive claims to hold may be more than there is memory: that is an error, and
      // pages that are never reached are never there.
      absl::StatusOr<HostTensor> contents =
          HostTensor::Create(DataType::kU8, {static_cast<int64_t>(member.size)});
      if (!contents.ok()) return in_member(contents.status());
      auto* memory = static_cast<char*>(contents->mutable_data());
      if (absl::Status status = ExtractZipMember(member, memory); !status.ok()) return status;
      file = {memory, member.size};
      file_owner = std::make_shared<HostTensor>(*std::move(contents));
    } else if (absl::Status status = VerifyStoredZipMember(member); !status.ok()) {
      return status;
    }
    absl::StatusOr<HostTensor> tensor = ReadNpy(file, std::move(file_owner));
    if (!tensor.ok()) return in_member(tensor.status());
    if (!tensors.emplace(name, *std::move(tensor)).second) {
      return in_member(Malformed("is in the archive twice"));
    }
  }
  return tensors;
}

absl::StatusOr<HostTensor> LoadNpy(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(path);
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<HostTensor> tensor = ReadNpy((*bytes)->view(), *bytes);
  if (!tensor.ok()) return WithPath(path, tensor.status());
  return tensor;
}

absl::StatusOr<std::map<std::string, HostTensor>> LoadNpz(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(path);
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<std::map<std::string, HostTensor>> tensors = ReadNpz((*bytes)->view(), *bytes);
  if (!tensors.ok()) return WithPath(path, tensors.status());
  return tensors;
}

absl::Status SaveNpy(const std::string& path, const HostTensor& tensor) {
  return WriteFileAtomically(path, WriteNpy(tensor));
}

absl::Status SaveNpz(const std::string& path, const std::map<std::string, HostTensor>& tensors) {
  absl::StatusOr<std::string> bytes = WriteNpz(tensors);
  if (!bytes.ok()) return WithPath(path, bytes.status());
  return WriteFileAtomically(path, *bytes);
}

}  // namespace weft
