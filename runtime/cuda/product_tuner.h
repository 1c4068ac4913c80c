// Chooses, by measuring, what computes the matrix products of a call: a library, or their kernels.
#ifndef WEFT_RUNTIME_CUDA_PRODUCT_TUNER_H_
#define WEFT_RUNTIME_CUDA_PRODUCT_TUNER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/cuda/context.h"
#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/library_calls.h"

namespace weft::cuda {

// Measures one product at a time, each once for the same sizes; what was found holds for all calls
// on the GPU while this lives.
class ProductTuner final : public Tuner {
 public:
  ProductTuner(std::shared_ptr<Context> context, std::unique_ptr<CublasLt> library,
               size_t max_workspace_bytes, double least_gain)
      : context_(std::move(context)),
        library_(std::move(library)),
        max_workspace_bytes_(max_workspace_bytes),
        least_gain_(least_gain) {}

  // Error: InvalidArgument where a product does not lie in its buffers; what else went wrong with
  // the GPU. A library that refuses something is none.
  absl::StatusOr<std::unique_ptr<LibraryCalls>> Tune(const TuningRequest& request,
                                                     CUstream stream) override;

 private:
  struct Choice {
    std::optional<CublasLtAlgorithm> algorithm;  // nothing: the kernel
    std::string way;                             // for profiles
  };
  // All that may make a difference to what is fastest.
  using Key = std::vector<uint64_t>;
  // What was measured, and bounded.
  static constexpr size_t kMaxChoices = 4096;

  struct Launch;
  class Calls;
  class Measurement;
  static absl::StatusOr<std::vector<Launch>> LaunchesOf(const TuningRequest& request);
  static Key KeyOf(const Launch& launch);
  absl::StatusOr<Choice> Choose(const Launch& launch, MemoryBudget& memory, CUstream stream);
  // `lasts`: whether it is what any call would choose.
  absl::StatusOr<Choice> Measure(const Launch& launch, MemoryBudget& memory, CUstream stream,
                                 bool* lasts);

  const std::shared_ptr<Context> context_;
  const std::unique_ptr<CublasLt> library_;
  const size_t max_workspace_bytes_;
  const double least_gain_;
  std::mutex mutex_;  // of what is measured, and this
  std::map<Key, Choice> choices_;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_PRODUCT_TUNER_H_
