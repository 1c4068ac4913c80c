#include "compiler/aot/support/npy.h"

#include <stdio.h>
#include <string.h>

#include "compiler/aot/support/model.h"
#include "proto/atomic_file.h"

namespace weft::aot {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicBytes = 6;
// By weft.DType.
constexpr const char* kCodes[] = {"",    "|b1", "|i1", "|u1", "<i4",
                                  "<i8", "<f2", "<V2", "<f4", "<f8"};

class Header {
 public:
  Header(const char* begin, const char* end) : at_(begin), end_(end) {}

  const char* Read(Npy* npy) {
    bool has_type = false, has_order = false, has_shape = false;
    if (!Take('{')) return kMalformed;
    while (!Take('}')) {
      char key[32];
      if (!Text(key, sizeof(key)) || !Take(':')) return kMalformed;
      if (strcmp(key, "descr") == 0 && !has_type) {
        char code[16] = {};  // an empty one has a second character too
        if (!Text(code, sizeof(code))) return "its element type is none of Weft's";
        has_type = true;
        // '|' and '=' mean that there is no order, or this machine's.
        const bool known = code[0] != '\0' && strchr("<>|=", code[0]) != nullptr;
        npy->big_endian = code[0] == '>';
        for (int32_t i = 1; known && i < 10; ++i) {
          if (strcmp(code + 1, kCodes[i] + 1) == 0) npy->dtype = i;
        }
        if (npy->dtype == 0) return "its element type is none of Weft's; convert it with astype";
      } else if (strcmp(key, "fortran_order") == 0 && !has_order) {
        npy->fortran_order = Word("True");
        if (!npy->fortran_order && !Word("False")) return kMalformed;
        has_order = true;
      } else if (strcmp(key, "shape") == 0 && !has_shape) {
        if (!Shape(npy)) return kMalformed;
        has_shape = true;
      } else {
        return kMalformed;
      }
      if (!Take(',')) {
        if (!Take('}')) return kMalformed;
        break;
      }
    }
    Space();
    return at_ == end_ && has_type && has_order && has_shape ? nullptr : kMalformed;
  }

 private:
  static constexpr const char* kMalformed = "its header is malformed";

  void Space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n')) ++at_;
  }
  bool Take(char c) {
    Space();
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool Word(const char* word) {
    Space();
    const size_t size = strlen(word);
    if (static_cast<size_t>(end_ - at_) < size || memcmp(at_, word, size) != 0) return false;
    at_ += size;
    return true;
  }
  bool Text(char* text, size_t capacity) {
    Space();
    if (at_ == end_ || (*at_ != '\'' && *at_ != '"')) return false;
    const char quote = *at_++;
    size_t size = 0;
    while (at_ != end_ && *at_ != quote && size + 1 < capacity) text[size++] = *at_++;
    if (at_ == end_ || *at_ != quote) return false;
    ++at_;
    text[size] = '\0';
    return true;
  }
  bool Shape(Npy* npy) {
    npy->rank = 0;
    if (!Take('(')) return false;
    while (!Take(')')) {
      Space();
      int64_t size = 0;
      const char* start = at_;
      for (; at_ != end_ && *at_ >= '0' && *at_ <= '9'; ++at_) {
        if (__builtin_mul_overflow(size, 10, &size) ||
            __builtin_add_overflow(size, *at_ - '0', &size)) {
          return false;
        }
      }
      if (at_ == start || npy->rank == kMaxNpyRank) return false;
      Take('L');  // Python 2 wrote long numbers so
      npy->shape[npy->rank++] = size;
      if (!Take(',')) return Take(')');
    }
    return true;
  }

  const char* at_;
  const char* end_;
};

}  // namespace

const char* ReadNpy(const char* bytes, size_t size, Npy* npy) {
  *npy = {};
  if (size < kMagicBytes + 4 || memcmp(bytes, kMagic, kMagicBytes) != 0) {
    return "it is not a .npy file";
  }
  const int version = bytes[kMagicBytes];
  uint32_t header_size = 0;
  const size_t length_bytes = version == 1 ? 2 : 4;
  const size_t start = kMagicBytes + 2 + length_bytes;
  if (version < 1 || version > 3 || size < start) return "it is not a .npy file of version 1 to 3";
  memcpy(&header_size, bytes + kMagicBytes + 2, length_bytes);
  if (header_size > size - start) return "it is cut off";
  if (const char* problem = Header(bytes + start, bytes + start + header_size).Read(npy)) {
    return problem;
  }
  npy->bytes = weft_dtype_bytes(npy->dtype);
  // Without elements the other dimensions may be anything.
  for (int i = 0; i < npy->rank; ++i) npy->bytes = npy->shape[i] == 0 ? 0 : npy->bytes;
  for (int i = 0; i < npy->rank; ++i) {
    if (__builtin_mul_overflow(npy->bytes, npy->shape[i], &npy->bytes)) {
      return "its shape is too large";
    }
  }
  npy->data = bytes + start + header_size;
  if (static_cast<uint64_t>(npy->bytes) != size - start - header_size) {
    return "it has not the size that its shape says";
  }
  constexpr int32_t kBool = 1;
  for (int64_t i = 0; npy->dtype == kBool && i < npy->bytes; ++i) {
    if (static_cast<unsigned char>(npy->data[i]) > 1) return "it has a bool that is not 0 or 1";
  }
  return nullptr;
}

void CopyElements(const Npy& npy, char* elements) {
  const auto size = static_cast<size_t>(weft_dtype_bytes(npy.dtype));
  int64_t strides[kMaxNpyRank], index[kMaxNpyRank] = {};
  int64_t stride = 1;
  for (int i = 0; i < npy.rank; ++i) {
    const int dim = npy.fortran_order ? i : npy.rank - 1 - i;
    strides[dim] = stride;
    stride *= npy.shape[dim];
  }
  int64_t at = 0;
  for (int64_t done = 0; done < npy.bytes; done += static_cast<int64_t>(size)) {
    const char* from = npy.data + static_cast<size_t>(at) * size;
    for (size_t i = 0; i < size; ++i) *elements++ = from[npy.big_endian ? size - 1 - i : i];
    for (int dim = npy.rank; dim-- > 0;) {
      at += strides[dim];
      if (++index[dim] < npy.shape[dim]) break;
      at -= strides[dim] * npy.shape[dim];
      index[dim] = 0;
    }
  }
}

int WriteNpy(const char* path, const Npy& npy) {
  char header[128 + kMaxNpyRank * 22];
  constexpr size_t kStart = kMagicBytes + 4;
  memcpy(header, kMagic, kMagicBytes);
  header[kMagicBytes] = 1;
  header[kMagicBytes + 1] = 0;
  size_t size = kStart;
  const auto append = [&](int written) { size += static_cast<size_t>(written); };
  append(snprintf(header + size, sizeof(header) - size,
                  "{'descr': '%s', 'fortran_order': False, 'shape': (", kCodes[npy.dtype]));
  for (int i = 0; i < npy.rank; ++i) {
    append(snprintf(header + size, sizeof(header) - size, "%s%lld", i == 0 ? "" : ", ",
                    static_cast<long long>(npy.shape[i])));
  }
  append(snprintf(header + size, sizeof(header) - size, "%s), }", npy.rank == 1 ? "," : ""));
  while ((size + 1) % 64 != 0) header[size++] = ' ';
  header[size++] = '\n';
  const size_t length = size - kStart;
  header[kMagicBytes + 2] = static_cast<char>(length & 0xff);
  header[kMagicBytes + 3] = static_cast<char>(length >> 8);
  const FilePiece pieces[] = {{header, size}, {npy.data, static_cast<size_t>(npy.bytes)}};
  return ReplaceFile(path, pieces, 2);
}

}  // namespace weft::aot
