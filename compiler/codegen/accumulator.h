// Reductions as values that are carried through loops.
#ifndef WEFT_COMPILER_CODEGEN_ACCUMULATOR_H_
#define WEFT_COMPILER_CODEGEN_ACCUMULATOR_H_

#include <cstdint>
#include <vector>

#include "compiler/codegen/kernel_builder.h"
#include "mlir/IR/Operation.h"

namespace weft {

// Whether `op` is one of weft.reduce_*, weft.argmax, weft.argmin.
bool IsReduction(mlir::Operation* op);

// Its axes, counted from the front, in order.
std::vector<size_t> ReducedAxes(mlir::Operation* op);

// Emits one reduction: Start, then Add in loops that carry the values, then, where lanes stand for
// elements of one sum, Join, then Result.
class Accumulator {
 public:
  Accumulator(mlir::Operation* op, KernelBuilder& kernel);

  mlir::Operation* op() const { return op_; }
  // Values to carry.
  size_t size() const { return is_arg_ ? 2 : 1; }
  // Of no elements; `lanes` 0 for a scalar.
  std::vector<mlir::Value> Start(int64_t lanes);
  // With one more element in each lane of `mask` (null: in all), which has number `number` along
  // what is reduced.
  std::vector<mlir::Value> Add(const std::vector<mlir::Value>& values, Element x,
                               const Coord& number, mlir::Value mask, int64_t lanes);
  // All lanes in one scalar, in an order that depends on their number alone.
  std::vector<mlir::Value> Join(std::vector<mlir::Value> values, int64_t lanes);
  // What two parts of the elements come to together.
  std::vector<mlir::Value> Combine(const std::vector<mlir::Value>& a,
                                   const std::vector<mlir::Value>& b);
  Element Result(const std::vector<mlir::Value>& values);

  // Whether many elements one after the other lose digits.
  bool IsFloatSum() const { return is_sum_ && IsFloat(dtype_); }
  DataType dtype() const { return dtype_; }
  // That of the carried value.
  DataType wide_dtype() const { return wide_; }

 private:
  mlir::Operation* op_;
  KernelBuilder& kernel_;
  bool is_arg_, is_max_, is_sum_, is_prod_, is_and_, is_or_;
  DataType dtype_, wide_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_ACCUMULATOR_H_
