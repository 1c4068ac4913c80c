// What a queue knows of libraries: something that it starts instead of a kernel. Who finds and
// chooses such things (library_tuner.h) is linked into programs that ask for it alone.
#ifndef WEFT_RUNTIME_CUDA_LIBRARY_CALLS_H_
#define WEFT_RUNTIME_CUDA_LIBRARY_CALLS_H_

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/core/executor.h"
#include "runtime/cuda/driver_api.h"
#include "runtime/tuning.h"

namespace weft::cuda {

// A launch at the sizes of one call, as a library does it.
class LibraryCall {
 public:
  virtual ~LibraryCall() = default;
  // Launches and copies that it is, at the most; about.
  virtual int starts() const { return 1; }
  // Gives it to a stream, whose context is current and which may capture, at the addresses of the
  // launch's buffers. Null, or else what the library says, which stays: then a part of it may have
  // been given.
  virtual const char* Start(CUstream stream, const CUdeviceptr* buffers) const = 0;
};

// Those of one queue.
class LibraryCalls {
 public:
  // Gives memory back once nothing uses it.
  virtual ~LibraryCalls() = default;
  // Null where its kernel is to be launched.
  virtual const LibraryCall* Find(const WeftStep* step) const = 0;
  // Of the GPU's memory, that stay.
  virtual int64_t held_bytes() const = 0;
};

// Thread-safe.
class Tuner {
 public:
  virtual ~Tuner() = default;
  // As DeviceQueue::Tune, for a queue that uses the stream, which has no work; the context is
  // current. `wait` waits until the stream is done, or says why it did not: then memory that is
  // released is given back behind what is under way.
  virtual absl::StatusOr<std::unique_ptr<LibraryCalls>> Tune(
      const TuningRequest& request, CUstream stream, absl::FunctionRef<absl::Status()> wait) = 0;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_LIBRARY_CALLS_H_
