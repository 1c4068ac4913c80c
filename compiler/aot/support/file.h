// Files in artifacts, with libc alone.
#ifndef WEFT_COMPILER_AOT_SUPPORT_FILE_H_
#define WEFT_COMPILER_AOT_SUPPORT_FILE_H_

#include <stddef.h>

namespace weft::aot {

// A file mapped read-only.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(const MappedFile&) = delete;
  ~MappedFile();
  // Where it returns false, errno says why.
  bool Map(const char* path);
  const char* bytes() const { return bytes_; }
  size_t size() const { return size_; }

 private:
  const char* bytes_ = "";
  size_t size_ = 0;
};

}  // namespace weft::aot

#endif  // WEFT_COMPILER_AOT_SUPPORT_FILE_H_
