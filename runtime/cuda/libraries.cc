#include "runtime/cuda/libraries.h"

#include <memory>
#include <utility>

#include "runtime/cuda/context.h"
#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/cudnn.h"
#include "runtime/cuda/library_tuner.h"

namespace weft {
namespace {

// A library for a later CUDA than the driver's cannot be used.
std::vector<std::string> CublasLtFor(int driver_version) {
  std::vector<std::string> names;
  if (driver_version >= 13000) names.push_back("libcublasLt.so.13");
  names.push_back("libcublasLt.so.12");
  return names;
}

// Whose names do not say which CUDA they are for: the library does, when it is begun with.
std::vector<std::string> CudnnNames() { return {"libcudnn.so.9", "libcudnn.so.8"}; }

}  // namespace

CudaLibraries UseCudaLibraries(const CudaLibraryOptions& options) {
  return [options](const std::shared_ptr<cuda::Context>& context)
             -> absl::StatusOr<std::shared_ptr<cuda::Tuner>> {
    std::vector<std::unique_ptr<cuda::Library>> libraries;
    const auto add = [&](auto made) {
      if (made.ok()) {
        libraries.push_back(*std::move(made));
        return absl::OkStatus();
      }
      const bool without = !options.required && absl::IsFailedPrecondition(made.status());
      return without ? absl::OkStatus() : made.status();
    };
    if (options.use_cublaslt) {
      absl::Status status = add(cuda::CublasLt::Make(
          context,
          options.cublaslt.empty() ? CublasLtFor(context->driver().version()) : options.cublaslt));
      if (!status.ok()) return status;
    }
    if (options.use_cudnn) {
      absl::Status status =
          add(cuda::Cudnn::Make(context, options.cudnn.empty() ? CudnnNames() : options.cudnn));
      if (!status.ok()) return status;
    }
    if (libraries.empty()) return std::shared_ptr<cuda::Tuner>();
    return std::make_shared<cuda::LibraryTuner>(context, std::move(libraries),
                                                options.max_workspace_bytes, options.least_gain);
  };
}

}  // namespace weft
