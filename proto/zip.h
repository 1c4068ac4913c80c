// Zip archives, as far as .npz files need them: stored and deflated members, with ZIP64.
#ifndef WEFT_PROTO_ZIP_H_
#define WEFT_PROTO_ZIP_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weft {

struct ZipMember {
  std::string name;
  // As they lie in the archive: `size` bytes once decompressed.
  std::string_view bytes;
  uint64_t size = 0;
  uint32_t crc = 0;
  bool deflated = false;
};

// The archive's directory. Error: InvalidArgument on anything malformed, encrypted, or compressed
// in another way; `size` is at most about 1032 times (the most that deflate can do) the member's
// bytes.
absl::StatusOr<std::vector<ZipMember>> ReadZip(std::string_view archive);
// Writes the member's contents, `size` bytes. DataLoss where its checksum differs.
absl::Status ExtractZipMember(const ZipMember& member, char* contents);
// For a stored member only: verifies its checksum; its contents are `member.bytes`.
absl::Status VerifyStoredZipMember(const ZipMember& member);

struct ZipMemberToWrite {
  std::string name;
  std::string_view bytes;
};
// An archive of stored members; each one's bytes start at a multiple of 64. OutOfRange where it
// would reach 4 GiB.
absl::StatusOr<std::string> WriteZip(const std::vector<ZipMemberToWrite>& members);

}  // namespace weft

#endif  // WEFT_PROTO_ZIP_H_
