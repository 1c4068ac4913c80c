#include "tools/data/data_file.h"

#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/file.h"
#include "proto/pages.h"

namespace weft {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;
constexpr size_t kMaxGiven = size_t{1} << 30;  // to zlib at once

struct Inflater {
  z_stream stream{};
  Inflater() { ok = inflateInit2(&stream, 15 + 16) == Z_OK; }  // 16: a gzip header
  ~Inflater() {
    if (ok) inflateEnd(&stream);
  }
  bool ok;
};

// A file in memory, so that what is unpacked is written once, and mapped as other data files are.
class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("unpacked", MFD_CLOEXEC)) {}
  MemoryFile(const MemoryFile&) = delete;
  ~MemoryFile() {
    if (fd_ >= 0) close(fd_);
  }
  absl::Status Append(const char* bytes, size_t size) {
    while (size > 0) {
      const ssize_t written = fd_ < 0 ? -1 : write(fd_, bytes, size);
      if (written < 0 && fd_ >= 0 && errno == EINTR) continue;
      if (written < 0) {
        return absl::ResourceExhaustedError(
            absl::StrCat("no memory to unpack into: ", strerror(errno)));
      }
      bytes += written;
      size -= static_cast<size_t>(written);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::shared_ptr<const Bytes>> Map() const {
    return Bytes::Map(absl::StrCat("/proc/self/fd/", fd_));
  }

 private:
  const int fd_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Bytes>> Gunzip(std::string_view packed, uint64_t limit) {
  Inflater inflater;
  if (!inflater.ok) return absl::ResourceExhaustedError("no memory to unpack with");
  z_stream& stream = inflater.stream;
  MemoryFile file;
  std::vector<char> chunk(kChunkBytes);
  uint64_t size = 0;
  size_t taken = 0;
  while (true) {
    const size_t given = std::min(packed.size() - taken, kMaxGiven);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + taken));
    stream.avail_in = static_cast<uInt>(given);
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    const int result = inflate(&stream, Z_NO_FLUSH);
    taken += given - stream.avail_in;
    const size_t made = chunk.size() - stream.avail_out;
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
      return absl::InvalidArgumentError(absl::StrCat("damaged gzip data near byte ", taken));
    }
    size += made;
    if (size > limit) {
      return absl::ResourceExhaustedError(
          absl::StrCat("unpacks to more than the ", limit,
                       " bytes that there is memory for; use a part of the data"));
    }
    if (absl::Status status = file.Append(chunk.data(), made); !status.ok()) return status;
    if (result == Z_STREAM_END) {
      if (taken == packed.size()) return file.Map();
      inflateReset(&stream);
    } else if (made == 0 && taken == packed.size()) {
      return absl::InvalidArgumentError("the gzip data ends too early");
    }
  }
}

absl::StatusOr<std::shared_ptr<const Bytes>> ReadDataFile(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Load(path);
  if (!bytes.ok()) return bytes.status();
  const std::string_view view = (*bytes)->view();
  if (view.substr(0, 2) != "\x1f\x8b") return bytes;
  // Half of the memory that is to be had: what becomes of the data wants some as well.
  absl::StatusOr<std::shared_ptr<const Bytes>> unpacked = Gunzip(view, AvailableMemory() / 2);
  if (unpacked.ok()) return unpacked;
  return absl::Status(unpacked.status().code(),
                      absl::StrCat(path, ": ", unpacked.status().message()));
}

}  // namespace weft
