// Packing of contractions' right operands: see plan.pack in compiler/plan_dialect/plan.td.
#ifndef WEFT_COMPILER_PASSES_PACK_H_
#define WEFT_COMPILER_PASSES_PACK_H_

#include "absl/status/statusor.h"
#include "compiler/plan_dialect/plan.h"
#include "proto/host_tensor.h"

namespace weft {

// What plan.pack computes, for constants. Shapes are static.
absl::StatusOr<HostTensor> PackTensor(plan::PackOp op, const HostTensor& x);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_PACK_H_
