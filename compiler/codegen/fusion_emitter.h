// What the emitters of all kinds of fusion share.
#ifndef WEFT_COMPILER_CODEGEN_FUSION_EMITTER_H_
#define WEFT_COMPILER_CODEGEN_FUSION_EMITTER_H_

#include <optional>
#include <vector>

#include "compiler/codegen/emit.h"
#include "compiler/codegen/estimate.h"
#include "compiler/codegen/kernel_builder.h"
#include "compiler/codegen/value_emitter.h"
#include "compiler/plan_dialect/plan.h"

namespace weft {

// One fusion on its way to a kernel.
struct FusionEmitter {
  FusionEmitter(plan::FusionOp fusion, const Target& target, mlir::ModuleOp kernels);

  // A range of units of work (rows, blocks): those of the tiles that the kernel is called for.
  struct Range {
    mlir::Value begin, end;
  };
  // Makes a tile of each `per_tile` units in a row. With `only_tile`, there is one.
  Range SplitIntoTiles(const DimExpr& units, int64_t per_tile);

  // Coordinates of unit number `unit` in a space of those extents.
  Index IndexOf(mlir::Value unit, const std::vector<DimExpr>& extents);
  // Buffer number of result `i`.
  int ResultBuffer(size_t i) { return static_cast<int>(fusion.getInputs().size() + i); }
  // Lanes for values like those that the last dry run met, in an innermost extent: enough vectors
  // at once to hide latencies.
  int64_t ChooseLanes(const DimExpr& extent) const;
  // Pairs of operands read in place and results of the same size in bytes.
  void FindSharing(const std::vector<size_t>& result_numbers);
  // Whether what the kernel reads and writes is known to be so much that nothing of it is left in
  // the caches for the next one.
  bool PassesCaches() const;
  // Whether to store vectors of `lanes` elements of result `i`, which are neighbours along
  // `extent`, past the caches (KernelBuilder::Store): null for never. To be asked after
  // FindSharing.
  mlir::Value Stream(size_t i, const DimExpr& extent, int64_t lanes);
  // Asks for all lines of operands that are read in place, have `num_elements` elements and lie at
  // [first, last) of them: at once, since requests then overlap as those of a loop over the
  // elements do not.
  void PrefetchRange(const DimExpr& num_elements, mlir::Value first, mlir::Value last);
  // Operands that are read in place and have `num_elements` elements.
  std::vector<int> StreamedOperands(const DimExpr& num_elements);

  plan::FusionOp fusion;
  const Target& target;
  KernelBuilder kernel;
  ValueEmitter values;
  // Values that the body yields.
  std::vector<mlir::Value> results;
  KernelSpec spec;
};

// Elements that one tile computes, about: enough to be worth a thread's while.
inline constexpr int64_t kElementsPerTile = 16384;

// Relative cost of computing one element of an op's result.
int CostOf(mlir::Operation* op);

// The kernels of each kind; see emit.h for what the fusions may hold.
absl::Status EmitLoop(FusionEmitter& f);
absl::Status EmitRow(FusionEmitter& f);
absl::Status EmitColumn(FusionEmitter& f);
// The same for a GPU.
absl::Status EmitCudaLoop(FusionEmitter& f);
absl::Status EmitCudaRow(FusionEmitter& f);
absl::Status EmitCudaColumn(FusionEmitter& f);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_FUSION_EMITTER_H_
