// Ahead-of-time artifacts from a compiled package. compiler/api.h has the function for graphs.
#ifndef WEFT_COMPILER_AOT_ARTIFACT_H_
#define WEFT_COMPILER_AOT_ARTIFACT_H_

#include <string>

#include "absl/status/status.h"
#include "proto/container.h"

namespace weft {

enum class ArtifactKind {
  kObject,      // a relocatable object, and its header
  kShared,      // a shared library, and its header
  kExecutable,  // a program
};

// Writes the artifact to `path` and, where it has one, its header beside it, with .h for the
// extension. Each is written atomically and the header first, so that on a failure there is no
// artifact without its header; a header whose artifact could not be written is taken away again.
// Errors: those of PackageModel::Read and MakeObject; InvalidArgument where the header would be the
// artifact; those of WriteFileAtomically.
absl::Status WritePackageArtifact(const Container& package, ArtifactKind kind,
                                  const std::string& path);

}  // namespace weft

#endif  // WEFT_COMPILER_AOT_ARTIFACT_H_
