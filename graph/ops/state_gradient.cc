#include "graph/ops/gradient_support.h"

namespace weft {

// Each hands its operand on, so the gradient passes through as it is.
absl::Status GradientAssign(GradientContext& c) {
  c.SetGradient(0, c.dy(0));
  return absl::OkStatus();
}
absl::Status GradientCheckNumerics(GradientContext& c) {
  c.SetGradient(0, c.dy(0));
  return absl::OkStatus();
}
absl::Status GradientPrint(GradientContext& c) {
  c.SetGradient(0, c.dy(0));
  return absl::OkStatus();
}
absl::Status GradientAssert(GradientContext& c) {
  c.SetGradient(1, c.dy(0));
  return absl::OkStatus();
}

}  // namespace weft
