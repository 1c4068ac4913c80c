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

// The file's bytes: tensors in name order, each starting at a multiple of 64 bytes from the start
// of the file (the header is padded with spaces), so that they can be used from a mapped file.
// `metadata` goes into "__metadata__"; the key "weft.crc32" is added there: the CRC-32 of the
// tensor bytes.
std::string WriteSafetensors(const std::map<std::string, HostTensor>& tensors,
                             const std::map<std::string, std::string>& metadata = {});

struct Safetensors {
  // Views into the bytes read, which `owner` keeps; a tensor that lies misaligned for its dtype is
  // copied.
  std::map<std::string, HostTensor> tensors;
  std::map<std::string, std::string> metadata;
};
// Files by others are read too, as far as their dtypes are ours. Where "weft.crc32" is there it is
// verified (DataLoss). Error: InvalidArgument on anything malformed: bad JSON, deep nesting, sizes
// that disagree, overlap, gaps past the end.
absl::StatusOr<Safetensors> ReadSafetensors(std::string_view bytes,
                                            std::shared_ptr<const void> owner);

}  // namespace weft

#endif  // WEFT_PROTO_SAFETENSORS_H_
