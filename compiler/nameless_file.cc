#include "compiler/nameless_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Path.h"

namespace weft {
namespace {

constexpr size_t kMostAtOnce = size_t{1} << 30;

}  // namespace

absl::StatusOr<NamelessFile> NamelessFile::Of(std::string_view bytes) {
  llvm::SmallString<128> folder;
  llvm::sys::path::system_temp_directory(/*ErasedOnReboot=*/true, folder);
  int fd = open(folder.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
  if (fd < 0) fd = memfd_create("weft", MFD_CLOEXEC);
  NamelessFile file(fd);
  while (fd >= 0 && !bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), std::min(bytes.size(), kMostAtOnce));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) break;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  if (fd >= 0 && bytes.empty()) return file;
  return absl::UnavailableError(absl::StrCat("cannot write a temporary file in ",
                                             folder.str().str(), ": ", strerror(errno),
                                             "; set TMPDIR to a folder with room"));
}

NamelessFile::NamelessFile(NamelessFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

NamelessFile::~NamelessFile() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<std::string> NamelessFile::Read() const {
  std::string bytes;
  std::string chunk(size_t{1} << 20, '\0');
  while (true) {
    const ssize_t got = pread(fd_, chunk.data(), chunk.size(), static_cast<off_t>(bytes.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot read a temporary file: ", strerror(errno)));
    }
    if (got == 0) return bytes;
    bytes.append(chunk.data(), static_cast<size_t>(got));
  }
}

std::string NamelessFile::PathOf(int fd) { return absl::StrCat("/proc/", getpid(), "/fd/", fd); }

}  // namespace weft
