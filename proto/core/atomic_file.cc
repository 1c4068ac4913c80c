#include "proto/core/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weft {
namespace {

int WriteAll(int fd, const FilePiece* pieces, size_t count) {
  constexpr size_t kAtOnce = size_t{1} << 30;
  for (size_t i = 0; i < count; ++i) {
    const char* at = pieces[i].bytes;
    size_t left = pieces[i].size;
    while (left > 0) {
      const ssize_t written = write(fd, at, left < kAtOnce ? left : kAtOnce);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return errno;
      at += written;
      left -= static_cast<size_t>(written);
    }
  }
  return 0;
}

int Sync(int fd) {
  int result;
  do {
    result = fsync(fd);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

// statx, because stat and fstat are functions of their own only in recent C libraries.
bool Status(const char* path, struct statx* status) {
  return statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, status) == 0;
}

// Makes a name beside `target`, in `path`: of this thread of this process alone. Gives it to the
// file `*fd`, which has none yet, or opens a new file of that name where `*fd` is -1. A process of
// the same number may have died and left a file behind (in a container numbers repeat): that one is
// not touched. Returns 0 or an errno.
int NameBeside(const char* target, mode_t mode, int* fd, char* path, size_t size) {
  static unsigned counter = 0;
  constexpr int kAttempts = 10000;
  // A name may be as long as names can be, and this one has more behind it: of that its beginning.
  constexpr size_t kSuffix = sizeof(".tmp.2147483647.4294967295") - 1;
  const char* slash = strrchr(target, '/');
  const size_t folder = slash == nullptr ? 0 : static_cast<size_t>(slash + 1 - target);
  const size_t name = strlen(target) - folder;
  const size_t kept = folder + (name + kSuffix > NAME_MAX ? NAME_MAX - kSuffix : name);
  const bool nameless = *fd >= 0;
  char link[32];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", *fd);
  for (int i = 0; i < kAttempts; ++i) {
    const unsigned number = __atomic_fetch_add(&counter, 1u, __ATOMIC_RELAXED);
    snprintf(path, size, "%.*s.tmp.%d.%u", static_cast<int>(kept), target,
             static_cast<int>(getpid()), number);
    if (nameless) {
      if (linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0) return 0;
    } else {
      *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
      if (*fd >= 0) return 0;
    }
    if (errno != EEXIST) return errno;
  }
  return EEXIST;
}

// Cuts a path to its folder, in place; returns the folder, and what was behind the last slash.
const char* CutToFolder(char* path, const char** name) {
  char* slash = strrchr(path, '/');
  if (slash == nullptr) {
    *name = path;
    return ".";
  }
  // The root keeps its slash, so the name has to move away from behind it.
  if (slash == path) {
    memmove(path + 2, path + 1, strlen(path + 1) + 1);
    path[1] = '\0';
    *name = path + 2;
    return path;
  }
  *slash = '\0';
  *name = slash + 1;
  return path;
}

// The descriptor of this process that a path stands for, by its folder: /proc/self/fd/1, and with
// it /dev/fd/1 and /proc/self/task/7/fd/1. -1 where it stands for none.
int DescriptorAt(const char* path) {
  char copy[PATH_MAX + 2], folder[PATH_MAX], own[32];
  const char* name;
  strcpy(copy, path);
  if (realpath(CutToFolder(copy, &name), folder) == nullptr) return -1;
  snprintf(own, sizeof(own), "/proc/%d/", static_cast<int>(getpid()));
  const size_t length = strlen(folder);
  if (strncmp(folder, own, strlen(own)) != 0 || strcmp(folder + length - 3, "/fd") != 0) return -1;
  char* end;
  const long fd = strtol(name, &end, 10);
  return end != name && *end == '\0' && fd >= 0 && fd <= INT_MAX ? static_cast<int>(fd) : -1;
}

// Where a new file goes: to the end of a chain of symbolic links, which need not be there. Or to a
// descriptor of this process that a link of the chain stands for, as /dev/stdout does: what is
// behind that may be a file, but whoever opened it wants it written to where it stands
// ("-o /dev/stdout >> log"), which a new file in its place is not. -1 where it is none.
int Resolve(const char* path, char (&target)[PATH_MAX + 1], int* descriptor) {
  constexpr int kMaxLinks = 40;
  *descriptor = -1;
  if (strlen(path) >= PATH_MAX) return ENAMETOOLONG;
  strcpy(target, path);
  for (int i = 0; i < kMaxLinks; ++i) {
    *descriptor = DescriptorAt(target);
    if (*descriptor >= 0) return 0;
    char link[PATH_MAX];
    const ssize_t size = readlink(target, link, sizeof(link));
    if (size < 0) return 0;  // no link, or nothing yet
    if (size >= static_cast<ssize_t>(sizeof(link))) return ENAMETOOLONG;
    link[size] = '\0';
    char folder[PATH_MAX + 2];
    strcpy(folder, target);
    const char* name;
    const char* base = CutToFolder(folder, &name);
    const int made = link[0] == '/' ? snprintf(target, sizeof(target), "%s", link)
                                    : snprintf(target, sizeof(target), "%s/%s", base, link);
    if (made < 0 || made >= PATH_MAX) return ENAMETOOLONG;
  }
  return ELOOP;
}

// So that the new name survives a loss of power. A folder that may not be read, or a file system
// that cannot sync folders (EINVAL), is no error: nothing more can be done.
int SyncFolderOf(char* path) {
  const char* name;
  const int folder = open(CutToFolder(path, &name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return 0;
  const int error = Sync(folder);
  close(folder);
  return error == EINVAL ? 0 : error;
}

struct NewFile {
  const char* target;
  const struct statx* replaced;  // null where nothing is there
  const FilePiece* pieces;
  size_t count;
};

// Writes all to the disk. What was there keeps its permissions.
int Fill(int fd, const NewFile& file) {
  if (file.replaced != nullptr && fchmod(fd, file.replaced->stx_mode & 0777) != 0) return errno;
  if (const int error = WriteAll(fd, file.pieces, file.count)) return error;
  return Sync(fd);
}

// A new file has its permissions before any byte of it is written.
mode_t FirstMode(const NewFile& file) { return file.replaced != nullptr ? 0600 : 0666; }

// Writes a file that has no name, so that nothing of it is left whatever ends the process
// meanwhile, and gives it a name (`path`) beside the target at the end. `*possible`: whether the
// file system has such files, and /proc is there to name them by.
int WriteNameless(const NewFile& file, char* path, size_t size, bool* possible) {
  char folder[PATH_MAX + 2];
  const char* name;
  strcpy(folder, file.target);
  const mode_t mode = FirstMode(file);
  int fd = open(CutToFolder(folder, &name), O_WRONLY | O_TMPFILE | O_CLOEXEC, mode);
  *possible = fd >= 0;
  if (fd < 0) return errno;
  int error = Fill(fd, file);
  if (error == 0) {
    error = NameBeside(file.target, mode, &fd, path, size);
    *possible = error == 0;
    // Some file systems (btrfs) take no account of a sync of a file without a name.
    if (error == 0) error = Sync(fd);
    if (error != 0 && *possible) unlink(path);
  }
  close(fd);
  return error;
}

int WriteNamed(const NewFile& file, char* path, size_t size) {
  int fd = -1;
  if (const int error = NameBeside(file.target, FirstMode(file), &fd, path, size)) return error;
  const int error = Fill(fd, file);
  close(fd);
  if (error != 0) unlink(path);
  return error;
}

}  // namespace

bool IsSameFile(const char* a, const char* b) {
  if (strcmp(a, b) == 0) return true;
  struct statx first, second;
  return Status(a, &first) && Status(b, &second) && first.stx_dev_major == second.stx_dev_major &&
         first.stx_dev_minor == second.stx_dev_minor && first.stx_ino == second.stx_ino;
}

int ReplaceFile(const char* path, const FilePiece* pieces, size_t count) {
  char target[PATH_MAX + 1];
  int descriptor;
  if (const int error = Resolve(path, target, &descriptor)) return error;
  if (descriptor >= 0) return WriteAll(descriptor, pieces, count);
  struct statx status;
  const bool replaces = Status(path, &status);
  if (replaces && S_ISDIR(status.stx_mode)) return EISDIR;
  if (replaces && !S_ISREG(status.stx_mode)) {
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    const int error = WriteAll(fd, pieces, count);
    close(fd);
    return error;
  }
  const NewFile file = {target, replaces ? &status : nullptr, pieces, count};
  char temporary[PATH_MAX + 32];
  bool possible;
  int error = WriteNameless(file, temporary, sizeof(temporary), &possible);
  if (!possible) error = WriteNamed(file, temporary, sizeof(temporary));
  if (error != 0) return error;
  if (rename(temporary, target) != 0) {
    error = errno;
    unlink(temporary);
    return error;
  }
  return SyncFolderOf(target);
}

}  // namespace weft
