// The CUDA driver, found when a program runs: nothing of it is linked.
#ifndef WEFT_RUNTIME_CUDA_DRIVER_H_
#define WEFT_RUNTIME_CUDA_DRIVER_H_

#include <string>

#include "absl/status/statusor.h"
#include "runtime/cuda/driver_api.h"

namespace weft::cuda {

// Thread-safe.
class Driver {
 public:
  // `library` is what dlopen takes. Loaded and initialised at the first call, and kept until the
  // process ends. FailedPrecondition where it is not there, is too old, or finds no GPU: what was
  // found, what is needed, and what to do. A call that failed may be repeated.
  static absl::StatusOr<const Driver*> Load(const std::string& library);

  const DriverApi& api() const { return api_; }
  // The newest CUDA that it supports, as it says itself: 12040 for 12.4.
  int version() const { return version_; }
  // "out of memory (CUDA_ERROR_OUT_OF_MEMORY); feed smaller batches, or ...": what to do where
  // something is known.
  std::string Describe(CUresult result) const;

 private:
  Driver() = default;
  absl::Status Find(void* handle, const std::string& library);
  absl::Status Initialize();

  DriverApi api_;
  int version_ = 0;
};

// Whether the driver refuses everything else in a context after this. CUDA_ERROR_UNKNOWN counts
// where it is told to somebody who waits for work: there it is a fault of the GPU.
bool EndsContext(CUresult result, bool waiting);

// "12.4" of 12040.
std::string VersionText(int version);

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_DRIVER_H_
