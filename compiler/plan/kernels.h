// The kernels of one target, shared by all its plans.
#ifndef WEFT_COMPILER_PLAN_KERNELS_H_
#define WEFT_COMPILER_PLAN_KERNELS_H_

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "compiler/codegen/emit.h"
#include "compiler/codegen/target.h"
#include "compiler/plan_dialect/plan.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace weft {

// Collects kernels in one module. Not thread-safe.
class KernelSet {
 public:
  // With `merge`, kernels that are equal but for their names are kept once. The context must
  // outlive the set.
  KernelSet(mlir::MLIRContext* context, const Target& target, bool merge);

  // How to launch the kernel of `fusion`, which is emitted unless an equal one is there.
  absl::StatusOr<KernelSpec> Add(plan::FusionOp fusion);

  // Leaves the kernels of these symbols, with what they use: others were emitted for a plan that
  // did not come about. Nothing is added afterwards.
  void KeepOnly(const std::set<std::string>& symbols);

  const Target& target() const { return target_; }
  mlir::ModuleOp module() { return *module_; }
  // Moves the kernels into `count` modules at most, of about equal size, each with the private
  // functions that its kernels use. Empties the set.
  std::vector<mlir::OwningOpRef<mlir::ModuleOp>> Split(int count);

 private:
  Target target_;
  bool merge_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  // By the fusion's text without locations: fusions that are equal word for word need not be
  // emitted to see that.
  std::map<std::string, KernelSpec> by_fusion_;
  // By the hash of the kernel's code; with the tensor maps that it takes.
  std::multimap<size_t, std::pair<mlir::Operation*, std::vector<KernelMap>>> by_code_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_PLAN_KERNELS_H_
