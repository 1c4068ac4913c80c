// Tables of plain structs, with pointers between them, as one constant of a program: bytes of which
// some are addresses that the linker fills in.
#ifndef WEFT_COMPILER_AOT_TABLE_IMAGE_H_
#define WEFT_COMPILER_AOT_TABLE_IMAGE_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/types/span.h"

namespace llvm {
class Constant;
class Module;
}  // namespace llvm

namespace weft {

class TableImage {
 public:
  // Places within the image are offsets from its start.
  using Offset = uint64_t;

  // Appends the entries, at a multiple of their alignment, and returns where the first one lies.
  // Pointers in them must be null, or be set by Point afterwards.
  template <typename T>
  Offset Add(absl::Span<const T> entries) {
    return AddBytes(entries.data(), entries.size() * sizeof(T), alignof(T));
  }
  template <typename T>
  Offset AddOne(const T& entry) {
    return AddBytes(&entry, sizeof(T), alignof(T));
  }
  // A string with its NUL; equal ones are stored once.
  Offset AddString(std::string_view text);

  // Makes the 8 bytes at `field` the address of `target` in the image.
  void Point(Offset field, Offset target);
  // Makes them the address `offset` bytes after a global value.
  void PointOutside(Offset field, llvm::Constant* base, uint64_t offset);
  // Defines the image as a hidden constant named `name` in the module, which may refer to it
  // already.
  void Define(llvm::Module& module, std::string_view name) const;

 private:
  struct Pointer {
    llvm::Constant* base;  // null: the image itself
    uint64_t offset;
  };
  Offset AddBytes(const void* bytes, size_t size, size_t alignment);

  std::string bytes_;
  std::map<Offset, Pointer> pointers_;
  std::map<std::string, Offset, std::less<>> strings_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_AOT_TABLE_IMAGE_H_
