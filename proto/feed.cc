#include "proto/feed.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft {
namespace {

// Whether a size is an open dimension by itself (a name, as in proto/dim_expr.h), neither a number
// nor computed.
bool IsSymbol(const std::string& dim) {
  const auto in_name = [](char c) { return absl::ascii_isalnum(c) || c == '_' || c == '.'; };
  return !dim.empty() && !absl::ascii_isdigit(dim[0]) &&
         std::all_of(dim.begin(), dim.end(), in_name);
}

}  // namespace

std::string TypeText(DataType dtype, const std::vector<std::string>& dims) {
  return absl::StrCat(std::string(NameOf(dtype)), "[", absl::StrJoin(dims, ", "), "]");
}

absl::Status FeedMismatch(const FeedType& expected, DataType dtype,
                          const std::vector<int64_t>& shape, const std::string& why) {
  return absl::InvalidArgumentError(
      absl::StrCat(expected.what, ": expected ", TypeText(expected.dtype, expected.dims), ", got ",
                   std::string(NameOf(dtype)), "[", absl::StrJoin(shape, ", "), "]",
                   why.empty() ? "" : " (", why, why.empty() ? "" : ")"));
}

absl::Status CheckFeed(const FeedType& expected, DataType dtype,
                       const std::vector<int64_t>& shape) {
  if (dtype != expected.dtype) return FeedMismatch(expected, dtype, shape);
  if (shape.size() != expected.dims.size()) {
    return FeedMismatch(expected, dtype, shape,
                        absl::StrCat("rank ", shape.size(), " instead of ", expected.dims.size()));
  }
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 0) {
      return FeedMismatch(expected, dtype, shape, absl::StrCat("dimension ", i, " is negative"));
    }
    int64_t size = 0;
    if (absl::SimpleAtoi(expected.dims[i], &size) && shape[i] != size) {
      return DimensionMismatch(expected, dtype, shape, i, size);
    }
  }
  return absl::OkStatus();
}

absl::Status DimensionMismatch(const FeedType& expected, DataType dtype,
                               const std::vector<int64_t>& shape, size_t dim, int64_t size) {
  return FeedMismatch(expected, dtype, shape, absl::StrCat("dimension ", dim, " has to be ", size));
}

absl::Status OpenSizeMismatch(const std::string& who, const std::string& symbol,
                              const OpenSize& first, const OpenSize& other) {
  return absl::InvalidArgumentError(absl::StrCat(
      who, ": ", symbol, " is ", first.size, " from ", first.input, " (dimension ", first.dim,
      ") but ", other.size, " from ", other.input, " (dimension ", other.dim, ")"));
}

absl::Status FeedChecker::Add(const std::string& input, const FeedType& expected, DataType dtype,
                              const std::vector<int64_t>& shape) {
  absl::Status fits = CheckFeed(expected, dtype, shape);
  if (!fits.ok()) return fits;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (!IsSymbol(expected.dims[i])) continue;
    const OpenSize here = {input, i, shape[i]};
    const auto [first, is_new] = sizes_.emplace(expected.dims[i], here);
    if (!is_new && first->second.size != shape[i]) {
      return OpenSizeMismatch(who_, expected.dims[i], first->second, here);
    }
  }
  return absl::OkStatus();
}

}  // namespace weft
