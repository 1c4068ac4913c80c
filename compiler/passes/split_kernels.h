// Fusions of which no one kernel can be made.
#ifndef WEFT_COMPILER_PASSES_SPLIT_KERNELS_H_
#define WEFT_COMPILER_PASSES_SPLIT_KERNELS_H_

#include "compiler/plan_dialect/plan.h"

namespace weft {

// Puts several fusions in the place of one, which it erases: each op in one of its own, with what
// kernels copy on the way to its operands (IsCopied); where the fusion is such a one already, what
// is copied gets fusions as well. So how many tensors and sizes a kernel needs is in the end a
// matter of one op. False, and nothing changes, where the fusion holds no more than that.
bool SplitKernel(plan::FusionOp fusion);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_SPLIT_KERNELS_H_
