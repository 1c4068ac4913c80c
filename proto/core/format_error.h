// What the readers of files have in common. This folder is freestanding: beside programs of ours,
// it is part of ahead-of-time artifacts, which have libc and no C++ library. So nothing here
// allocates or throws, and string_view, a pointer and a size, is used without those of its members
// that throw (substr, at).
#ifndef WEFT_PROTO_CORE_FORMAT_ERROR_H_
#define WEFT_PROTO_CORE_FORMAT_ERROR_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proto/dtype.h"

namespace weft {

// Dimensions of a tensor in a file.
inline constexpr size_t kMaxFileRank = 64;

// What is wrong with the bytes of a file, as the parts of a sentence.
struct FormatError {
  const char* before = nullptr;  // null: nothing is wrong
  std::string_view value = {};   // a view of what was read
  const char* after = "";
  uint64_t number = 0;
  const char* unit = nullptr;    // behind the number; null: there is no number
  std::string_view tensor = {};  // whose fault it is; data() is null where it is no tensor's
  bool damaged = false;          // a checksum differs

  explicit operator bool() const { return before != nullptr; }
};

// As snprintf, with at most 1000 bytes of a view: "tensor 'w' has dtype 'C64', which Weft does not
// have". What views hold that is not printable is escaped, "\x1b"; the text is UTF-8.
size_t Describe(const FormatError& error, char* text, size_t capacity);

// Bytes of a tensor; -1 where they pass 63 bits. Where one dimension is 0, the others may be
// anything.
int64_t BytesOfShape(DataType dtype, const int64_t* shape, size_t rank);

// Whether every byte is 0 or 1.
bool AreBools(std::string_view bytes);

}  // namespace weft

#endif  // WEFT_PROTO_CORE_FORMAT_ERROR_H_
