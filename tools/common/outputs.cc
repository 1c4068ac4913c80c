#include "tools/common/outputs.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/file.h"
#include "tools/common/exit_code.h"

namespace weft::cli {

namespace fs = std::filesystem;

namespace {

// The path of a folder that may not be there yet, without links and a last '/'.
fs::path Canonical(const fs::path& folder) {
  std::error_code error;
  const fs::path canonical = fs::weakly_canonical(fs::absolute(folder, error), error);
  if (error) return folder;
  return canonical.has_filename() ? canonical : canonical.parent_path();
}

}  // namespace

bool SamePath(const std::string& a, const std::string& b) {
  return SameFile(a, b) || Canonical(a) == Canonical(b);
}

absl::Status CheckOutput(const std::string& option, const std::string& out,
                         const std::vector<std::string>& inputs,
                         const std::vector<std::string>& made) {
  if (out.empty() || out == "-") return absl::OkStatus();
  std::error_code none;
  for (const std::string& input : inputs) {
    if (!input.empty() && SamePath(out, input)) {
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
  // /dev/stdout, where that is a file: nothing is made beside it.
  if (const std::string at = Canonical(folder).string();
      fs::exists(out, none) && (at == "/dev" || at.compare(0, 6, "/proc/") == 0)) {
    return absl::OkStatus();
  }
  for (const std::string& each : made) {
    if (!each.empty() && Canonical(each) == Canonical(folder)) return absl::OkStatus();
  }
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

absl::Status CheckFolder(const std::string& option, const std::string& folder) {
  if (folder.empty()) return absl::OkStatus();
  std::error_code error;
  fs::path there = fs::absolute(folder, error);
  while (!fs::exists(there, error) && there.has_relative_path()) there = there.parent_path();
  if (!fs::is_directory(there, error)) {
    return absl::FailedPreconditionError(
        absl::StrCat(option, " '", folder, "': ", there.string(), " is a file, not a folder"));
  }
  if (access(there.c_str(), W_OK | X_OK) != 0) {
    return absl::PermissionDeniedError(absl::StrCat(
        option, " '", folder, "': no permission to write into the folder ", there.string()));
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

absl::Status MakeFolderOf(const std::string& file) {
  const fs::path folder = fs::path(file).parent_path();
  return MakeFolder(folder.empty() ? "." : folder.string());
}

std::string FileNameOf(const std::string& name) {
  std::string file;
  for (const char c : name) {
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' ||
                       (c == '.' && !file.empty());
    if (plain) {
      file += c;
    } else {
      absl::StrAppendFormat(&file, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return file;
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
