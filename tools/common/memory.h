// How much memory this process takes.
#ifndef WEFT_TOOLS_COMMON_MEMORY_H_
#define WEFT_TOOLS_COMMON_MEMORY_H_

#include <cstdint>
#include <string>

namespace weft::cli {

// Resident memory of this process at its highest, in bytes.
int64_t PeakResidentBytes();

// Resident memory that is of no file: what was allocated and written to. In bytes; 0 where the
// system does not say.
int64_t AnonymousBytes();

// "1.5 MiB".
std::string ByteText(double bytes);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_MEMORY_H_
