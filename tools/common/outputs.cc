#include "tools/common/outputs.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "proto/file.h"
#include "tools/common/exit_code.h"

namespace weft::cli {

namespace fs = std::filesystem;

absl::Status CheckOutput(const std::string& option, const std::string& out,
                         const std::vector<std::string>& inputs) {
  if (out.empty() || out == "-") return absl::OkStatus();
  std::error_code none;
  for (const std::string& input : inputs) {
    if (!input.empty() && SameFile(out, input)) {
      return UsageError(absl::StrCat(option, " '", out, "' would overwrite the input ", input));
    }
  }
  if (fs::is_directory(out, none)) {
    return absl::FailedPreconditionError(
        absl::StrCat(option, " '", out, "' is a folder; expected the name of a file"));
  }
  // A device or a pipe is written to as it is.
  if (fs::exists(out, none) && !fs::is_regular_file(out, none)) return absl::OkStatus();
  fs::path folder = fs::path(out).parent_path();
  if (folder.empty()) folder = ".";
  if (!fs::is_directory(folder, none)) {
    return absl::NotFoundError(absl::StrCat(option, " '", out, "': there is no folder ",
                                            folder.string(), "; make it first"));
  }
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    return absl::PermissionDeniedError(absl::StrCat(
        option, " '", out, "': no permission to write into the folder ", folder.string()));
  }
  return absl::OkStatus();
}

absl::Status MakeFolder(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error && fs::is_directory(folder)) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("cannot make the folder ", folder, ": ",
                                                  error ? error.message() : "a file has its name"));
}

std::vector<std::string> FilesOf(const std::vector<std::string>& specifications) {
  std::vector<std::string> files;
  for (const std::string& specification : specifications) {
    const size_t equals = specification.find('=');
    const bool named = equals != std::string::npos && specification.find('/') > equals;
    files.push_back(named ? specification.substr(equals + 1) : specification);
  }
  return files;
}

}  // namespace weft::cli
