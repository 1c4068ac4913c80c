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

#include "absl/strings/str_cat.h"
#include "proto/core/atomic_file.h"

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

std::shared_ptr<Bytes> Bytes::InMemory(size_t size, std::string name) {
  std::shared_ptr<Bytes> bytes(new Bytes);
  bytes->path_ = std::move(name);
  bytes->size_ = size;
  if (size > 0) bytes->data_ = static_cast<char*>(::operator new(size, kAlignment));
  return bytes;
}

absl::StatusOr<std::shared_ptr<const Bytes>> Bytes::Load(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Bytes>> file = Map(path);
  if (!file.ok() || (*file)->size_ > kMostRead) return file;
  std::shared_ptr<Bytes> bytes = InMemory((*file)->size_, path);
  for (size_t done = 0; done < bytes->size_;) {
    const ssize_t got =
        pread((*file)->fd_, bytes->data_ + done, bytes->size_ - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(errno, "cannot read", path);
    if (got == 0) {
      return absl::InternalError(absl::StrCat(path, ": became shorter while it was read"));
    }
    done += static_cast<size_t>(got);
  }
  return bytes;
}

std::shared_ptr<const Bytes> Bytes::Of(std::string_view text, std::string name) {
  std::shared_ptr<Bytes> bytes = InMemory(text.size(), std::move(name));
  if (!text.empty()) memcpy(bytes->data_, text.data(), text.size());
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
  return IsSameFile(a.c_str(), b.c_str());
}

absl::Status WriteFileAtomically(const std::string& path, std::string_view bytes) {
  return WriteFileAtomically(path, std::vector<std::string_view>{bytes});
}

absl::Status WriteFileAtomically(const std::string& path,
                                 const std::vector<std::string_view>& pieces) {
  std::vector<FilePiece> all;
  all.reserve(pieces.size());
  for (std::string_view piece : pieces) all.push_back({piece.data(), piece.size()});
  const int error = ReplaceFile(path.c_str(), all.data(), all.size());
  return error == 0 ? absl::OkStatus() : FileError(error, "cannot write", path);
}

}  // namespace weft
