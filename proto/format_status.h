// The errors of proto/core as those of the readers of this folder.
#ifndef WEFT_PROTO_FORMAT_STATUS_H_
#define WEFT_PROTO_FORMAT_STATUS_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "proto/core/format_error.h"

namespace weft {

// DataLoss where a checksum differs, otherwise InvalidArgument. `format` is "npy", say.
inline absl::Status AsStatus(std::string_view format, const FormatError& error) {
  std::string text(Describe(error, nullptr, 0), '\0');
  Describe(error, text.data(), text.size() + 1);
  return absl::Status(
      error.damaged ? absl::StatusCode::kDataLoss : absl::StatusCode::kInvalidArgument,
      absl::StrCat(std::string(format), ": ", text));
}

}  // namespace weft

#endif  // WEFT_PROTO_FORMAT_STATUS_H_
