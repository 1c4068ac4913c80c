// The passes, in the order in which compiler/pipeline.cc runs them (for the first time, where it
// runs one again). Each changes a function in place and says whether it changed anything. Errors
// are InvalidArgument where the graph is at fault, naming the node, FailedPrecondition where a
// variable to freeze has no value of its type, and Internal where we are. None may be called on one
// context from two threads.
#ifndef WEFT_COMPILER_PASSES_PASSES_H_
#define WEFT_COMPILER_PASSES_PASSES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "proto/host_tensor.h"

namespace weft {

class WeightTable;
struct DeviceTargets;
struct Target;

// Puts the bodies of custom_gradient in their place.
absl::StatusOr<bool> InlineCustomGradients(mlir::func::FuncOp function);
// Of two loops of which one gives all that the other does, one is kept.
absl::StatusOr<bool> MergeLoops(mlir::func::FuncOp function);
// Puts values in place of variables' arguments, where the function assigns no variable; one that
// does stays as it is, or is refused (InvalidArgument) where freezing is `required`. Large ones go
// into `weights`.
absl::StatusOr<bool> FreezeVariables(mlir::func::FuncOp function,
                                     const std::map<std::string, HostTensor>& values,
                                     WeightTable& weights, bool required = false);
// Puts sizes in place of open dimensions, in types and attributes.
absl::StatusOr<bool> SpecializeDims(mlir::func::FuncOp function,
                                    const std::map<std::string, int64_t>& sizes);
// Ops that are placed on devices (graph/ir/device.h) stay there, on one of `targets`, and what
// crosses from one device to another goes through a plan.transfer; see place.h.
absl::StatusOr<bool> PlaceOps(mlir::func::FuncOp function, const DeviceTargets& targets);
// After that: lets every op say where it is, which those that passes made meanwhile need not.
// Passes that need to know begin with it.
absl::Status AssignDevices(mlir::func::FuncOp function);
// Algebraic rules; simplify*.cc, a file for each kind of root op.
absl::StatusOr<bool> Simplify(mlir::func::FuncOp function);
// Ops whose operands are constants become constants, by the reference evaluator. Bounded: neither
// large results nor long work.
absl::StatusOr<bool> FoldConstants(mlir::func::FuncOp function, WeightTable& weights);
// What kernels cannot do in one launch, or do better in another form, becomes several ops: see
// decompose.cc for the list.
absl::StatusOr<bool> Decompose(mlir::func::FuncOp function);
// Reductions of much to little become two, of which the first makes enough partial results for the
// threads of that kind of device.
absl::StatusOr<bool> SplitReductions(mlir::func::FuncOp function, const DeviceTargets& targets);
// Contractions of few results and a great depth, on GPUs, become sums of parts of it, and a
// reduction that adds those up: see split_contractions.h.
absl::StatusOr<bool> SplitContractions(mlir::func::FuncOp function, const DeviceTargets& targets);
// Zeros around the image of a convolution become its padding where its kernel takes that:
// `pads_itself` says so of the convolution with the padding (ConvolutionPads of the code
// generator).
absl::StatusOr<bool> AbsorbPadding(
    mlir::func::FuncOp function, const DeviceTargets& targets,
    const std::function<bool(mlir::Operation* op, const Target& target)>& pads_itself);
// One of equal ops is kept.
absl::StatusOr<bool> EliminateCommonSubexpressions(mlir::func::FuncOp function);
// Ops without effect whose results nobody uses go.
absl::StatusOr<bool> EliminateDeadCode(mlir::func::FuncOp function);
// What the `rematerialize` pass has to reach, beside doing what marks say.
struct MemoryBudget {
  // Bytes, as memory_profile.h estimates them; 0 for no limit.
  int64_t bytes = 0;
  // Of open dimensions.
  std::map<std::string, int64_t> sizes;
  // Takes a copy of the function through the passes to come, so that it can be estimated.
  std::function<absl::Status(mlir::func::FuncOp)> finish;
  // Where set, gets a line for each op that is computed again.
  std::function<void(const std::string&)> explain;
};
// Values that would wait long for their last readers are computed again for those: what the author
// marked (graph/ir/recompute.h), then what helps most, until the budget is reached or nothing
// helps.
absl::StatusOr<bool> Rematerialize(mlir::func::FuncOp function, const MemoryBudget& budget);
// Right operands of contractions are packed where the code generator asks for it: `panel_of` gives
// the columns of a panel for a contraction whose right operand is a constant or not, 0 to leave it.
absl::StatusOr<bool> PackContractions(
    mlir::func::FuncOp function,
    const std::function<int64_t(mlir::Operation* op, bool is_constant)>& panel_of);
// Transpositions, on GPUs, that kernels which reduce would do as they read go into memory, where
// that moves fewer bytes: see codegen/cuda/transposed_reads.h.
absl::StatusOr<bool> SplitTransposes(mlir::func::FuncOp function, const DeviceTargets& targets);
// Everything that needs code goes into fusions, each op its own without `merge`. A fusion is on the
// device of its ops.
absl::StatusOr<bool> FormFusions(mlir::func::FuncOp function, bool merge,
                                 const std::function<void(const std::string&)>& explain);
// Orders ops so that fewer bytes live at once.
absl::StatusOr<bool> Schedule(mlir::func::FuncOp function);

// Verifies what each phase promises to the next.
absl::Status CheckDecomposed(mlir::func::FuncOp function);
absl::Status CheckFused(mlir::func::FuncOp function);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_PASSES_H_
