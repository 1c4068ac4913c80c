// The frame of a kernel: its function, sizes, loops and accesses to memory.
#ifndef WEFT_COMPILER_CODEGEN_KERNEL_BUILDER_H_
#define WEFT_COMPILER_CODEGEN_KERNEL_BUILDER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "compiler/codegen/emit.h"
#include "compiler/codegen/scalar_emitter.h"
#include "compiler/codegen/target.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "proto/dim_expr.h"

namespace weft {

// A coordinate or an offset. Lane l of a vector has base + l * step, or lane l of `lanes` where
// that is set.
struct Coord {
  mlir::Value base;  // i64
  int64_t step = 0;
  mlir::Value lanes;  // vector of i64

  bool uniform() const { return step == 0 && !lanes; }
};

// Which lanes are to touch memory; a null value means all of them.
struct Guard {
  // Lanes inside the iteration space: the first lane always is.
  mlir::Value tail;
  // A further condition, one for all lanes or each.
  mlir::Value predicate;
};

// Emits into a new function that has the form of runtime/core/kernel_abi.h.
class KernelBuilder {
 public:
  KernelBuilder(mlir::ModuleOp kernels, mlir::Location location, const Target& target,
                int num_buffers);

  mlir::ImplicitLocOpBuilder& b() { return b_; }
  ScalarEmitter& e() { return e_; }
  const Target& target() const { return target_; }
  mlir::func::FuncOp function() { return function_; }

  mlir::Value tile_begin() { return function_.getArgument(2); }
  mlir::Value tile_end() { return function_.getArgument(3); }
  mlir::Value scratch() { return function_.getArgument(4); }
  mlir::Value Buffer(int index) { return buffers_[index]; }
  // The value of an expression: a constant, or an element of the kernel's `sizes`.
  mlir::Value Size(const DimExpr& expr);
  // The same, but always an argument: for sizes that code gains nothing from knowing, so that equal
  // work of other sizes is equal code.
  mlir::Value SizeArgument(const DimExpr& expr);

  // i64 arithmetic on scalars (all values >= 0 where divided), folded where operands are constants.
  mlir::Value I64(int64_t value);
  static std::optional<int64_t> ConstantOf(mlir::Value value);
  mlir::Value Add(mlir::Value a, mlir::Value b);
  mlir::Value Sub(mlir::Value a, mlir::Value b);
  mlir::Value Mul(mlir::Value a, mlir::Value b);
  mlir::Value Div(mlir::Value a, mlir::Value b);
  mlir::Value Rem(mlir::Value a, mlir::Value b);
  mlir::Value Min(mlir::Value a, mlir::Value b);
  mlir::Value Max(mlir::Value a, mlir::Value b);
  mlir::Value CeilDiv(mlir::Value a, mlir::Value b);
  // The same on coordinates; `lanes` is the number of lanes where one has several values.
  Coord Add(const Coord& a, const Coord& b, int64_t lanes);
  Coord Mul(const Coord& a, mlir::Value factor, int64_t lanes);
  Coord Div(const Coord& a, mlir::Value divisor, int64_t lanes);
  Coord Rem(const Coord& a, mlir::Value divisor, int64_t lanes);
  // As a vector (lanes > 0) or scalar of i64.
  mlir::Value Expand(const Coord& a, int64_t lanes);

  using LoopBody = std::function<std::vector<mlir::Value>(mlir::Value, mlir::ValueRange)>;
  // for (i = begin; i < end; i += step): `body` gets i and the carried values, and returns their
  // next ones. Loops whose bounds are known to be one step apart are left out.
  std::vector<mlir::Value> For(mlir::Value begin, mlir::Value end, int64_t step,
                               std::vector<mlir::Value> carried, const LoopBody& body);
  void For(mlir::Value begin, mlir::Value end, int64_t step,
           const std::function<void(mlir::Value)>& body);
  // `then` where the condition holds, else `otherwise`, which stands for its results.
  std::vector<mlir::Value> If(mlir::Value condition, std::vector<mlir::Value> otherwise,
                              const std::function<std::vector<mlir::Value>()>& then);
  using VectorBody =
      std::function<std::vector<mlir::Value>(mlir::Value, mlir::Value, mlir::ValueRange)>;
  // Like For in steps of `lanes`, with a last incomplete step: `body` gets i, the mask of lanes
  // before `end` (null where all are), and the carried values. `extent` = end - begin where known.
  std::vector<mlir::Value> VectorFor(mlir::Value begin, mlir::Value end,
                                     std::optional<int64_t> extent, int64_t lanes,
                                     std::vector<mlir::Value> carried, const VectorBody& body);
  // Lanes [0, count) of a mask.
  mlir::Value Mask(mlir::Value count, int64_t lanes);

  // The element(s) at `offset` (in elements) from `pointer`. Lanes that the guard excludes are
  // zero or undefined. `invariant`: nothing in this kernel writes there.
  Element Load(mlir::Value pointer, DataType dtype, const Coord& offset, int64_t lanes,
               const Guard& guard, bool invariant);
  // `offset` has a step of 1, or x is a scalar.
  void Store(Element x, mlir::Value pointer, const Coord& offset, int64_t lanes,
             const Guard& guard);
  mlir::Value Address(mlir::Value pointer, DataType dtype, mlir::Value offset);
  // Conditions, one or per lane; null means true.
  mlir::Value Both(mlir::Value a, mlir::Value b);

  // Ends the function. Equal instructions inside loops that depend on nothing in them are moved
  // out.
  void Finish();

  // `sizes` so far.
  const std::vector<DimExpr>& sizes() const { return sizes_; }

 private:
  mlir::Value ShuffledReverse(mlir::Value value);
  mlir::Value VectorMask(const Guard& guard, int64_t lanes);

  mlir::ImplicitLocOpBuilder b_;
  ScalarEmitter e_;
  const Target& target_;
  mlir::func::FuncOp function_;
  std::vector<mlir::Value> buffers_;
  std::vector<DimExpr> sizes_;
  std::map<DimExpr, mlir::Value> size_values_;
  std::map<int64_t, mlir::Value> constants_;
  mlir::Operation* prologue_end_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_KERNEL_BUILDER_H_
