// Kernels that reduce go along their own order: on a GPU, what they would read across is transposed
// before by a kernel of its own, with tiles in shared memory, where that moves less
// (BelongsInMemory). A plan.barrier keeps it apart.
#include <vector>

#include "compiler/codegen/cuda/transposed_reads.h"
#include "compiler/codegen/target.h"
#include "compiler/passes/fusion_groups.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/place.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/device.h"
#include "graph/ir/dialect.h"

namespace weft {

absl::StatusOr<bool> SplitTransposes(mlir::func::FuncOp function, const DeviceTargets& targets) {
  if (absl::Status status = AssignDevices(function); !status.ok()) return status;
  const auto belongs_in_memory = [&](mlir::Operation* op) {
    return llvm::isa<ir::TransposeOp>(op) && targets.Of(op).kind == Target::Kind::kCuda &&
           BelongsInMemory(op);
  };
  std::vector<mlir::Operation*> found;
  for (mlir::Block* block : BlocksOfKernels(function)) {
    if (llvm::none_of(*block, [&](mlir::Operation& op) { return belongs_in_memory(&op); })) {
      continue;
    }
    // As they would be: in loops, transposes have tiles already.
    const FusionGroups::Explain quiet;
    const FusionGroups groups(block, /*merge=*/true, quiet);
    for (const FusionGroup* group : groups.groups()) {
      if (group->kind != plan::kRow && group->kind != plan::kColumn) continue;
      for (mlir::Operation* op : group->ops) {
        if (belongs_in_memory(op)) found.push_back(op);
      }
    }
  }
  for (mlir::Operation* op : found) {
    mlir::OpBuilder builder(op->getContext());
    builder.setInsertionPointAfter(op);
    mlir::Value turned = op->getResult(0);
    auto barrier = plan::BarrierOp::create(builder, op->getLoc(), turned.getType(), turned,
                                           builder.getStringAttr("transposed"));
    ir::SetDevice(barrier, ir::DeviceOf(op));
    turned.replaceAllUsesExcept(barrier.getY(), barrier);
  }
  return !found.empty();
}

}  // namespace weft
