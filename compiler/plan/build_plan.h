// From a function of fusions to a Plan.
#ifndef WEFT_COMPILER_PLAN_BUILD_PLAN_H_
#define WEFT_COMPILER_PLAN_BUILD_PLAN_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "compiler/passes/place.h"
#include "compiler/passes/weight_table.h"
#include "compiler/plan/kernels.h"
#include "compiler/plan/storage.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "proto/host_tensor.h"
#include "proto/plan.pb.h"

namespace weft {

// The constants section of a package: equal constants are stored once.
class ConstantPool {
 public:
  // Offset of the elements in the section, a multiple of 64. They are shared, not copied.
  uint64_t Add(const HostTensor& tensor);
  // The section's bytes; lets go of the tensors, one after the other, so that few are there twice.
  std::string Take();

 private:
  struct Piece {
    uint64_t offset;
    HostTensor tensor;
  };
  std::vector<Piece> pieces_;
  uint64_t end_ = 0;
  std::map<std::pair<const void*, size_t>, uint64_t> by_address_;
  std::multimap<size_t, size_t> by_hash_;  // indices of pieces
};

// A fusion that no kernel can be made of, and why.
struct RefusedFusion {
  plan::FusionOp fusion;
  absl::Status why;
};

// The plan without the kernels' code offsets, which are known once the code is linked: its kernels'
// names are those of `kernels`, of which there is one set for each of the devices. The function
// must pass CheckFused; its weights are in `weights`. Error: InvalidArgument where an open
// dimension is not a dimension of an input by itself, or where a tile, which runs to its end
// whatever the deadline, has more work than a minute's or so. Where sizes are open, the runtime
// refuses such sizes, by the same limit (Launch.max_tile_flops). Unimplemented where there is a
// fusion that no kernel can be made of; then `refused` gets all such fusions.
absl::StatusOr<Plan> BuildPlan(mlir::func::FuncOp function, const StorageOptions& options,
                               const WeightTable& weights, const DeviceTargets& targets,
                               const std::vector<KernelSet*>& kernels, ConstantPool& constants,
                               std::vector<RefusedFusion>& refused);

}  // namespace weft

#endif  // WEFT_COMPILER_PLAN_BUILD_PLAN_H_
