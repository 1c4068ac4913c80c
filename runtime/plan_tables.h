// From the wire form of a plan to the executor's tables, with everything verified in between.
#ifndef WEFT_RUNTIME_PLAN_TABLES_H_
#define WEFT_RUNTIME_PLAN_TABLES_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/contraction.h"
#include "runtime/core/plan_abi.h"
#include "runtime/tensor_map.h"

namespace weft {

class Plan;  // proto/plan.proto

// Blocks of control flow may lie this deep in each other.
inline constexpr int kMaxBlockDepth = 64;

// The tables of one plan and what they point to. Immutable once the kernels are set.
class PlanTables {
 public:
  // Verifies every index, the order of formulas, types, names, that control flow has no cycle and
  // limited depth, that kernels and constants lie within `code_bytes` (of each device; the first is
  // the one that the target is for) and `constants_bytes`, that each step is of one device, that
  // only outputs and assigned variables are written to, these from the commit step on alone, that
  // nothing fails after it, that no variable is read which need not have a value, and what kernels
  // state of tensor maps, and launches of contractions. (Sizes are checked once shapes are
  // known: weft_instance_create, CheckMappedTensor and CheckContractionSizes.) Error:
  // InvalidArgument, naming signature and step.
  static absl::StatusOr<std::unique_ptr<PlanTables>> Build(const Plan& plan,
                                                           absl::Span<const uint64_t> code_bytes,
                                                           uint64_t constants_bytes);
  PlanTables(const PlanTables&) = delete;
  PlanTables& operator=(const PlanTables&) = delete;

  // One for each of the plan's kernels; the plan must not be run before.
  void SetKernels(absl::Span<const WeftKernel> kernels);
  // Lets the constant at each offset lie where `place` says on that device; the same.
  void PlaceConstants(uint32_t device, const std::function<uint64_t(uint64_t offset)>& place);

  const WeftPlan& plan() const { return plan_; }
  // Kernels' offsets in the image of code.
  const std::vector<uint64_t>& code_offsets() const { return code_offsets_; }
  const std::vector<std::string>& kernel_names() const { return kernel_names_; }
  const std::vector<uint32_t>& block_threads() const { return block_threads_; }
  const std::vector<uint32_t>& kernel_devices() const { return kernel_devices_; }
  const std::vector<std::vector<KernelMap>>& kernel_maps() const { return kernel_maps_; }
  const std::vector<bool>& shares_tiles() const { return shares_tiles_; }
  // Of launches on GPUs, in the order of their steps.
  const std::vector<LaunchContraction>& contractions() const { return contractions_; }
  // Where each buffer's value comes from, for errors.
  struct Origin {
    const char* node;  // whose value it holds first; may be ""
    uint32_t step;     // the first one that writes it; WEFT_NONE where none does
  };
  const std::vector<Origin>& buffer_origins() const { return buffer_origins_; }

 private:
  friend class PlanTablesBuilder;
  PlanTables() = default;
  const char* Keep(const std::string& text);

  WeftPlan plan_ = {};
  std::deque<std::string> strings_;  // stay where they are
  std::vector<WeftSymbol> symbols_;
  std::vector<WeftFormula> formulas_;
  std::vector<WeftBuffer> buffers_;
  std::vector<uint32_t> below_;
  std::vector<WeftBufferArg> args_;
  std::vector<uint32_t> sizes_;
  std::vector<WeftStep> steps_;
  std::vector<WeftBlock> blocks_;
  std::vector<WeftKernel> kernels_;
  std::vector<WeftValue> inputs_, outputs_, variables_;
  std::vector<uint32_t> dims_;
  std::vector<const char*> dim_names_;
  std::vector<uint64_t> code_offsets_;
  std::vector<std::string> kernel_names_;
  std::vector<uint32_t> block_threads_, kernel_devices_;
  std::vector<std::vector<KernelMap>> kernel_maps_;
  std::vector<bool> shares_tiles_;
  std::vector<LaunchContraction> contractions_;
  std::vector<Origin> buffer_origins_;
};

}  // namespace weft

#endif  // WEFT_RUNTIME_PLAN_TABLES_H_
