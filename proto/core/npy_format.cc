#include "proto/core/npy_format.h"

#include <stdio.h>
#include <string.h>

namespace weft {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
// By DataType, with the byte order that is written.
constexpr std::string_view kCodes[kNumDataTypes] = {"",    "|b1", "|i1", "|u1", "<i4",
                                                    "<i8", "<f2", "<V2", "<f4", "<f8"};

// Reads the Python dictionary that describes the array, such as
// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderParser {
 public:
  // The text starts at byte `before` of the file.
  HeaderParser(std::string_view text, size_t before) : text_(text), before_(before) {}

  FormatError Parse(NpyTensor* npy) {
    bool has_type = false, has_order = false, has_shape = false;
    if (!Take("{")) return Malformed();
    while (!Take("}")) {
      std::string_view key;
      if (!Text(&key) || !Take(":")) return Malformed();
      if (key == "descr" && !has_type) {
        if (FormatError error = Type(npy)) return error;
        has_type = true;
      } else if (key == "fortran_order" && !has_order) {
        npy->fortran_order = Take("True");
        if (!npy->fortran_order && !Take("False")) return Malformed();
        has_order = true;
      } else if (key == "shape" && !has_shape) {
        if (!Shape(npy)) return Malformed();
        has_shape = true;
      } else {
        return Malformed();
      }
      if (!Take(",")) {
        if (!Take("}")) return Malformed();
        break;
      }
    }
    SkipSpace();
    const bool whole = at_ == text_.size() && has_type && has_order && has_shape;
    return whole ? FormatError() : Malformed();
  }
  // As it is written.
  std::string_view shape() const { return shape_; }

 private:
  FormatError Malformed() const {
    return {.before = "the header is malformed at byte ", .number = before_ + at_, .unit = ""};
  }
  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool Take(std::string_view word) {
    SkipSpace();
    if (text_.size() - at_ < word.size() || memcmp(&text_[at_], word.data(), word.size()) != 0) {
      return false;
    }
    at_ += word.size();
    return true;
  }
  bool Text(std::string_view* value) {
    SkipSpace();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) return false;
    const size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string_view::npos) return false;
    *value = {&text_[at_ + 1], end - at_ - 1};
    at_ = end + 1;
    return true;
  }
  FormatError Type(NpyTensor* npy) {
    std::string_view code;
    if (!Text(&code)) return {.before = "the element type is a record, which Weft does not have"};
    // '|' and '=' mean that there is no order, or this machine's.
    const char order = code.empty() ? '\0' : code.front();
    if (order == '<' || order == '>' || order == '|' || order == '=') {
      for (int i = 1; i < kNumDataTypes; ++i) {
        if (code.size() != 3 || memcmp(&code[1], &kCodes[i][1], 2) != 0) continue;
        npy->dtype = static_cast<DataType>(i);
        npy->big_endian = order == '>' && SizeOf(npy->dtype) > 1;
        return {};
      }
    }
    return {.before = "element type '",
            .value = code,
            .after = "' is none of Weft's; convert it with astype first"};
  }
  bool Shape(NpyTensor* npy) {
    SkipSpace();
    const size_t begin = at_;
    if (!Take("(")) return false;
    bool more = true;
    while (more && !Take(")")) {
      SkipSpace();
      int64_t size = 0;
      const size_t start = at_;
      for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
        if (__builtin_mul_overflow(size, 10, &size) ||
            __builtin_add_overflow(size, text_[at_] - '0', &size)) {
          return false;
        }
      }
      if (at_ == start || npy->rank == kMaxFileRank) return false;
      Take("L");  // Python 2 wrote long numbers so
      npy->shape[npy->rank++] = size;
      more = Take(",");
    }
    if (!more && !Take(")")) return false;
    shape_ = {&text_[begin], at_ - begin};
    return true;
  }

  std::string_view text_, shape_;
  size_t before_, at_ = 0;
};

}  // namespace

FormatError ParseNpy(std::string_view bytes, NpyTensor* npy) {
  *npy = {};
  const size_t version_at = kMagic.size();
  if (bytes.size() < 10 || memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    return {.before = "not a .npy file"};
  }
  const auto version = static_cast<unsigned char>(bytes[version_at]);
  if (version < 1 || version > 3) {
    return {.before = "expected format version 1, 2 or 3, got ", .number = version, .unit = ""};
  }
  uint32_t header_size = 0;
  const size_t length_bytes = version == 1 ? 2 : 4, start = version_at + 2 + length_bytes;
  if (bytes.size() >= start) memcpy(&header_size, &bytes[version_at + 2], length_bytes);
  if (bytes.size() < start || header_size > bytes.size() - start) {
    return {.before = "the header is cut off"};
  }
  const char* header = bytes.data() + start;
  HeaderParser parser({header, header_size}, start);
  if (FormatError error = parser.Parse(npy)) return error;
  npy->fortran_order &= npy->rank > 1;
  npy->elements = {header + header_size, bytes.size() - start - header_size};
  const int64_t size = BytesOfShape(npy->dtype, npy->shape, npy->rank);
  if (size < 0 || static_cast<uint64_t>(size) != npy->elements.size()) {
    return {.before = "shape ",
            .value = parser.shape(),
            .after = " does not fit the ",
            .number = npy->elements.size(),
            .unit = " bytes of elements"};
  }
  if (npy->dtype == DataType::kBool && !AreBools(npy->elements)) {
    return {.before = "holds a bool that is neither 0 nor 1"};
  }
  return {};
}

void CopyNpyElements(const NpyTensor& npy, char* elements) {
  if (npy.elements.empty()) return;
  if (npy.InOrder()) {
    memcpy(elements, npy.elements.data(), npy.elements.size());
    return;
  }
  const auto size = static_cast<size_t>(SizeOf(npy.dtype));
  size_t strides[kMaxFileRank];
  int64_t index[kMaxFileRank] = {};
  size_t stride = size;
  for (size_t i = 0; i < npy.rank; ++i) {
    const size_t dim = npy.fortran_order ? i : npy.rank - 1 - i;
    strides[dim] = stride;
    stride *= static_cast<size_t>(npy.shape[dim]);
  }
  const char* from = npy.elements.data();
  for (const char* end = elements + npy.elements.size(); elements != end;) {
    for (size_t i = 0; i < size; ++i) *elements++ = from[npy.big_endian ? size - 1 - i : i];
    for (size_t dim = npy.rank; dim-- > 0;) {
      from += strides[dim];
      if (++index[dim] < npy.shape[dim]) break;
      from -= strides[dim] * static_cast<size_t>(npy.shape[dim]);
      index[dim] = 0;
    }
  }
}

size_t WriteNpyHeader(DataType dtype, const int64_t* shape, size_t rank, char* header) {
  const size_t capacity = MaxNpyHeaderBytes(rank), start = kMagic.size() + 4;
  memcpy(header, kMagic.data(), kMagic.size());
  size_t size = start;
  const auto append = [&](int written) { size += static_cast<size_t>(written); };
  append(snprintf(header + size, capacity - size,
                  "{'descr': '%s', 'fortran_order': False, 'shape': (",
                  kCodes[static_cast<int>(dtype)].data()));
  for (size_t i = 0; i < rank; ++i) {
    append(snprintf(header + size, capacity - size, "%s%lld", i == 0 ? "" : ", ",
                    static_cast<long long>(shape[i])));
  }
  // One dimension is written "(3,)", several "(3, 4)".
  append(snprintf(header + size, capacity - size, "%s), }", rank == 1 ? "," : ""));
  while ((size + 1) % 64 != 0) header[size++] = ' ';
  header[size++] = '\n';
  const char version_and_length[] = {1, 0, static_cast<char>((size - start) & 0xff),
                                     static_cast<char>((size - start) >> 8)};
  memcpy(header + kMagic.size(), version_and_length, sizeof(version_and_length));
  return size;
}

}  // namespace weft
