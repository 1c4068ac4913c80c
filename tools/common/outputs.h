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
// Folders in `made`, which the command is going to make, need not exist.
absl::Status CheckOutput(const std::string& option, const std::string& out,
                         const std::vector<std::string>& inputs,
                         const std::vector<std::string>& made = {});

// Whether both paths lead to the same file or folder, which need not be there, nor what it lies in.
bool SamePath(const std::string& a, const std::string& b);

// Before any work is done: kRunFailed where MakeFolder would fail.
absl::Status CheckFolder(const std::string& option, const std::string& folder);

// The folder, made where it does not exist; kRunFailed where that cannot be.
absl::Status MakeFolder(const std::string& folder);
// The same for the folder that a file lies in.
absl::Status MakeFolderOf(const std::string& file);

// "x" of "name=x" as far as the '=' is not part of a path: what options such as --feed and --data
// name files by.
std::vector<std::string> FilesOf(const std::vector<std::string>& specifications);

// A name of a tensor as the name of a file, without what it is of: all but letters, digits, '_',
// '-' and inner dots as "%2F", so that it is one name in one folder, and a different one for each.
std::string FileNameOf(const std::string& name);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_OUTPUTS_H_
