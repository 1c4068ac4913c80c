#include "compiler/codegen/accumulator.h"

#include <algorithm>
#include <limits>

#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace weft {

using mlir::Value;
namespace arith = mlir::arith;
namespace vector = mlir::vector;

bool IsReduction(mlir::Operation* op) {
  return mlir::isa<ir::ReduceSumOp, ir::ReduceProdOp, ir::ReduceMaxOp, ir::ReduceMinOp,
                   ir::ReduceAndOp, ir::ReduceOrOp, ir::ArgMaxOp, ir::ArgMinOp>(op);
}

std::vector<size_t> ReducedAxes(mlir::Operation* op) {
  const int64_t rank = static_cast<int64_t>(ir::ShapeOf(op->getOperand(0)).size());
  std::vector<int64_t> axes;
  if (auto list = op->getAttrOfType<mlir::DenseI64ArrayAttr>("axes")) {
    axes = {list.asArrayRef().begin(), list.asArrayRef().end()};
  } else {
    axes = {op->getAttrOfType<mlir::IntegerAttr>("axis").getInt()};
  }
  std::vector<size_t> result;
  for (int64_t axis : axes) result.push_back(static_cast<size_t>(axis < 0 ? axis + rank : axis));
  std::sort(result.begin(), result.end());
  return result;
}

Accumulator::Accumulator(mlir::Operation* op, KernelBuilder& kernel) : op_(op), kernel_(kernel) {
  is_arg_ = mlir::isa<ir::ArgMaxOp, ir::ArgMinOp>(op);
  is_max_ = mlir::isa<ir::ArgMaxOp, ir::ReduceMaxOp>(op);
  is_sum_ = mlir::isa<ir::ReduceSumOp>(op);
  is_prod_ = mlir::isa<ir::ReduceProdOp>(op);
  is_and_ = mlir::isa<ir::ReduceAndOp>(op);
  is_or_ = mlir::isa<ir::ReduceOrOp>(op);
  dtype_ = ir::DataTypeOf(op->getOperand(0));
  wide_ = ScalarEmitter::AccumulatorType(dtype_);
}

std::vector<Value> Accumulator::Start(int64_t lanes) {
  ScalarEmitter& e = kernel_.e();
  Element first;
  if (is_sum_ || is_or_) {
    first = e.IntegerConstant(wide_, 0);
    if (IsFloat(wide_)) first = e.Constant(wide_, 0);
  } else if (is_prod_ || is_and_) {
    first = IsFloat(wide_) ? e.Constant(wide_, 1) : e.IntegerConstant(wide_, 1);
  } else {
    first = is_max_ ? e.Lowest(wide_) : e.Highest(wide_);
  }
  auto filled = [&](Element x) { return lanes == 0 ? x.value : e.Splat(x, lanes).value; };
  std::vector<Value> values = {filled(first)};
  if (is_arg_) {
    // Any element comes before.
    values.push_back(
        filled(e.IntegerConstant(DataType::kI64, std::numeric_limits<int64_t>::max())));
  }
  return values;
}

std::vector<Value> Accumulator::Combine(const std::vector<Value>& a, const std::vector<Value>& b) {
  ScalarEmitter& e = kernel_.e();
  const Element x{a[0], wide_}, y{b[0], wide_};
  if (is_sum_) return {e.Add(x, y).value};
  if (is_prod_) return {e.Mul(x, y).value};
  if (is_and_) return {e.And(x, y).value};
  if (is_or_) return {e.Or(x, y).value};
  if (!is_arg_) return {(is_max_ ? e.Max(x, y) : e.Min(x, y)).value};
  // y where it is better, a NaN being best of all, or as good and earlier.
  const Element i{a[1], DataType::kI64}, j{b[1], DataType::kI64};
  Element better = e.Compare(is_max_ ? Comparison::kGreater : Comparison::kLess, y, x);
  Element equal = e.Compare(Comparison::kEqual, x, y);
  if (IsFloat(wide_)) {
    Element x_is_nan = e.Compare(Comparison::kNotEqual, x, x);
    Element y_is_nan = e.Compare(Comparison::kNotEqual, y, y);
    better = e.Or(better, e.And(y_is_nan, e.Not(x_is_nan)));
    equal = e.Or(equal, e.And(x_is_nan, y_is_nan));
  }
  Element take = e.Or(better, e.And(equal, e.Compare(Comparison::kLess, j, i)));
  return {e.Select(take, y, x).value, e.Select(take, j, i).value};
}

std::vector<Value> Accumulator::Add(const std::vector<Value>& values, Element x,
                                    const Coord& number, Value mask, int64_t lanes) {
  ScalarEmitter& e = kernel_.e();
  Element wide = e.ToAccumulator(x);
  if (lanes > 0) wide = e.Splat(wide, lanes);
  std::vector<Value> next = {wide.value};
  if (is_arg_) next.push_back(kernel_.Expand(number, lanes));
  next = Combine(values, next);
  if (!mask) return next;
  for (size_t i = 0; i < next.size(); ++i) {
    next[i] = arith::SelectOp::create(kernel_.b(), mask, next[i], values[i]);
  }
  return next;
}

std::vector<Value> Accumulator::Join(std::vector<Value> values, int64_t lanes) {
  mlir::ImplicitLocOpBuilder& b = kernel_.b();
  while (lanes > 1) {
    lanes /= 2;
    std::vector<int64_t> low(lanes), high(lanes);
    for (int64_t i = 0; i < lanes; ++i) {
      low[i] = i;
      high[i] = lanes + i;
    }
    std::vector<Value> left, right;
    for (Value value : values) {
      left.push_back(vector::ShuffleOp::create(b, value, value, low));
      right.push_back(vector::ShuffleOp::create(b, value, value, high));
    }
    values = Combine(left, right);
  }
  for (Value& value : values) {
    if (mlir::isa<mlir::VectorType>(value.getType()))
      value = vector::ExtractOp::create(b, value, 0);
  }
  return values;
}

Element Accumulator::Result(const std::vector<Value>& values) {
  if (is_arg_) {
    // Of no elements: 0.
    ScalarEmitter& e = kernel_.e();
    const Element place{values[1], DataType::kI64};
    const Element none = e.IntegerConstant(DataType::kI64, std::numeric_limits<int64_t>::max());
    const Element zero = e.IntegerConstant(DataType::kI64, 0);
    return e.Select(e.Compare(Comparison::kEqual, place, none), zero, place);
  }
  return kernel_.e().FromAccumulator({values[0], wide_}, dtype_);
}

}  // namespace weft
