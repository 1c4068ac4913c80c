// The bytes of a safetensors file; proto/safetensors.h describes the layout, and is for tensors.
#ifndef WEFT_PROTO_CORE_SAFETENSORS_FORMAT_H_
#define WEFT_PROTO_CORE_SAFETENSORS_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proto/core/format_error.h"

namespace weft {

struct SafetensorsTensor {
  std::string_view name;   // decoded
  std::string_view shape;  // as the header has it: "[2,3]"
  DataType dtype;
  int64_t begin, end;  // in the data
};

// Views of a file's bytes, and of the memory given for its names.
struct SafetensorsFile {
  std::string_view header;
  std::string_view data;  // of the tensors
  size_t memory_bytes;    // what ParseSafetensors needs: in proportion to the header
  // From ParseSafetensors.
  std::string_view metadata;   // the JSON object, all of whose values are strings; "" if missing
  SafetensorsTensor* tensors;  // in the order of their names
  size_t num_tensors;

  // Null where there is no such tensor.
  const SafetensorsTensor* Find(std::string_view name) const;
  std::string_view BytesOf(const SafetensorsTensor& tensor) const {
    return {data.data() + tensor.begin, static_cast<size_t>(tensor.end - tensor.begin)};
  }
};

inline constexpr std::string_view kSafetensorsCrcKey = "weft.crc32";

// First OpenSafetensors, which finds header and data, then ParseSafetensors, which reads and
// verifies everything. `memory`, aligned to 8, is to stay as long as `file` and the error.
FormatError OpenSafetensors(std::string_view bytes, SafetensorsFile* file);
FormatError ParseSafetensors(void* memory, SafetensorsFile* file);
// Writes a tensor's shape and returns its rank.
size_t ShapeOf(const SafetensorsTensor& tensor, int64_t shape[kMaxFileRank]);

struct SafetensorsItem {
  std::string_view name;  // UTF-8
  DataType dtype;         // not kInvalid
  const int64_t* shape;
  size_t rank;
  std::string_view bytes;
};
struct SafetensorsNote {
  std::string_view key, value;  // UTF-8
};
// Puts tensors into the order of the file.
void SortSafetensors(SafetensorsItem* items, size_t count);
// Writes the header, its length included, for tensors in that order; returns its size. A null
// `header` is not written. The checksum is 0, and is put there when that of the whole file is
// known.
size_t WriteSafetensorsHeader(const SafetensorsItem* items, size_t count,
                              const SafetensorsNote* notes, size_t num_notes, char* header);
void PutSafetensorsCrc(uint32_t crc, char* header);

}  // namespace weft

#endif  // WEFT_PROTO_CORE_SAFETENSORS_FORMAT_H_
