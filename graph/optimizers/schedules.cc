#include "graph/optimizers/schedules.h"

#include <cmath>
#include <numbers>

#include "graph/builder_support.h"

namespace weft {

Tensor Schedule::At(Tensor step) const {
  return function_ ? function_(step) : ScalarLike(step, constant_);
}

Schedule CosineDecay(double rate, double steps, double end) {
  return Schedule([=](Tensor step) {
    Tensor angle = Minimum(step * (1 / steps), 1.0) * std::numbers::pi;
    return (Cos(angle) + 1.0) * (rate * (1 - end) / 2) + rate * end;
  });
}

Schedule StepDecay(double rate, double factor, double every) {
  return Schedule([=](Tensor step) { return Exp(Floor(step / every) * std::log(factor)) * rate; });
}

Schedule WarmUp(double steps, Schedule after) {
  return Schedule([=](Tensor step) {
    Tensor rising = Minimum((step + 1.0) * (1 / steps), 1.0);
    return after.At(Maximum(step - steps, 0.0)) * rising;
  });
}

}  // namespace weft
