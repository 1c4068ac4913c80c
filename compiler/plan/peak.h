// How much memory a plan needs.
#ifndef WEFT_COMPILER_PLAN_PEAK_H_
#define WEFT_COMPILER_PLAN_PEAK_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "proto/plan.pb.h"

namespace weft {

// Bytes of the arena, and of scratch so many times, for these sizes of the plan's symbols: the
// certificate, as the runtime works it out with that many threads; 0 for GPUs, whose scratch is on
// the chip. Of a plan for several devices, on the main one. Errors: the runtime's where it would
// refuse the sizes (OutOfRange for memory, InvalidArgument for a step's, both with the node and the
// sizes), and InvalidArgument where that of a symbol is not there.
absl::StatusOr<int64_t> PeakBytes(const Plan& plan, const std::map<std::string, int64_t>& sizes,
                                  int scratch_copies);

// "at batch=64, n=1000"; empty without any.
std::string AtSizes(const std::map<std::string, int64_t>& sizes);

}  // namespace weft

#endif  // WEFT_COMPILER_PLAN_PEAK_H_
