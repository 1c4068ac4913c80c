// Files as bytes: reading and mapping, atomic writing.
#ifndef WEFT_PROTO_FILE_H_
#define WEFT_PROTO_FILE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weft {

// A file mapped read-only, or bytes in memory (aligned to 64). Immutable; shared by all who hold
// it. Nobody may write to a mapped file meanwhile: its bytes would change after they were verified,
// and where it becomes shorter, reading them ends the process (SIGBUS). Writers replace files by
// renaming, which leaves the mapped one as it is.
class Bytes {
 public:
  // Error: NotFound, PermissionDenied, InvalidArgument (a folder, a pipe or a device) or Internal,
  // naming the path.
  static absl::StatusOr<std::shared_ptr<const Bytes>> Map(const std::string& path);
  // The same, but a file of up to kMostRead bytes is read into memory, so that nothing that happens
  // to it later matters. Error: also Internal where it becomes shorter meanwhile.
  static absl::StatusOr<std::shared_ptr<const Bytes>> Load(const std::string& path);
  static constexpr size_t kMostRead = size_t{16} << 20;
  // `name` stands for the path in messages.
  static std::shared_ptr<const Bytes> Of(std::string_view bytes, std::string name = "(memory)");
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ~Bytes();

  std::string_view view() const { return {data_, size_}; }
  // The file, for mapping a part again with other protection; -1 for bytes in memory.
  int fd() const { return fd_; }
  const std::string& path() const { return path_; }

 private:
  Bytes() = default;
  static std::shared_ptr<Bytes> InMemory(size_t size, std::string name);
  char* data_ = nullptr;
  size_t size_ = 0;
  int fd_ = -1;
  std::string path_;
};

// Whether both paths lead to the same file, by whatever links, or are the same text.
bool SameFile(const std::string& a, const std::string& b);

// Writes the file atomically (beside, fsync, rename, fsync of the folder): at `path` is either the
// old file or the whole new one, and a process that is ended while it writes leaves nothing beside,
// where the file system allows that, but in its last moments (proto/core/atomic_file.h). A file
// that is replaced keeps its permissions. A symbolic link stays, and what it points to is replaced;
// a device or a pipe
// (/dev/stdout) is written to directly. Errors name the path: NotFound (no such folder),
// PermissionDenied, ResourceExhausted (disk full), InvalidArgument (a folder), Internal.
absl::Status WriteFileAtomically(const std::string& path, std::string_view bytes);
// Same for the pieces one after the other.
absl::Status WriteFileAtomically(const std::string& path,
                                 const std::vector<std::string_view>& pieces);

}  // namespace weft

#endif  // WEFT_PROTO_FILE_H_
