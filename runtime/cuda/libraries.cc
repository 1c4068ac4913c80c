#include "runtime/cuda/libraries.h"

#include <memory>
#include <utility>

#include "runtime/cuda/context.h"
#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/library_tuner.h"

namespace weft {
namespace {

// A library for a later CUDA than the driver's cannot be used.
std::vector<std::string> NamesFor(int driver_version) {
  std::vector<std::string> names;
  if (driver_version >= 13000) names.push_back("libcublasLt.so.13");
  names.push_back("libcublasLt.so.12");
  return names;
}

}  // namespace

CudaLibraries UseCudaLibraries(const CudaLibraryOptions& options) {
  return [options](const std::shared_ptr<cuda::Context>& context)
             -> absl::StatusOr<std::shared_ptr<cuda::Tuner>> {
    absl::StatusOr<std::unique_ptr<cuda::CublasLt>> library = cuda::CublasLt::Make(
        context,
        options.cublaslt.empty() ? NamesFor(context->driver().version()) : options.cublaslt);
    if (library.ok()) {
      std::vector<std::unique_ptr<cuda::Library>> libraries;
      libraries.push_back(*std::move(library));
      return std::make_shared<cuda::LibraryTuner>(context, std::move(libraries),
                                                  options.max_workspace_bytes, options.least_gain);
    }
    if (options.required || !absl::IsFailedPrecondition(library.status())) return library.status();
    return std::shared_ptr<cuda::Tuner>();
  };
}

}  // namespace weft
