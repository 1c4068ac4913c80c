// The idx format of MNIST and its relatives: one array, big-endian.
#ifndef WEFT_TOOLS_DATA_IDX_H_
#define WEFT_TOOLS_DATA_IDX_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "proto/host_tensor.h"

namespace weft {

// Whether the bytes start like an idx file: two zeros, a known type, 1 to 8 dimensions.
bool LooksLikeIdx(std::string_view bytes);

// u8, i8, i32, f32 and f64 as they are; i16 becomes i32. Copies. Error: InvalidArgument on an
// unknown type, or where header and size disagree.
absl::StatusOr<HostTensor> ReadIdx(std::string_view bytes);

}  // namespace weft

#endif  // WEFT_TOOLS_DATA_IDX_H_
