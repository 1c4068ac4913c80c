// NumPy's files: .npy holds one tensor, .npz (a zip archive of .npy files) several by name.
//
// bf16 has no NumPy type of its own. Weft writes it as '<V2' (two bytes of unknown meaning), which
// is what NumPy writes for arrays of ml_dtypes.bfloat16, and reads '<V2' and '|V2' as bf16; in
// Python, `array.view(ml_dtypes.bfloat16)` makes it usable.
#ifndef WEFT_PROTO_NPY_H_
#define WEFT_PROTO_NPY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/file.h"
#include "proto/host_tensor.h"
#include "proto/pages.h"

namespace weft {

// The bytes of a .npy file (format version 1.0, C order). A tensor of dtype kInvalid is a bug of
// the caller and aborts.
std::string WriteNpy(const HostTensor& tensor);
// Reads versions 1 to 3, C and Fortran order, either byte order. The tensor is a view into `bytes`,
// which `owner` keeps, where the elements lie as they should, otherwise a copy. Error:
// InvalidArgument on anything malformed, on bytes missing or left over, and on element types that
// Weft does not have.
absl::StatusOr<HostTensor> ReadNpy(std::string_view bytes, std::shared_ptr<const void> owner);

// OutOfRange where the archive would reach 4 GiB.
absl::StatusOr<std::string> WriteNpz(const std::map<std::string, HostTensor>& tensors);
// Reads what numpy.savez and numpy.savez_compressed write. Names are those of the members without
// ".npy". Views as ReadNpy makes them where a member is not compressed. ResourceExhausted where the
// others unpack to more than `limit` bytes together; what becomes of the tensors wants memory too.
absl::StatusOr<std::map<std::string, HostTensor>> ReadNpz(std::string_view bytes,
                                                          std::shared_ptr<const void> owner,
                                                          uint64_t limit = AvailableMemory() / 2);

// Same from and to files (read by Bytes::Load; written atomically). Errors name the path.
absl::StatusOr<HostTensor> LoadNpy(const std::string& path);
absl::StatusOr<std::map<std::string, HostTensor>> LoadNpz(const std::string& path);
absl::Status SaveNpy(const std::string& path, const HostTensor& tensor);
absl::Status SaveNpz(const std::string& path, const std::map<std::string, HostTensor>& tensors);

}  // namespace weft

#endif  // WEFT_PROTO_NPY_H_
