// Reading the safetensors format in artifacts, where there is no C++ library. proto/safetensors.h
// is its description and the reader of everything else.
#ifndef WEFT_COMPILER_AOT_SUPPORT_SAFETENSORS_H_
#define WEFT_COMPILER_AOT_SUPPORT_SAFETENSORS_H_

#include <stddef.h>
#include <stdint.h>

namespace weft::aot {

constexpr int kMaxRank = 64;
constexpr size_t kMaxNameBytes = 1024;

// A tensor of the file.
struct SafetensorsEntry {
  char name[kMaxNameBytes + 1];
  int32_t dtype;  // weft.DType
  int rank;
  int64_t shape[kMaxRank];
  const char* data;
  int64_t bytes;
};

// Calls `visit(context, entry)` for each tensor of a file in memory, after the checksum, where
// there is one, was verified. The entry is valid during the call. Returns null, or what is wrong:
// with the file, or what `visit` returned, which ends the walk.
const char* WalkSafetensors(const char* bytes, size_t size,
                            const char* (*visit)(void* context, const SafetensorsEntry& entry),
                            void* context);

// The names of the format: "F32".
const char* SafetensorsTypeName(int32_t dtype);

// CRC-32 as in zip, of the bytes, or, given that of what comes before them, of both together.
uint32_t Crc32(const char* bytes, size_t size, uint32_t before);

}  // namespace weft::aot

#endif  // WEFT_COMPILER_AOT_SUPPORT_SAFETENSORS_H_
