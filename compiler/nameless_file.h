// Files for programs that take their input and output by path.
#ifndef WEFT_COMPILER_NAMELESS_FILE_H_
#define WEFT_COMPILER_NAMELESS_FILE_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace weft {

// A file that can be opened by its path and that has no name in any folder, so that nothing of it
// is left however this process ends. In the folder for temporary files, or where that has no such
// files, in memory. Owns the file.
class NamelessFile {
 public:
  // Unavailable where it cannot be written.
  static absl::StatusOr<NamelessFile> Of(std::string_view bytes);
  NamelessFile(NamelessFile&& other) noexcept;
  NamelessFile& operator=(NamelessFile&&) = delete;
  ~NamelessFile();

  // For this process and for those that it starts, as long as this object lives.
  std::string path() const { return PathOf(fd_); }
  // What whoever opened the path has made of it.
  absl::StatusOr<std::string> Read() const;

  // The path of what is open, in the same way.
  static std::string PathOf(int fd);

 private:
  explicit NamelessFile(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_NAMELESS_FILE_H_
