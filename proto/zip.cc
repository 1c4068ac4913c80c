#include "proto/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/core/crc32.h"

// The format: PKWARE's APPNOTE.TXT. Records are little-endian, as is every machine Weft runs on.
namespace weft {
namespace {

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kEnd64LocatorSignature = 0x07064b50;
constexpr size_t kLocalSize = 30;
constexpr size_t kCentralSize = 46;
constexpr size_t kEndSize = 22;
constexpr size_t kEnd64Size = 56;
constexpr size_t kEnd64LocatorSize = 20;
constexpr size_t kMaxComment = 65535;
constexpr uint16_t kExtra64 = 1;
constexpr uint16_t kStored = 0;
constexpr uint16_t kDeflated = 8;
constexpr uint64_t kDeflateRatio = 1032;
// Extra field that only pads (as Android's zipalign writes it).
constexpr uint16_t kExtraPadding = 0xd935;

absl::Status Malformed(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("zip archive: ", what));
}

// The little-endian number at `offset`; the caller has checked that it is there.
template <typename T>
T Load(std::string_view bytes, size_t offset) {
  T value;
  memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}
template <typename T>
void Append(T value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

struct Directory {
  uint64_t members = 0, offset = 0, size = 0;
};

absl::StatusOr<Directory> FindDirectory(std::string_view archive) {
  if (archive.size() < kEndSize) return Malformed("too short");
  // The end record is followed by nothing but a comment.
  size_t end = archive.size() - kEndSize;
  const size_t lowest = end - std::min(end, kMaxComment);
  while (Load<uint32_t>(archive, end) != kEndSignature ||
         Load<uint16_t>(archive, end + 20) != archive.size() - end - kEndSize) {
    if (end == lowest) return Malformed("has no directory");
    --end;
  }
  Directory directory;
  directory.members = Load<uint16_t>(archive, end + 10);
  directory.size = Load<uint32_t>(archive, end + 12);
  directory.offset = Load<uint32_t>(archive, end + 16);
  if (end >= kEnd64LocatorSize &&
      Load<uint32_t>(archive, end - kEnd64LocatorSize) == kEnd64LocatorSignature) {
    const uint64_t end64 = Load<uint64_t>(archive, end - kEnd64LocatorSize + 8);
    if (end64 > archive.size() || archive.size() - end64 < kEnd64Size ||
        Load<uint32_t>(archive, end64) != kEnd64Signature) {
      return Malformed("has no ZIP64 directory where one is named");
    }
    directory.members = Load<uint64_t>(archive, end64 + 32);
    directory.size = Load<uint64_t>(archive, end64 + 40);
    directory.offset = Load<uint64_t>(archive, end64 + 48);
  }
  if (directory.offset > archive.size() || directory.size > archive.size() - directory.offset ||
      directory.members > directory.size / kCentralSize) {
    return Malformed("its directory lies outside the file");
  }
  return directory;
}

// Takes those of size, compressed size and offset that do not fit 32 bits from the extra field.
absl::Status ApplyExtra64(std::string_view extra, uint64_t* size, uint64_t* stored,
                          uint64_t* offset) {
  constexpr uint64_t kElsewhere = 0xffffffff;
  if (*size != kElsewhere && *stored != kElsewhere && *offset != kElsewhere) {
    return absl::OkStatus();
  }
  while (extra.size() >= 4) {
    const uint16_t id = Load<uint16_t>(extra, 0);
    const size_t length = Load<uint16_t>(extra, 2);
    extra.remove_prefix(4);
    if (length > extra.size()) break;
    if (id != kExtra64) {
      extra.remove_prefix(length);
      continue;
    }
    std::string_view field = extra.substr(0, length);
    for (uint64_t* value : {size, stored, offset}) {
      if (*value != kElsewhere) continue;
      if (field.size() < 8) return Malformed("has a short ZIP64 field");
      *value = Load<uint64_t>(field, 0);
      field.remove_prefix(8);
    }
    return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status VerifyCrc(const ZipMember& member, std::string_view contents) {
  if (Crc32(contents) == member.crc) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("zip archive: member '", member.name, "' is damaged (its checksum differs)"));
}

}  // namespace

absl::StatusOr<std::vector<ZipMember>> ReadZip(std::string_view archive) {
  absl::StatusOr<Directory> directory = FindDirectory(archive);
  if (!directory.ok()) return directory.status();
  std::string_view rest = archive.substr(directory->offset, directory->size);
  std::vector<ZipMember> members;
  uint64_t total_stored = 0;
  for (uint64_t i = 0; i < directory->members; ++i) {
    if (rest.size() < kCentralSize || Load<uint32_t>(rest, 0) != kCentralSignature) {
      return Malformed(absl::StrCat("entry ", i, " of its directory is damaged"));
    }
    const uint16_t flags = Load<uint16_t>(rest, 8);
    const uint16_t method = Load<uint16_t>(rest, 10);
    uint64_t stored = Load<uint32_t>(rest, 20);
    uint64_t size = Load<uint32_t>(rest, 24);
    const size_t name_size = Load<uint16_t>(rest, 28);
    const size_t extra_size = Load<uint16_t>(rest, 30);
    const size_t comment_size = Load<uint16_t>(rest, 32);
    uint64_t offset = Load<uint32_t>(rest, 42);
    if (rest.size() - kCentralSize < name_size + extra_size + comment_size) {
      return Malformed(absl::StrCat("entry ", i, " of its directory is damaged"));
    }
    ZipMember member;
    member.name = std::string(rest.substr(kCentralSize, name_size));
    member.crc = Load<uint32_t>(rest, 16);
    member.deflated = method == kDeflated;
    const std::string_view extra = rest.substr(kCentralSize + name_size, extra_size);
    if (absl::Status status = ApplyExtra64(extra, &size, &stored, &offset); !status.ok()) {
      return status;
    }
    rest.remove_prefix(kCentralSize + name_size + extra_size + comment_size);

    const auto bad = [&](const char* what) {
      return Malformed(absl::StrCat("member '", member.name, "' ", what));
    };
    if ((flags & 1) != 0) return bad("is encrypted");
    if (method != kStored && method != kDeflated) {
      return bad("is compressed in a way other than deflate");
    }
    if (offset > archive.size() || archive.size() - offset < kLocalSize ||
        Load<uint32_t>(archive, offset) != kLocalSignature) {
      return bad("lies outside the file");
    }
    // The local header repeats the name and may have another extra field.
    const uint64_t start = offset + kLocalSize + Load<uint16_t>(archive, offset + 26) +
                           Load<uint16_t>(archive, offset + 28);
    if (start > archive.size() || stored > archive.size() - start) {
      return bad("lies outside the file");
    }
    if (method == kStored ? size != stored : size / kDeflateRatio > stored) {
      return bad("states a size that it cannot have");
    }
    // Members that share bytes would let a small archive expand without bound.
    total_stored += stored;
    if (total_stored > archive.size()) return bad("overlaps another");
    member.bytes = archive.substr(start, stored);
    member.size = size;
    members.push_back(std::move(member));
  }
  return members;
}

absl::Status VerifyStoredZipMember(const ZipMember& member) {
  return VerifyCrc(member, member.bytes);
}

absl::Status ExtractZipMember(const ZipMember& member, char* contents) {
  if (member.deflated) {
    z_stream stream = {};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
      return absl::ResourceExhaustedError("zip archive: no memory to decompress");
    }
    constexpr uint64_t kMost = 1u << 30;  // zlib counts in 32 bits
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(member.bytes.data()));
    stream.next_out = reinterpret_cast<Bytef*>(contents);
    uint64_t in = member.bytes.size(), out = member.size;
    int result = Z_OK;
    while (result == Z_OK) {
      const auto in_now = static_cast<uInt>(std::min(in, kMost));
      const auto out_now = static_cast<uInt>(std::min(out, kMost));
      stream.avail_in = in_now;
      stream.avail_out = out_now;
      result = inflate(&stream, Z_NO_FLUSH);
      in -= in_now - stream.avail_in;
      out -= out_now - stream.avail_out;
    }
    inflateEnd(&stream);
    if (result != Z_STREAM_END || out != 0) {
      return Malformed(absl::StrCat("member '", member.name, "' does not decompress"));
    }
  } else if (member.size > 0) {
    memcpy(contents, member.bytes.data(), member.size);
  }
  return VerifyCrc(member, {contents, member.size});
}

absl::StatusOr<std::string> WriteZip(const std::vector<ZipMemberToWrite>& members) {
  constexpr uint64_t kLimit = 0xffffffff;
  constexpr uint16_t kVersionNeeded = 20;
  constexpr uint16_t kUtf8Names = 1 << 11;
  constexpr uint16_t kMidnight = 0;
  constexpr uint16_t kFirstDay = 1 << 5 | 1;  // 1980-01-01: equal contents give equal bytes
  const auto too_large = [] {
    return absl::OutOfRangeError(
        "zip archive: would pass 4 GiB or 65535 members; write the tensors as separate files");
  };
  if (members.size() >= 0xffff) return too_large();
  uint64_t total = kEndSize;
  for (const ZipMemberToWrite& member : members) {
    if (member.name.size() > 0x7fff) return Malformed("a member's name is too long");
    total += kLocalSize + kCentralSize + 2 * member.name.size() + 68 + member.bytes.size();
    if (total >= kLimit) return too_large();
  }
  std::string file, directory;
  file.reserve(total);
  for (const ZipMemberToWrite& member : members) {
    const auto offset = static_cast<uint32_t>(file.size());
    // What local header and directory entry have in common.
    std::string common;
    Append<uint16_t>(kVersionNeeded, &common);
    Append<uint16_t>(kUtf8Names, &common);
    Append<uint16_t>(kStored, &common);
    Append<uint16_t>(kMidnight, &common);
    Append<uint16_t>(kFirstDay, &common);
    Append<uint32_t>(Crc32(member.bytes), &common);
    Append<uint32_t>(static_cast<uint32_t>(member.bytes.size()), &common);
    Append<uint32_t>(static_cast<uint32_t>(member.bytes.size()), &common);
    Append<uint16_t>(static_cast<uint16_t>(member.name.size()), &common);

    Append<uint32_t>(kLocalSignature, &file);
    file += common;
    const size_t unpadded = file.size() + sizeof(uint16_t) + member.name.size() + 4;
    const size_t padding = (64 - unpadded % 64) % 64;
    Append<uint16_t>(static_cast<uint16_t>(4 + padding), &file);
    file += member.name;
    Append<uint16_t>(kExtraPadding, &file);
    Append<uint16_t>(static_cast<uint16_t>(padding), &file);
    file.append(padding, '\0');
    file += member.bytes;

    Append<uint32_t>(kCentralSignature, &directory);
    Append<uint16_t>(kVersionNeeded, &directory);
    directory += common;
    directory.append(12, '\0');  // extra, comment, disk, attributes
    Append<uint32_t>(offset, &directory);
    directory += member.name;
  }
  const auto directory_offset = static_cast<uint32_t>(file.size());
  file += directory;
  Append<uint32_t>(kEndSignature, &file);
  Append<uint32_t>(0, &file);  // disks
  Append<uint16_t>(static_cast<uint16_t>(members.size()), &file);
  Append<uint16_t>(static_cast<uint16_t>(members.size()), &file);
  Append<uint32_t>(static_cast<uint32_t>(directory.size()), &file);
  Append<uint32_t>(directory_offset, &file);
  Append<uint16_t>(0, &file);  // comment
  return file;
}

}  // namespace weft
