// Rules whose root is an element-wise op.
#include <cmath>

#include "compiler/passes/simplify.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"

namespace weft {
namespace {

using Op = mlir::Operation*;

mlir::Value X(Op op) { return op->getOperand(0); }
mlir::Value Y(Op op) { return op->getOperand(1); }

// The zero that adding to x leaves x as it is: x + 0 turns a -0 into 0.
bool IsNoSummand(mlir::Value value) {
  const std::optional<double> splat = SplatOf(value);
  return splat == 0 && (!IsFloat(ir::DataTypeOf(value)) || std::signbit(*splat));
}
mlir::Value AddZero(Op op, OpMaker) {
  return IsNoSummand(Y(op)) ? X(op) : IsNoSummand(X(op)) ? Y(op) : mlir::Value();
}
// x - 0 is x + -0.
mlir::Value SubZero(Op op, OpMaker) { return IsPositiveZero(Y(op)) ? X(op) : mlir::Value(); }
mlir::Value ZeroMinus(Op op, OpMaker make) {
  return IsNoSummand(X(op)) && ir::DataTypeOf(X(op)) != DataType::kU8 ? make.Make("neg", Y(op))
                                                                      : mlir::Value();
}
mlir::Value MulOne(Op op, OpMaker) {
  return IsSplat(Y(op), 1) ? X(op) : IsSplat(X(op), 1) ? Y(op) : mlir::Value();
}
mlir::Value MulZeroOfIntegers(Op op, OpMaker) {
  if (IsFloat(ir::DataTypeOf(X(op)))) return {};
  return IsSplat(Y(op), 0) ? Y(op) : IsSplat(X(op), 0) ? X(op) : mlir::Value();
}
mlir::Value DivOne(Op op, OpMaker) { return IsSplat(Y(op), 1) ? X(op) : mlir::Value(); }
// The reciprocal of a power of two is exact.
mlir::Value DivPowerOfTwo(Op op, OpMaker make) {
  const DataType dtype = ir::DataTypeOf(X(op));
  const std::optional<double> divisor = SplatOf(Y(op));
  int exponent = 0;
  if (!IsFloat(dtype) || !divisor || std::abs(std::frexp(*divisor, &exponent)) != 0.5 ||
      std::abs(exponent) > 8) {
    return {};
  }
  return make.Make("mul", {X(op), make.Full(dtype, ir::ShapeOf(X(op)), 1 / *divisor)});
}
mlir::Value NegNeg(Op op, OpMaker) {
  auto inner = X(op).getDefiningOp<ir::NegOp>();
  return inner ? inner.getX() : mlir::Value();
}
// x * -1 is exact.
mlir::Value MulMinusOne(Op op, OpMaker make) {
  if (!IsFloat(ir::DataTypeOf(X(op)))) return {};
  return IsSplat(Y(op), -1) ? make.Make("neg", X(op)) : mlir::Value();
}
mlir::Value PowSmall(Op op, OpMaker make) {
  if (IsSplat(Y(op), 1)) return X(op);
  if (IsSplat(Y(op), 2)) return make.Make("mul", {X(op), X(op)});
  return {};
}
// x > 0 is max(x, 0) > 0, for NaN as well. A rectifier's gradient then reads what the rectifier
// gives on anyway, and nobody needs what went into it.
mlir::Value GreaterOfRectified(Op op, OpMaker make) {
  constexpr int kMaxUsers = 16;
  if (!IsSplat(Y(op), 0)) return {};
  int looked_at = 0;
  for (Op user : X(op).getUsers()) {
    if (++looked_at > kMaxUsers) break;
    if (!llvm::isa<ir::MaximumOp>(user) || user->getBlock() != op->getBlock() ||
        !user->isBeforeInBlock(op) || !IsSplat(user->getOperand(X(op) == X(user) ? 1 : 0), 0)) {
      continue;
    }
    return make.Make("greater", {user->getResult(0), Y(op)});
  }
  return {};
}
mlir::Value StopGradient(Op op, OpMaker) { return X(op); }
mlir::Value CastToItself(Op op, OpMaker) {
  return X(op).getType() == op->getResult(0).getType() ? X(op) : mlir::Value();
}
// f16 and bf16 to f32 or f64 and back loses nothing.
mlir::Value CastThere(Op op, OpMaker) {
  auto inner = X(op).getDefiningOp<ir::CastOp>();
  if (!inner || inner.getX().getType() != op->getResult(0).getType()) return {};
  const DataType narrow = ir::DataTypeOf(inner.getX()), wide = ir::DataTypeOf(X(op));
  const bool exact = (IsFloat(narrow) && (wide == DataType::kF32 || wide == DataType::kF64) &&
                      SizeOf(narrow) < SizeOf(wide)) ||
                     (narrow == DataType::kBool && wide != DataType::kBool);
  return exact ? inner.getX() : mlir::Value();
}
mlir::Value SelectKnown(Op op, OpMaker) {
  const std::optional<double> condition = SplatOf(X(op));
  if (condition) return *condition != 0 ? op->getOperand(1) : op->getOperand(2);
  return op->getOperand(1) == op->getOperand(2) ? op->getOperand(1) : mlir::Value();
}
mlir::Value NotNot(Op op, OpMaker) {
  auto inner = X(op).getDefiningOp<ir::NotOp>();
  return inner ? inner.getX() : mlir::Value();
}
mlir::Value SameOperands(Op op, OpMaker) { return X(op) == Y(op) ? X(op) : mlir::Value(); }

// What is repeated is computed once: f(broadcast(x), broadcast(y)) = broadcast(f(x, y)), where all
// that is broadcast has one shape, or is a single number.
mlir::Value OfBroadcasts(Op op, OpMaker make) {
  std::optional<Shape> small;
  const Shape shape = ir::ShapeOf(op->getResult(0));
  if (shape.empty()) return {};
  auto source = [](mlir::Value value) {
    auto broadcast = value.getDefiningOp<ir::BroadcastOp>();
    return broadcast ? broadcast.getX() : mlir::Value();
  };
  for (mlir::Value operand : op->getOperands()) {
    mlir::Value x = source(operand);
    if (!x) return {};
    const Shape from = ir::ShapeOf(x);
    if (from.empty()) continue;
    if (small && *small != from) return {};
    small = from;
  }
  const Shape target = small.value_or(Shape());
  std::vector<mlir::Value> operands;
  for (mlir::Value operand : op->getOperands()) {
    operands.push_back(make.Broadcast(source(operand), target));
  }
  return make.Broadcast(
      make.Make(std::string_view(op->getName().stripDialect()), operands, op->getAttrs()), shape);
}

}  // namespace

const std::vector<SimplifyRule>& ElementwiseRules() {
  static const auto& rules = *new std::vector<SimplifyRule>{
      {"add_zero", "add", AddZero},
      {"sub_zero", "sub", SubZero},
      {"zero_minus", "sub", ZeroMinus},
      {"mul_one", "mul", MulOne},
      {"mul_zero_of_integers", "mul", MulZeroOfIntegers},
      {"mul_minus_one", "mul", MulMinusOne},
      {"div_one", "div", DivOne},
      {"div_power_of_two", "div", DivPowerOfTwo},
      {"neg_neg", "neg", NegNeg},
      {"pow_small", "pow", PowSmall},
      {"greater_of_rectified", "greater", GreaterOfRectified},
      {"stop_gradient", "stop_gradient", StopGradient},
      {"cast_to_itself", "cast", CastToItself},
      {"cast_there_and_back", "cast", CastThere},
      {"select_known", "select", SelectKnown},
      {"not_not", "not", NotNot},
      {"maximum_of_same", "maximum", SameOperands},
      {"minimum_of_same", "minimum", SameOperands},
      {"and_of_same", "and", SameOperands},
      {"or_of_same", "or", SameOperands},
      {"of_broadcasts", "*", OfBroadcasts},
  };
  return rules;
}

}  // namespace weft
