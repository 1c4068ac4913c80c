// What is in a package, for people and for machines.
#ifndef WEFT_TOOLS_WEFT_PACKAGE_VIEW_H_
#define WEFT_TOOLS_WEFT_PACKAGE_VIEW_H_

#include <string>

#include "absl/status/statusor.h"

namespace weft::cli {

// Signatures, variables, sections, and for each target and plan its steps and memory. Errors are
// marked kBadInput.
absl::StatusOr<std::string> PackageText(const std::string& path, bool json, bool steps);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_PACKAGE_VIEW_H_
