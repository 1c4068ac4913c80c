// The safetensors format (https://github.com/huggingface/safetensors): u64 header length, JSON
// header, raw tensors.
#ifndef WEFT_PROTO_SAFETENSORS_H_
#define WEFT_PROTO_SAFETENSORS_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/host_tensor.h"

namespace weft {

// The file's bytes. Tensors lie without gaps, as the format demands; those whose size is a multiple
// of 64 bytes come first and so start at multiples of 64 from the start of the file, the rest
// follow by falling element size and are aligned to it, so that all can be used from a mapped file.
// Otherwise the order is that of the names. `metadata` goes into "__metadata__"; the key
// "weft.crc32" is added there: eight hex digits, the CRC-32 of the whole file with those digits as
// 0. A tensor of dtype kInvalid is a bug of the caller and aborts, as does a name that is not
// UTF-8.
std::string WriteSafetensors(const std::map<std::string, HostTensor>& tensors,
                             const std::map<std::string, std::string>& metadata = {});

struct Safetensors {
  // Views into the bytes read, which `owner` keeps; a tensor that lies misaligned for its dtype is
  // copied.
  std::map<std::string, HostTensor> tensors;
  std::map<std::string, std::string> metadata;
};
// Files by others are read too, as far as their dtypes are ours (a checksum is then missing). Where
// "weft.crc32" is there it is verified (DataLoss). Error: InvalidArgument on anything malformed:
// bad JSON, deep nesting, names twice, sizes that disagree, overlap, gaps, bytes past the end, a
// bool that is neither 0 nor 1.
absl::StatusOr<Safetensors> ReadSafetensors(std::string_view bytes,
                                            std::shared_ptr<const void> owner);

}  // namespace weft

#endif  // WEFT_PROTO_SAFETENSORS_H_
