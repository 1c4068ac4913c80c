// The checksum of Weft's files: CRC-32 as in zip and PNG (reflected, polynomial 0xedb88320).
#ifndef WEFT_PROTO_CORE_CRC32_H_
#define WEFT_PROTO_CORE_CRC32_H_

#include <cstdint>
#include <string_view>

namespace weft {

// The checksum of `bytes`, or, given that of what comes before them, of both together.
uint32_t Crc32(std::string_view bytes, uint32_t before = 0);

// The same byte by byte: what processors without carry-less multiplication do.
uint32_t Crc32ByTable(std::string_view bytes, uint32_t before = 0);

}  // namespace weft

#endif  // WEFT_PROTO_CORE_CRC32_H_
