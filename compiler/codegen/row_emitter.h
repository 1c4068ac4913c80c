// What kernels of kind `row` have in common, whatever they run on.
#ifndef WEFT_COMPILER_CODEGEN_ROW_EMITTER_H_
#define WEFT_COMPILER_CODEGEN_ROW_EMITTER_H_

#include <map>
#include <optional>
#include <vector>

#include "compiler/codegen/accumulator.h"
#include "compiler/codegen/fusion_emitter.h"

namespace weft {

// The reductions, in as many passes over a row as they wait for one another, and the coordinates of
// the rows and columns.
class RowEmitter {
 protected:
  using Values = std::vector<mlir::Value>;

  explicit RowEmitter(FusionEmitter& f) : f_(f), kernel_(f.kernel) {}
  ~RowEmitter() = default;

  struct Reduction {
    Accumulator accumulator;
    int level;  // the pass that computes it
  };

  // Finds out all that is declared below, by a dry run. False where there are no rows (the kernel
  // then has no tiles), and where the dry run failed.
  bool Analyze();
  // Stands for the values of finished reductions; a derived class may know of more.
  virtual std::optional<Element> Lookup(mlir::Value value, const Index& index);
  // The last pass that reduces; the one after it computes the results of the domain.
  int LastLevel() const;

  // For the reductions of one pass: the values that loops carry, in order.
  Values Start(int level, int64_t lanes);
  // With the elements at `index`, number `number` of their row, in the lanes of `mask`.
  Values Add(int level, const Values& values, const Index& index, const Coord& number,
             const Guard& guard, mlir::Value mask, int64_t lanes);
  Values Combine(int level, const Values& a, const Values& b);
  // Lanes as one scalar each.
  Values Join(int level, const Values& values, int64_t lanes);
  // From here on, these scalars are the reductions' values.
  void SetResults(int level, const Values& values);
  // Whether a pass adds up many floats, so that sums are better made of blocks.
  bool AddsFloats(int level);

  FusionEmitter& f_;
  KernelBuilder& kernel_;
  std::vector<Reduction> reductions_;
  std::map<const void*, Element> reduced_;
  DimExpr rows_total_, columns_total_;
  std::vector<DimExpr> rows_, columns_;
  // Numbers of the results of the domain's and of the rows' size.
  std::vector<size_t> domain_results_, row_results_;
  int last_root_ = -1;  // of the innermost coordinate

 private:
  void FindReductions();
  // Calls make(accumulator, its part of `values`, where that begins) for the reductions of a level,
  // and joins what they return.
  template <typename Make>
  Values ForReductions(int level, const Values& values, const Make& make);
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_ROW_EMITTER_H_
