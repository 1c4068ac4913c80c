// Files that a command is going to write.
#ifndef WEFT_TOOLS_COMMON_OUTPUTS_H_
#define WEFT_TOOLS_COMMON_OUTPUTS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace weft::cli {

// Before any work is done: kUsage where `out` is one of the files read, by whatever path;
// kRunFailed where it is a folder, or lies in a folder that does not exist or may not be written
// to. Empty names and "-" pass. `option` is what the message calls it.
absl::Status CheckOutput(const std::string& option, const std::string& out,
                         const std::vector<std::string>& inputs);

// The folder, made where it does not exist; kRunFailed where that cannot be.
absl::Status MakeFolder(const std::string& folder);

// "x" of "name=x" as far as the '=' is not part of a path: what options such as --feed and --data
// name files by.
std::vector<std::string> FilesOf(const std::vector<std::string>& specifications);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_OUTPUTS_H_
