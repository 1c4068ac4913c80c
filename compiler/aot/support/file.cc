#include "compiler/aot/support/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weft::aot {
MappedFile::~MappedFile() {
  if (size_ > 0) munmap(const_cast<char*>(bytes_), size_);
}

bool MappedFile::Map(const char* path) {
  // Without O_NONBLOCK, opening a pipe would wait for a writer.
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return false;
  struct statx status;
  // Not fstat, which is a function of its own only in recent C libraries.
  bool good = statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status) == 0;
  if (good && !S_ISREG(status.stx_mode)) {
    good = false;
    errno = S_ISDIR(status.stx_mode) ? EISDIR : EINVAL;
  }
  if (good && status.stx_size > 0) {
    void* memory =
        mmap(nullptr, static_cast<size_t>(status.stx_size), PROT_READ, MAP_PRIVATE, fd, 0);
    good = memory != MAP_FAILED;
    if (good) {
      bytes_ = static_cast<const char*>(memory);
      size_ = static_cast<size_t>(status.stx_size);
    }
  }
  const int error = errno;
  close(fd);
  errno = error;
  return good;
}

}  // namespace weft::aot
