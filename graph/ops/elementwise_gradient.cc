#include "graph/ops/gradient_support.h"

namespace weft {

absl::Status GradientCast(GradientContext& c) {
  const DataType from = c.operand(0).dtype();
  if (IsFloat(from)) c.SetGradient(0, Cast(c.dy(0), from));
  return absl::OkStatus();
}

}  // namespace weft
