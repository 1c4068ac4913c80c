// From a function of fusions to a Plan.
#ifndef WEFT_COMPILER_PLAN_BUILD_PLAN_H_
#define WEFT_COMPILER_PLAN_BUILD_PLAN_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "compiler/plan/kernels.h"
#include "compiler/plan/storage.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "proto/plan.pb.h"

namespace weft {

// The constants section of a package: equal constants are stored once.
class ConstantPool {
 public:
  // Offset of the bytes in the section, a multiple of 64.
  uint64_t Add(std::string_view bytes);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  std::multimap<size_t, std::pair<uint64_t, size_t>> by_hash_;
};

// The plan without the kernels' code offsets, which are known once the code is linked: its kernels'
// names are those of `kernels`. The function must pass CheckFused. Error: InvalidArgument where an
// open dimension is not a dimension of an input by itself.
absl::StatusOr<Plan> BuildPlan(mlir::func::FuncOp function, const StorageOptions& options,
                               KernelSet& kernels, ConstantPool& constants);

}  // namespace weft

#endif  // WEFT_COMPILER_PLAN_BUILD_PLAN_H_
