// The bytes of a data file, unpacked where it is a gzip file.
#ifndef WEFT_TOOLS_DATA_DATA_FILE_H_
#define WEFT_TOOLS_DATA_DATA_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace weft {

class Bytes;

// The file, or what gzip packed in it. Errors name the path: those of Bytes::Load,
// InvalidArgument on a damaged gzip file, ResourceExhausted where it unpacks to more than half of
// the memory that is available.
absl::StatusOr<std::shared_ptr<const Bytes>> ReadDataFile(const std::string& path);

// What a gzip file holds; all members of it, one after the other. ResourceExhausted past `limit`
// bytes.
absl::StatusOr<std::shared_ptr<const Bytes>> Gunzip(std::string_view packed, uint64_t limit);

}  // namespace weft

#endif  // WEFT_TOOLS_DATA_DATA_FILE_H_
