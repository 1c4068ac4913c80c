#include "tools/data/data_file.h"

#include <zlib.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/file.h"

namespace weft {
namespace {

constexpr uint64_t kMaxUnpackedBytes = uint64_t{16} << 30;

struct Inflater {
  z_stream stream{};
  Inflater() { ok = inflateInit2(&stream, 15 + 16) == Z_OK; }  // 16: a gzip header
  ~Inflater() {
    if (ok) inflateEnd(&stream);
  }
  bool ok;
};

}  // namespace

absl::StatusOr<std::string> Gunzip(std::string_view packed, uint64_t limit) {
  Inflater inflater;
  if (!inflater.ok) return absl::ResourceExhaustedError("no memory to unpack with");
  z_stream& stream = inflater.stream;
  std::string out;
  std::string chunk(1 << 18, '\0');
  size_t taken = 0;
  while (true) {
    const size_t given = std::min<size_t>(packed.size() - taken, 1 << 30);
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
    if (out.size() + made > limit) {
      return absl::ResourceExhaustedError(absl::StrCat("unpacks to more than ", limit, " bytes"));
    }
    out.append(chunk, 0, made);
    if (result == Z_STREAM_END) {
      if (taken == packed.size()) return out;
      inflateReset(&stream);
    } else if (made == 0 && taken == packed.size()) {
      return absl::InvalidArgumentError("the gzip data ends too early");
    }
  }
}

absl::StatusOr<std::shared_ptr<const Bytes>> ReadDataFile(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(path);
  if (!bytes.ok()) return bytes.status();
  const std::string_view view = (*bytes)->view();
  if (view.substr(0, 2) != "\x1f\x8b") return bytes;
  absl::StatusOr<std::string> unpacked = Gunzip(view, kMaxUnpackedBytes);
  if (!unpacked.ok()) {
    return absl::Status(unpacked.status().code(),
                        absl::StrCat(path, ": ", unpacked.status().message()));
  }
  return Bytes::Of(*unpacked, path);
}

}  // namespace weft
