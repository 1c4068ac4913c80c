// What kernels of kind `column` have in common, whatever they run on.
#ifndef WEFT_COMPILER_CODEGEN_COLUMN_EMITTER_H_
#define WEFT_COMPILER_CODEGEN_COLUMN_EMITTER_H_

#include <map>
#include <vector>

#include "compiler/codegen/accumulator.h"
#include "compiler/codegen/fusion_emitter.h"

namespace weft {

// The reductions, and the coordinates of the domain before, in and after the reduced dimensions.
class ColumnEmitter {
 protected:
  using Values = std::vector<mlir::Value>;

  explicit ColumnEmitter(FusionEmitter& f) : f_(f), kernel_(f.kernel) {}

  // Finds out all that is declared below, by a dry run. False where there are no results (the
  // kernel then has no tiles), and where the dry run failed.
  bool Analyze();

  // The values of all reductions, which loops carry.
  Values Start(int64_t lanes);
  // With the elements at `index`, which have number `number` along what is reduced.
  Values Add(const Values& values, const Index& index, const Coord& number, const Guard& guard,
             int64_t lanes);
  Values Combine(const Values& a, const Values& b);
  // From here on, these are the reductions' values.
  void SetResults(const Values& values);
  // Whether some reduction adds up floats, so that sums are better made of blocks.
  bool AddsFloats();
  // Computes the results at `index` of them, and stores them.
  void StoreResults(const Index& index, const Guard& guard, int64_t lanes);

  FusionEmitter& f_;
  KernelBuilder& kernel_;
  std::vector<Accumulator> reductions_;
  std::map<const void*, Element> reduced_;
  DimExpr outer_total_, reduced_total_, inner_total_;
  std::vector<DimExpr> outer_, along_, inner_;
  int last_root_ = -1;  // of the innermost coordinate
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_COLUMN_EMITTER_H_
