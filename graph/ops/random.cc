#include "absl/strings/str_cat.h"
#include "graph/ops/infer.h"

namespace weft {

absl::Status InferRandom(InferContext& c) {
  if (c.operand(0) != TensorType{DataType::kI64, {}}) {
    return c.Error(1, "a stream of type i64[]", c.operand(0).ToString());
  }
  int64_t seed = c.attributes().Int("seed");
  if (seed < 0 || seed >> 32 != 0) {
    return c.Error(2, "a seed in [0, 2^32)", absl::StrCat(seed));
  }
  DataType dtype = c.attributes().DType("dtype");
  if (absl::Status s = c.CheckAccepts(dtype); !s.ok()) return s;
  c.AddResult(dtype, c.attributes().Dims("shape"));
  return absl::OkStatus();
}

}  // namespace weft
