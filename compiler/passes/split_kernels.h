// Fusions of which no one kernel can be made.
#ifndef WEFT_COMPILER_PASSES_SPLIT_KERNELS_H_
#define WEFT_COMPILER_PASSES_SPLIT_KERNELS_H_

#include "compiler/plan_dialect/plan.h"

namespace weft {

// Puts several fusions in the place of one, which it erases, and returns how many; 0, and nothing
// changes, where there is nothing to split. None has more than half of the ops, rounded up, so
// where few kernels are enough, splitting what is still too much makes few; and how many tensors
// and sizes a kernel needs is in the end a matter of one op. What kernels copy on the way to an
// op's operands (IsCopied) goes with it; of a single op with such, each gets a fusion of its own.
int SplitKernel(plan::FusionOp fusion);

// Whether SplitKernel would.
bool CanSplitKernel(plan::FusionOp fusion);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_SPLIT_KERNELS_H_
