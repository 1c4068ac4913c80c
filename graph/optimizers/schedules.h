// Learning rates as functions of the step, computed in the graph.
#ifndef WEFT_GRAPH_OPTIMIZERS_SCHEDULES_H_
#define WEFT_GRAPH_OPTIMIZERS_SCHEDULES_H_

#include <functional>
#include <utility>

#include "graph/graph.h"

namespace weft {

// The rate of each step: a function from the step (a float scalar: 0, 1, 2, ...) to a scalar of the
// same dtype. A number stands for a constant rate.
class Schedule {
 public:
  using Function = std::function<Tensor(Tensor step)>;
  Schedule(double rate) : constant_(rate) {}                       // NOLINT: a number is a schedule
  Schedule(Function function) : function_(std::move(function)) {}  // NOLINT
  Tensor At(Tensor step) const;

 private:
  double constant_ = 0;
  Function function_;
};

// Numbers that make no sense (noted with each) are an error of the graph where the schedule is
// used.

// rate * (end + (1 - end) * (1 + cos(pi * min(step / steps, 1))) / 2): from `rate` to `end * rate`
// (Loshchilov and Hutter, 2016, without restarts). steps > 0.
Schedule CosineDecay(double rate, double steps, double end = 0);
// rate * factor^floor(step / every). every > 0, factor >= 0.
Schedule StepDecay(double rate, double factor, double every);
// A straight line from 0 to what `after` begins with, over `steps` steps (the first step takes 1 /
// steps of it); then `after`, whose step 0 is the end of the warm-up. steps > 0.
Schedule WarmUp(double steps, Schedule after);

}  // namespace weft

#endif  // WEFT_GRAPH_OPTIMIZERS_SCHEDULES_H_
