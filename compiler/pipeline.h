// The passes in order.
#ifndef WEFT_COMPILER_PIPELINE_H_
#define WEFT_COMPILER_PIPELINE_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace weft {

class WeightTable;
struct CompileOptions;
struct DeviceTargets;
struct MemoryBudget;

// From the function of a signature (compiler/passes/signature.h) to one of fusions, in the order in
// which they run. `sizes` fixes open dimensions; large constants go into `weights`. Of the budget,
// its bytes and sizes count. Errors as those of the passes.
absl::Status Lower(mlir::func::FuncOp function, const std::map<std::string, int64_t>& sizes,
                   const DeviceTargets& targets, const CompileOptions& options,
                   const MemoryBudget& budget, WeightTable& weights);

}  // namespace weft

#endif  // WEFT_COMPILER_PIPELINE_H_
