// Sizes of open dimensions on the command line.
#ifndef WEFT_TOOLS_COMMON_SIZES_H_
#define WEFT_TOOLS_COMMON_SIZES_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/session.h"

namespace weft::cli {

// "batch=1,32" each, into what CompileOptions::specialize takes. kUsage where that is not the form,
// or `dimensions`, the names of all open dimensions, do not have the name.
absl::StatusOr<std::map<std::string, std::vector<int64_t>>> ParseSizes(
    const std::vector<std::string>& sizes, const std::set<std::string>& dimensions);
// The same for options that take one size a dimension.
absl::StatusOr<std::map<std::string, int64_t>> ParseSingleSizes(
    const std::vector<std::string>& sizes, const std::set<std::string>& dimensions);

// Open dimensions of the inputs and outputs of signatures.
std::set<std::string> OpenDimensions(const std::vector<Session::SignatureInfo>& signatures);
// Shapes of a signature's inputs at those sizes, 1 for a dimension that is not in `sizes`.
absl::StatusOr<std::vector<std::vector<int64_t>>> ShapesAt(
    const Session::SignatureInfo& signature, const std::map<std::string, int64_t>& sizes);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_SIZES_H_
