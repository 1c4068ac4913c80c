// For tests: compiles one fusion by itself and runs it on tensors in memory.
#ifndef WEFT_COMPILER_CODEGEN_RUN_FUSION_H_
#define WEFT_COMPILER_CODEGEN_RUN_FUSION_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "compiler/codegen/emit.h"
#include "compiler/codegen/target.h"
#include "compiler/plan_dialect/plan.h"
#include "mlir/IR/BuiltinOps.h"
#include "proto/host_tensor.h"

namespace weft {

using EmitFunction =
    std::function<absl::StatusOr<KernelSpec>(plan::FusionOp, const Target&, mlir::ModuleOp)>;

// What a fusion costs, for benchmarks: the least time of `repeats` launches on one thread.
struct FusionTiming {
  int repeats = 20;
  double seconds = 0;
  int64_t flops = 0, bytes = 0;  // as the kernel states them
  double compile_seconds = 0;
};

// `body` is the text of a fusion's region, from "^bb0(" to the yield. Operands are `inputs` (their
// shapes must be those of the block's arguments with `symbols` put in); results get the types that
// the yield names. Tiles are run one by one from the last to the first, as no order is promised,
// and then all at once; it is an error if that gives other bits. The buffers of results hold noise
// before.
absl::StatusOr<std::vector<HostTensor>> RunFusion(
    const EmitFunction& emit, const std::string& kind, const std::string& body,
    const std::vector<HostTensor>& inputs, const std::map<std::string, int64_t>& symbols = {},
    const std::string& target = "cpu:native", FusionTiming* timing = nullptr);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_RUN_FUSION_H_
