// Chooses, by measuring, what computes the contractions of a call: libraries, or their kernels.
#ifndef WEFT_RUNTIME_CUDA_LIBRARY_TUNER_H_
#define WEFT_RUNTIME_CUDA_LIBRARY_TUNER_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/cuda/context.h"
#include "runtime/cuda/library.h"
#include "runtime/cuda/library_calls.h"

namespace weft::cuda {

// Measures one contraction at a time, each once for the same sizes; what was found, or that there
// was no memory to measure in, holds for all calls of a loaded package on the GPU while this lives.
class LibraryTuner final : public Tuner {
 public:
  // Of the libraries, the first that computes a kind is the one that does.
  LibraryTuner(std::shared_ptr<Context> context, std::vector<std::unique_ptr<Library>> libraries,
               size_t max_workspace_bytes, double least_gain)
      : context_(std::move(context)),
        libraries_(std::move(libraries)),
        max_workspace_bytes_(max_workspace_bytes),
        least_gain_(least_gain) {}

  // Error: InvalidArgument where a contraction does not lie in its buffers; ResourceExhausted where
  // what was chosen has no memory now; Cancelled or DeadlineExceeded where the request's limits
  // ended a wait; what else went wrong with the GPU. A library that refuses something is none.
  absl::StatusOr<std::unique_ptr<LibraryCalls>> Tune(
      const TuningRequest& request, CUstream stream,
      absl::FunctionRef<absl::Status()> wait) override;

 private:
  struct Choice {
    std::optional<LibraryAlgorithm> algorithm;  // nothing: the kernel
    std::string way;                            // for profiles
  };
  // All that may make a difference to what is fastest.
  using Key = std::vector<uint64_t>;
  // Beyond these, kernels do it.
  static constexpr size_t kMaxChoices = 4096;

  struct Launch;
  class Calls;
  class Measurement;
  // Null where there is none.
  const Library* LibraryFor(LaunchContraction::Kind kind) const;
  // Those that a library computes.
  absl::StatusOr<std::vector<Launch>> LaunchesOf(const TuningRequest& request) const;
  static Key KeyOf(const Launch& launch);
  absl::StatusOr<Choice> Choose(const Launch& launch, const TuningRequest& request, CUstream stream,
                                absl::FunctionRef<absl::Status()> wait);
  absl::StatusOr<Choice> Measure(const Launch& launch, const TuningRequest& request,
                                 CUstream stream, absl::FunctionRef<absl::Status()> wait);

  const std::shared_ptr<Context> context_;
  const std::vector<std::unique_ptr<Library>> libraries_;
  // Of whoever measures.
  std::map<const Library*, std::unique_ptr<LibraryHandle>> handles_;
  const size_t max_workspace_bytes_;
  const double least_gain_;
  std::mutex mutex_;  // of these
  bool measuring_ = false;
  std::condition_variable measured_;  // not measuring any more
  std::map<Key, Choice> choices_;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_LIBRARY_TUNER_H_
