// How a run may end early.
#ifndef WEFT_RUNTIME_RUN_OPTIONS_H_
#define WEFT_RUNTIME_RUN_OPTIONS_H_

#include <atomic>

#include "absl/time/time.h"

namespace weft {

struct RunOptions {
  // The run fails with DeadlineExceeded where it is not done by then, by the time that is left when
  // it begins: setting the clock meanwhile changes nothing. It ends wherever it is: while it waits
  // for a plan that is being compiled (which goes on, for later runs), for other runs, or for
  // memory of a GPU that is measured in, between steps, and between tiles of a launch. Variables
  // change all together or not at all: once a run writes them, it is completed.
  absl::Time deadline = absl::InfiniteFuture();
  // Where set to true by another thread, the run fails with Cancelled, at the same points.
  const std::atomic<bool>* cancel = nullptr;
};

}  // namespace weft

#endif  // WEFT_RUNTIME_RUN_OPTIONS_H_
