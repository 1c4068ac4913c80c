#include "graph/optimizers/schedules.h"

#include <numbers>

#include "absl/strings/str_cat.h"
#include "graph/builder_support.h"

namespace weft {

Tensor Schedule::At(Tensor step) const {
  return function_ ? function_(step) : ScalarLike(step, constant_);
}

namespace {

bool Check(bool good, const Tensor& step, const char* expected, double got) {
  if (!good) {
    ReportError(step, absl::StrCat("schedule: expected ", expected, ", got ", got),
                SourceLocation::current());
  }
  return good;
}

}  // namespace

Schedule CosineDecay(double rate, double steps, double end) {
  return Schedule([=](Tensor step) -> Tensor {
    if (!Check(steps > 0, step, "CosineDecay over steps > 0", steps)) return {};
    Tensor angle = Minimum(step * (1 / steps), 1.0) * std::numbers::pi;
    return (Cos(angle) + 1.0) * (rate * (1 - end) / 2) + rate * end;
  });
}

Schedule StepDecay(double rate, double factor, double every) {
  return Schedule([=](Tensor step) -> Tensor {
    if (!Check(every > 0, step, "StepDecay with every > 0", every) ||
        !Check(factor >= 0, step, "StepDecay with factor >= 0", factor)) {
      return {};
    }
    return Pow(ScalarLike(step, factor), Floor(step / every)) * rate;
  });
}

Schedule WarmUp(double steps, Schedule after) {
  return Schedule([=](Tensor step) -> Tensor {
    if (!Check(steps > 0, step, "WarmUp over steps > 0", steps)) return {};
    Tensor rising = Minimum((step + 1.0) / steps, 1.0);
    return after.At(Maximum(step - steps, 0.0)) * rising;
  });
}

}  // namespace weft
