#include "compiler/aot/support/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weft::aot {
namespace {

bool WriteAll(int fd, const Piece* pieces, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const char* at = pieces[i].bytes;
    size_t left = pieces[i].size;
    while (left > 0) {
      const ssize_t written = write(fd, at, left);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return false;
      at += written;
      left -= static_cast<size_t>(written);
    }
  }
  return true;
}

// statx, because stat and fstat are functions of their own only in recent C libraries.
bool Status(int fd, const char* path, struct statx* status) {
  return statx(fd, path, AT_EMPTY_PATH, STATX_BASIC_STATS, status) == 0;
}

// Opens a new file beside `target`, whose name it writes to `path`: of this thread of this process
// alone. One that a process of the same number left behind is not touched. -1 with errno where it
// cannot.
int OpenTemporary(const char* target, mode_t mode, char* path, size_t size) {
  static unsigned counter = 0;
  constexpr int kAttempts = 10000;
  int fd = -1;
  for (int i = 0; i < kAttempts; ++i) {
    const unsigned number = __atomic_fetch_add(&counter, 1u, __ATOMIC_RELAXED);
    snprintf(path, size, "%s.tmp.%d.%u", target, static_cast<int>(getpid()), number);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return fd;
}

// So that the new name survives a loss of power. A folder that may not be read, or a file system
// that cannot sync folders (EINVAL), is no error: nothing more can be done.
bool SyncFolderOf(char* path) {
  char* slash = strrchr(path, '/');
  if (slash != nullptr) slash[slash == path] = '\0';
  const int folder = open(slash == nullptr ? "." : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return true;
  const int error = fsync(folder) == 0 ? 0 : errno;
  close(folder);
  if (error == 0 || error == EINVAL) return true;
  errno = error;
  return false;
}

}  // namespace

bool SameFile(const char* a, const char* b) {
  if (strcmp(a, b) == 0) return true;
  struct statx first, second;
  return Status(AT_FDCWD, a, &first) && Status(AT_FDCWD, b, &second) &&
         first.stx_dev_major == second.stx_dev_major &&
         first.stx_dev_minor == second.stx_dev_minor && first.stx_ino == second.stx_ino;
}

bool WriteFileAtomically(const char* path, const Piece* pieces, size_t count) {
  struct statx status;
  const bool exists = Status(AT_FDCWD, path, &status);
  if (exists && S_ISDIR(status.stx_mode)) {
    errno = EISDIR;
    return false;
  }
  if (exists && !S_ISREG(status.stx_mode)) {
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool written = WriteAll(fd, pieces, count);
    const int error = errno;
    close(fd);
    errno = error;
    return written;
  }
  // What a symbolic link points to is replaced, not the link.
  char target[PATH_MAX];
  if (!exists || realpath(path, target) == nullptr) {
    if (strlen(path) >= sizeof(target)) {
      errno = ENAMETOOLONG;
      return false;
    }
    strcpy(target, path);
  }
  char temporary[PATH_MAX + 32];
  // What was there keeps its permissions; a new file has them before any byte of it is written.
  const int fd = OpenTemporary(target, exists ? 0600 : 0666, temporary, sizeof(temporary));
  if (fd < 0) return false;
  bool good = !exists || fchmod(fd, status.stx_mode & 0777) == 0;
  good = good && WriteAll(fd, pieces, count) && fsync(fd) == 0;
  int error = errno;
  close(fd);
  if (good && rename(temporary, target) != 0) {
    good = false;
    error = errno;
  }
  if (good) return SyncFolderOf(target);
  unlink(temporary);
  errno = error;
  return false;
}

MappedFile::~MappedFile() {
  if (size_ > 0) munmap(const_cast<char*>(bytes_), size_);
}

bool MappedFile::Map(const char* path) {
  // Without O_NONBLOCK, opening a pipe would wait for a writer.
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return false;
  struct statx status;
  bool good = Status(fd, "", &status);
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
