// What is in a package, for people and for machines.
#ifndef WEFT_TOOLS_WEFT_PACKAGE_VIEW_H_
#define WEFT_TOOLS_WEFT_PACKAGE_VIEW_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/session.h"

namespace weft::cli {

struct PackageViewOptions {
  std::string signature;           // only this one, where not empty
  std::vector<std::string> sizes;  // of open dimensions, for the memory: "batch=32"
  bool json = false;
  bool steps = false;           // in the text
  SessionOptions session = {};  // what the memory is for: devices, and threads of a processor
};
// Signatures with the memory that they need on those devices, or why that is not known; variables,
// sections, and for each target its plans and their steps. Errors are marked kBadInput, or kUsage
// for the options.
absl::StatusOr<std::string> PackageText(const std::string& path, const PackageViewOptions& options);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_PACKAGE_VIEW_H_
