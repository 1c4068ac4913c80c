// Memory straight from the operating system, for blocks of megabytes.
#ifndef WEFT_PROTO_PAGES_H_
#define WEFT_PROTO_PAGES_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace weft {

// A page that the processor translates by one entry instead of by 512.
inline constexpr size_t kLargePage = size_t{2} << 20;

// `size` > 0 bytes of zeros, writable, which take memory as they are touched. From two large pages
// on, they start on one and the system is asked to use them. Null, with errno, where there is no
// room.
void* MapZeroPages(size_t size);
// `size` as it was asked for.
void UnmapPages(void* data, size_t size);

// Bytes that this process could still take, of the machine or of its container; a guess, as others
// take some as well. For limits on what a file may make of itself. `root` is where the system's
// files are.
uint64_t AvailableMemory(const std::string& root = "");

}  // namespace weft

#endif  // WEFT_PROTO_PAGES_H_
