#include <vector>

#include "graph/ops/evaluate_support.h"

namespace weft {
namespace {

// f(seed, stream, shape) makes the numbers.
template <typename F>
absl::Status EvaluateRandom(EvaluateContext& c, F&& f) {
  absl::StatusOr<std::vector<int64_t>> shape = c.ResultShape(0);
  if (!shape.ok()) return shape.status();
  return SetOnlyResult(c, f(static_cast<uint32_t>(c.attributes().Int("seed")),
                            c.operand(0).values<int64_t>()[0], *shape));
}

}  // namespace

absl::Status EvaluateRandomUniform(EvaluateContext& c) {
  return EvaluateRandom(c, [&](uint32_t seed, int64_t stream, reference::Sizes shape) {
    return reference::RandomUniform(seed, stream, shape, c.result_dtype(0));
  });
}

absl::Status EvaluateRandomNormal(EvaluateContext& c) {
  return EvaluateRandom(c, [&](uint32_t seed, int64_t stream, reference::Sizes shape) {
    return reference::RandomNormal(seed, stream, shape, c.result_dtype(0));
  });
}

absl::Status EvaluateRandomBits(EvaluateContext& c) {
  return EvaluateRandom(c, reference::RandomBits);
}

}  // namespace weft
