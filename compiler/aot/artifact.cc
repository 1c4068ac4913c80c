#include "compiler/aot/artifact.h"

#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "compiler/aot/interface.h"
#include "compiler/aot/link.h"
#include "compiler/aot/object.h"
#include "compiler/aot/package_model.h"
#include "proto/file.h"

namespace weft {
namespace {

size_t NameStart(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? 0 : slash + 1;
}

std::string HeaderPath(const std::string& path) {
  const size_t dot = path.rfind('.');
  const bool has_extension = dot != std::string::npos && dot > NameStart(path);
  return (has_extension ? path.substr(0, dot) : path) + ".h";
}

absl::StatusOr<std::string> MakeBytes(const PackageModel& model, ArtifactKind kind,
                                      const std::string& path) {
  absl::StatusOr<std::string> object = MakeObject(
      model, kind == ArtifactKind::kExecutable ? ObjectKind::kProgram : ObjectKind::kLibrary);
  if (!object.ok() || kind == ArtifactKind::kObject) return object;
  if (kind == ArtifactKind::kExecutable) return LinkProgram(*object);
  return LinkShared(*object, path.substr(NameStart(path)));
}

// Lets those run the file who may read it. A device stays as it is.
absl::Status MakeExecutable(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return absl::OkStatus();
  const mode_t mode = status.st_mode | (status.st_mode & 0444) >> 2;
  if (chmod(path.c_str(), mode & 07777) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(path, ": cannot be made executable"));
}

}  // namespace

absl::Status WritePackageArtifact(const Container& package, ArtifactKind kind,
                                  const std::string& path) {
  const bool has_header = kind != ArtifactKind::kExecutable;
  const std::string header_path = HeaderPath(path);
  if (has_header && header_path == path) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": the header would have this name too; give the output another extension"));
  }
  absl::StatusOr<PackageModel> model = PackageModel::Read(package);
  if (!model.ok()) return model.status();
  absl::StatusOr<std::string> bytes = MakeBytes(*model, kind, path);
  if (!bytes.ok()) return bytes.status();

  if (!has_header) {
    absl::Status written = WriteFileAtomically(path, *bytes);
    return written.ok() ? MakeExecutable(path) : written;
  }
  std::optional<std::string> old_header;
  if (auto old = Bytes::Map(header_path); old.ok()) old_header = std::string((*old)->view());
  absl::Status written = WriteFileAtomically(header_path, WriteHeader(model->interface));
  if (!written.ok()) return written;
  written = WriteFileAtomically(path, *bytes);
  if (written.ok()) {
    return kind == ArtifactKind::kShared ? MakeExecutable(path) : absl::OkStatus();
  }
  if (old_header.has_value()) {
    WriteFileAtomically(header_path, *old_header).IgnoreError();
  } else {
    unlink(header_path.c_str());
  }
  return written;
}

}  // namespace weft
