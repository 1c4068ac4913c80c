#include "proto/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace weft {
namespace {

constexpr std::align_val_t kAlignment{64};

absl::Status FileError(int error, std::string_view what, const std::string& path) {
  const std::string message = absl::StrCat(path, ": ", std::string(what), ": ", strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(message);
    case EISDIR:
    case ENAMETOOLONG:
    case ELOOP:
      return absl::InvalidArgumentError(message);
    default:
      return absl::InternalError(message);
  }
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Returns 0 or errno.
int WriteAll(int fd, const std::vector<std::string_view>& pieces) {
  for (std::string_view piece : pieces) {
    while (!piece.empty()) {
      const ssize_t written =
          write(fd, piece.data(), std::min<size_t>(piece.size(), size_t{1} << 30));
      if (written < 0) {
        if (errno == EINTR) continue;
        return errno;
      }
      piece.remove_prefix(static_cast<size_t>(written));
    }
  }
  return 0;
}

// Returns 0 or errno.
int Sync(int fd) {
  int result;
  do {
    result = fsync(fd);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

struct TemporaryFile {
  std::string path;
  FileDescriptor fd;
};

// A new file beside `target`. Its name is of this thread of this process alone, but a process of
// the same number may have died and left one behind (in a container numbers repeat): that one is
// not touched.
absl::StatusOr<TemporaryFile> OpenTemporary(const std::string& target, mode_t mode) {
  static std::atomic<unsigned> counter{0};
  constexpr int kAttempts = 10000;
  int error = EEXIST;
  for (int i = 0; i < kAttempts && error == EEXIST; ++i) {
    std::string path = absl::StrCat(target, ".tmp.", getpid(), ".", counter.fetch_add(1));
    FileDescriptor fd(
        open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
    if (fd.get() >= 0) return TemporaryFile{std::move(path), std::move(fd)};
    error = errno;
  }
  return FileError(error, "cannot write", target);
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// The path of an existing file without links in it; empty where there is none.
std::string Resolved(const std::string& path) {
  char* resolved = realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return "";
  std::string copy = resolved;
  free(resolved);
  return copy;
}

// The descriptor of this process that a path stands for, such as /dev/stdout, /dev/fd/3 or
// /proc/self/fd/1, by whatever links; -1 where it stands for none. What is behind it may be a file,
// but whoever opened that wants it written to where it stands ("-o /dev/stdout >> log"), which a
// new file in its place is not.
int DescriptorOf(std::string path) {
  constexpr int kMaxLinks = 16;
  const std::string own = absl::StrCat("/proc/", getpid(), "/");
  for (int i = 0; i < kMaxLinks; ++i) {
    const std::string folder = Resolved(FolderOf(path));
    const std::string name = path.substr(path.rfind('/') + 1);
    if (folder.compare(0, own.size(), own) == 0 && folder.size() > 3 &&
        folder.compare(folder.size() - 3, 3, "/fd") == 0) {
      int fd = -1;
      return absl::SimpleAtoi(name, &fd) ? fd : -1;
    }
    char target[PATH_MAX];
    const ssize_t size = readlink(path.c_str(), target, sizeof(target));
    if (size <= 0 || size == sizeof(target)) return -1;
    path = target[0] == '/' ? "" : absl::StrCat(folder, "/");
    path.append(target, static_cast<size_t>(size));
  }
  return -1;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Bytes>> Bytes::Map(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe would wait for a writer.
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return FileError(errno, "cannot open", path);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return FileError(errno, "cannot read", path);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": expected a regular file, got ", S_ISDIR(info.st_mode) ? "a folder" : "a device"));
  }
  std::shared_ptr<Bytes> bytes(new Bytes);
  bytes->path_ = path;
  bytes->size_ = static_cast<size_t>(info.st_size);
  if (bytes->size_ > 0) {
    void* data = mmap(nullptr, bytes->size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (data == MAP_FAILED) {
      bytes->size_ = 0;
      return FileError(errno, "cannot map", path);
    }
    bytes->data_ = static_cast<char*>(data);
  }
  bytes->fd_ = fd.release();
  return bytes;
}

std::shared_ptr<const Bytes> Bytes::Of(std::string_view text, std::string name) {
  std::shared_ptr<Bytes> bytes(new Bytes);
  bytes->path_ = std::move(name);
  bytes->size_ = text.size();
  if (!text.empty()) {
    bytes->data_ = static_cast<char*>(::operator new(text.size(), kAlignment));
    memcpy(bytes->data_, text.data(), text.size());
  }
  return bytes;
}

Bytes::~Bytes() {
  if (fd_ >= 0) {
    if (data_ != nullptr) munmap(data_, size_);
    close(fd_);
  } else {
    ::operator delete(data_, kAlignment);
  }
}

bool SameFile(const std::string& a, const std::string& b) {
  if (a == b) return true;
  struct stat first, second;
  return stat(a.c_str(), &first) == 0 && stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

absl::Status WriteFileAtomically(const std::string& path, std::string_view bytes) {
  return WriteFileAtomically(path, std::vector<std::string_view>{bytes});
}

absl::Status WriteFileAtomically(const std::string& path,
                                 const std::vector<std::string_view>& pieces) {
  std::string target = path;
  struct stat info;
  if (const int fd = DescriptorOf(path); fd >= 0) {
    const int error = WriteAll(fd, pieces);
    return error == 0 ? absl::OkStatus() : FileError(error, "cannot write", path);
  }
  if (stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return FileError(EISDIR, "cannot write", path);
    if (!S_ISREG(info.st_mode)) {
      FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
      if (fd.get() < 0) return FileError(errno, "cannot write", path);
      const int error = WriteAll(fd.get(), pieces);
      return error == 0 ? absl::OkStatus() : FileError(error, "cannot write", path);
    }
    if (const std::string resolved = Resolved(path); !resolved.empty()) target = resolved;
  }

  // What was there keeps its permissions; a new file has them before any byte of it is written.
  const bool replaces = stat(target.c_str(), &info) == 0;
  absl::StatusOr<TemporaryFile> temporary = OpenTemporary(target, replaces ? 0600 : 0666);
  if (!temporary.ok()) return temporary.status();
  const int fd = temporary->fd.get();
  int error = 0;
  if (replaces && fchmod(fd, info.st_mode & 0777) != 0) error = errno;
  if (error == 0) error = WriteAll(fd, pieces);
  if (error == 0) error = Sync(fd);
  if (error == 0 && rename(temporary->path.c_str(), target.c_str()) != 0) error = errno;
  if (error != 0) {
    unlink(temporary->path.c_str());
    return FileError(error, "cannot write", path);
  }
  // The new name is on disk only once its folder is; a file system that cannot sync folders says
  // EINVAL, and then nothing more can be done.
  FileDescriptor folder(open(FolderOf(target).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) return absl::OkStatus();
  error = Sync(folder.get());
  if (error == 0 || error == EINVAL) return absl::OkStatus();
  return FileError(error, "cannot sync the folder of", path);
}

}  // namespace weft
