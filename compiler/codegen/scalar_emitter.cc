#include "compiler/codegen/scalar_emitter.h"

#include <cmath>
#include <limits>

#include "kernels/math/math.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"

namespace weft {

using mlir::Type;
using mlir::Value;
namespace arith = mlir::arith;

namespace {

bool IsNarrowFloat(DataType dtype) { return dtype == DataType::kF16 || dtype == DataType::kBF16; }

bool IsConstantNumber(Value value) {
  mlir::DenseElementsAttr elements;
  mlir::FloatAttr number;
  if (auto broadcast = value.getDefiningOp<mlir::vector::BroadcastOp>()) {
    value = broadcast.getSource();
  }
  if (mlir::matchPattern(value, mlir::m_Constant(&number))) return !number.getValue().isNaN();
  return mlir::matchPattern(value, mlir::m_Constant(&elements)) && elements.isSplat() &&
         !elements.getSplatValue<llvm::APFloat>().isNaN();
}

Type ScalarRegisterType(mlir::Builder& b, DataType dtype) {
  switch (dtype) {
    case DataType::kBool:
      return b.getI1Type();
    case DataType::kI8:
    case DataType::kU8:
      return b.getI8Type();
    case DataType::kI32:
      return b.getI32Type();
    case DataType::kI64:
      return b.getI64Type();
    case DataType::kF64:
      return b.getF64Type();
    default:
      return b.getF32Type();
  }
}

Type ScalarMemoryType(mlir::Builder& b, DataType dtype) {
  switch (dtype) {
    case DataType::kBool:
      return b.getI8Type();
    case DataType::kF16:
      return b.getF16Type();
    case DataType::kBF16:
      return b.getI16Type();
    default:
      return ScalarRegisterType(b, dtype);
  }
}

Type Lanes(Type element, int64_t lanes) {
  return lanes == 0 ? element : mlir::VectorType::get({lanes}, element);
}

}  // namespace

math::Instructions MathInstructions(const Target& target) {
  math::Instructions instructions;
  // What Target asks for registers of 512 bits includes it.
  instructions.avx512 = target.vector_bits == 512;
  instructions.divides_fast = target.cpu == "znver4";
  return instructions;
}

Type ScalarEmitter::RegisterType(DataType dtype, int64_t lanes) const {
  return Lanes(ScalarRegisterType(b_, dtype), lanes);
}

Type ScalarEmitter::MemoryType(DataType dtype, int64_t lanes) const {
  return Lanes(ScalarMemoryType(b_, dtype), lanes);
}

int64_t ScalarEmitter::LanesOf(Value value) {
  auto vector = mlir::dyn_cast<mlir::VectorType>(value.getType());
  return vector ? vector.getDimSize(0) : 0;
}

Type ScalarEmitter::WithElement(Type like, Type element) const {
  auto vector = mlir::dyn_cast<mlir::VectorType>(like);
  return vector ? Type(mlir::VectorType::get(vector.getShape(), element)) : element;
}

Value ScalarEmitter::Filled(Type like, mlir::Attribute element) {
  if (auto vector = mlir::dyn_cast<mlir::VectorType>(like)) {
    element = mlir::DenseElementsAttr::get(vector, element);
  }
  return arith::ConstantOp::create(b_, mlir::cast<mlir::TypedAttr>(element));
}

Value ScalarEmitter::FloatLike(Value like, double value) {
  Type element = mlir::getElementTypeOrSelf(like.getType());
  return Filled(like.getType(),
                element.isF64()
                    ? b_.getFloatAttr(element, value)
                    : b_.getFloatAttr(element, llvm::APFloat(static_cast<float>(value))));
}

Value ScalarEmitter::IntegerLike(Value like, int64_t value) {
  Type element = mlir::getElementTypeOrSelf(like.getType());
  llvm::APInt bits(element.getIntOrFloatBitWidth(), static_cast<uint64_t>(value), true, true);
  return Filled(like.getType(), b_.getIntegerAttr(element, bits));
}

Element ScalarEmitter::FromMemory(Value value, DataType dtype) {
  if (dtype == DataType::kBool) {
    value = arith::CmpIOp::create(b_, arith::CmpIPredicate::ne, value, IntegerLike(value, 0));
  } else if (dtype == DataType::kBF16) {
    // The upper half of an f32.
    Value bits = arith::ExtUIOp::create(b_, WithElement(value.getType(), b_.getI32Type()), value);
    bits = arith::ShLIOp::create(b_, bits, IntegerLike(bits, 16));
    value = arith::BitcastOp::create(b_, WithElement(value.getType(), b_.getF32Type()), bits);
  } else if (dtype == DataType::kF16) {
    value = arith::ExtFOp::create(b_, WithElement(value.getType(), b_.getF32Type()), value);
  }
  return {value, dtype};
}

Value ScalarEmitter::ToMemory(Element x) {
  Type element = ScalarMemoryType(b_, x.dtype);
  Type type = WithElement(x.value.getType(), element);
  if (x.dtype == DataType::kBool) return arith::ExtUIOp::create(b_, type, x.value);
  if (!IsNarrowFloat(x.dtype)) return x.value;
  if (x.dtype == DataType::kBF16) {
    Value bits = arith::BitcastOp::create(b_, WithElement(type, b_.getI32Type()), x.value);
    return arith::TruncIOp::create(b_, type,
                                   arith::ShRUIOp::create(b_, bits, IntegerLike(bits, 16)));
  }
  // Without the second rounding of a value that has just been rounded.
  if (auto widened = x.value.getDefiningOp<arith::ExtFOp>()) {
    if (widened.getIn().getType() == type) return widened.getIn();
  }
  return arith::TruncFOp::create(b_, type, x.value);
}

Element ScalarEmitter::Rounded(Value value, DataType dtype) {
  if (dtype == DataType::kF16) {
    Type narrow = WithElement(value.getType(), ScalarMemoryType(b_, dtype));
    Value rounded = arith::TruncFOp::create(b_, narrow, value);
    value = arith::ExtFOp::create(b_, value.getType(), rounded);
  } else if (dtype == DataType::kBF16) {
    // To nearest even, by integers: adding half of the last kept bit carries where that rounds up.
    Value bits = arith::BitcastOp::create(b_, WithElement(value.getType(), b_.getI32Type()), value);
    Value last = arith::AndIOp::create(b_, arith::ShRUIOp::create(b_, bits, IntegerLike(bits, 16)),
                                       IntegerLike(bits, 1));
    Value sum =
        arith::AddIOp::create(b_, arith::AddIOp::create(b_, bits, IntegerLike(bits, 0x7fff)), last);
    Value nan = arith::CmpFOp::create(b_, arith::CmpFPredicate::UNO, value, value);
    Value quiet = arith::OrIOp::create(b_, bits, IntegerLike(bits, 0x400000));
    Value kept = arith::AndIOp::create(b_, arith::SelectOp::create(b_, nan, quiet, sum),
                                       IntegerLike(bits, -65536));
    value = arith::BitcastOp::create(b_, value.getType(), kept);
  }
  return {value, dtype};
}

Element ScalarEmitter::Constant(DataType dtype, double value) {
  if (!IsFloat(dtype)) return IntegerConstant(dtype, static_cast<int64_t>(value));
  if (dtype == DataType::kF16)
    value = static_cast<float>(static_cast<F16>(static_cast<float>(value)));
  if (dtype == DataType::kBF16) value = static_cast<float>(BF16(static_cast<float>(value)));
  Type type = ScalarRegisterType(b_, dtype);
  mlir::FloatAttr attribute = type.isF64()
                                  ? b_.getFloatAttr(type, value)
                                  : b_.getFloatAttr(type, llvm::APFloat(static_cast<float>(value)));
  return {arith::ConstantOp::create(b_, attribute), dtype};
}

Element ScalarEmitter::IntegerConstant(DataType dtype, int64_t value) {
  if (IsFloat(dtype)) return Constant(dtype, static_cast<double>(value));
  if (dtype == DataType::kBool) {
    return {arith::ConstantOp::create(b_, b_.getBoolAttr(value != 0)), dtype};
  }
  Type type = ScalarRegisterType(b_, dtype);
  llvm::APInt bits(type.getIntOrFloatBitWidth(), static_cast<uint64_t>(value), true, true);
  return {arith::ConstantOp::create(b_, b_.getIntegerAttr(type, bits)), dtype};
}

Element ScalarEmitter::Lowest(DataType dtype) {
  switch (dtype) {
    case DataType::kBool:
    case DataType::kU8:
      return IntegerConstant(dtype, 0);
    case DataType::kI8:
      return IntegerConstant(dtype, std::numeric_limits<int8_t>::min());
    case DataType::kI32:
      return IntegerConstant(dtype, std::numeric_limits<int32_t>::min());
    case DataType::kI64:
      return IntegerConstant(dtype, std::numeric_limits<int64_t>::min());
    default:
      return Constant(dtype, -std::numeric_limits<double>::infinity());
  }
}

Element ScalarEmitter::Highest(DataType dtype) {
  switch (dtype) {
    case DataType::kBool:
      return IntegerConstant(dtype, 1);
    case DataType::kU8:
      return IntegerConstant(dtype, std::numeric_limits<uint8_t>::max());
    case DataType::kI8:
      return IntegerConstant(dtype, std::numeric_limits<int8_t>::max());
    case DataType::kI32:
      return IntegerConstant(dtype, std::numeric_limits<int32_t>::max());
    case DataType::kI64:
      return IntegerConstant(dtype, std::numeric_limits<int64_t>::max());
    default:
      return Constant(dtype, std::numeric_limits<double>::infinity());
  }
}

Element ScalarEmitter::Splat(Element x, int64_t lanes) {
  if (lanes == 0 || LanesOf(x.value) != 0) return x;
  auto type = mlir::VectorType::get({lanes}, x.value.getType());
  mlir::Attribute constant;
  if (mlir::matchPattern(x.value, mlir::m_Constant(&constant))) {
    x.value = Filled(type, constant);
  } else {
    x.value = mlir::vector::BroadcastOp::create(b_, type, x.value);
  }
  return x;
}

void ScalarEmitter::Unify(Element& a, Element& b) {
  const int64_t lanes = std::max(LanesOf(a.value), LanesOf(b.value));
  a = Splat(a, lanes);
  b = Splat(b, lanes);
}

Element ScalarEmitter::Add(Element a, Element b) {
  Unify(a, b);
  if (!IsFloat(a.dtype)) return {arith::AddIOp::create(b_, a.value, b.value), a.dtype};
  return Rounded(arith::AddFOp::create(b_, a.value, b.value), a.dtype);
}

Element ScalarEmitter::Sub(Element a, Element b) {
  Unify(a, b);
  if (!IsFloat(a.dtype)) return {arith::SubIOp::create(b_, a.value, b.value), a.dtype};
  return Rounded(arith::SubFOp::create(b_, a.value, b.value), a.dtype);
}

Element ScalarEmitter::Mul(Element a, Element b) {
  Unify(a, b);
  if (!IsFloat(a.dtype)) return {arith::MulIOp::create(b_, a.value, b.value), a.dtype};
  return Rounded(arith::MulFOp::create(b_, a.value, b.value), a.dtype);
}

Element ScalarEmitter::Div(Element a, Element b) {
  if (!IsFloat(a.dtype)) return IntegerDivision(a, b, /*remainder=*/false);
  if (a.dtype != DataType::kF64 && LanesOf(a.value) > 1 && LanesOf(b.value) == 0) {
    return Rounded(math::DivideByUniform(Math(a.value), a.value, b.value), a.dtype);
  }
  Unify(a, b);
  return Rounded(arith::DivFOp::create(b_, a.value, b.value), a.dtype);
}

Element ScalarEmitter::Rem(Element a, Element b) {
  if (!IsFloat(a.dtype)) return IntegerDivision(a, b, /*remainder=*/true);
  Unify(a, b);
  return {math::Fmod(Math(a.value), a.value, b.value), a.dtype};
}

Element ScalarEmitter::IntegerDivision(Element a, Element b, bool remainder) {
  Unify(a, b);
  const DataType dtype = a.dtype;
  Value zero = IntegerLike(b.value, 0);
  Value by_zero = arith::CmpIOp::create(b_, arith::CmpIPredicate::eq, b.value, zero);
  // The lowest number divided by -1 does not fit (and would trap): x / -1 is -x, which wraps
  // around.
  Value minus = dtype == DataType::kU8
                    ? by_zero
                    : Value(arith::CmpIOp::create(b_, arith::CmpIPredicate::eq, b.value,
                                                  IntegerLike(b.value, -1)));
  Value special = arith::OrIOp::create(b_, by_zero, minus);
  Value divisor = arith::SelectOp::create(b_, special, IntegerLike(b.value, 1), b.value);
  Value quotient;
  if (dtype == DataType::kI64) {
    quotient = arith::DivSIOp::create(b_, a.value, divisor);
  } else {
    // Processors have no division of integer vectors. A quotient of two 32-bit integers in f64 (of
    // two 8-bit ones in f32), cut to a whole number, is exact.
    const DataType wide = dtype == DataType::kI32 ? DataType::kF64 : DataType::kF32;
    Value q = arith::DivFOp::create(b_, Cast(a, wide).value, Cast({divisor, dtype}, wide).value);
    quotient = arith::FPToSIOp::create(b_, WithElement(q.getType(), b_.getI32Type()), q);
    if (dtype != DataType::kI32) {
      quotient = arith::TruncIOp::create(b_, a.value.getType(), quotient);
    }
  }
  quotient = arith::SelectOp::create(b_, minus, arith::SubIOp::create(b_, zero, a.value), quotient);
  Value result = quotient;
  if (remainder) {
    result = arith::SubIOp::create(b_, a.value, arith::MulIOp::create(b_, quotient, b.value));
  }
  return {arith::SelectOp::create(b_, by_zero, zero, result), dtype};
}

Element ScalarEmitter::Pow(Element a, Element b) {
  Unify(a, b);
  return Rounded(math::Pow(Math(a.value), a.value, b.value), a.dtype);
}

Element ScalarEmitter::Atan2(Element a, Element b) {
  Unify(a, b);
  return Rounded(math::Atan2(Math(a.value), a.value, b.value), a.dtype);
}

Element ScalarEmitter::FloatExtreme(Element a, Element b, Comparison better) {
  // `a > b ? a : b` is one instruction and gives b where one is NaN, so b must be the one that can
  // be.
  if (IsConstantNumber(b.value)) std::swap(a, b);
  Value result = arith::SelectOp::create(b_, Compare(better, a, b).value, a.value, b.value);
  if (!IsConstantNumber(a.value)) {
    Value nan = arith::CmpFOp::create(b_, arith::CmpFPredicate::UNO, a.value, a.value);
    result = arith::SelectOp::create(b_, nan, a.value, result);
  }
  return {result, a.dtype};
}

Element ScalarEmitter::Max(Element a, Element b) {
  Unify(a, b);
  if (IsFloat(a.dtype)) return FloatExtreme(a, b, Comparison::kGreater);
  if (a.dtype == DataType::kBool) return Or(a, b);
  if (a.dtype == DataType::kU8) return {arith::MaxUIOp::create(b_, a.value, b.value), a.dtype};
  return {arith::MaxSIOp::create(b_, a.value, b.value), a.dtype};
}

Element ScalarEmitter::Min(Element a, Element b) {
  Unify(a, b);
  if (IsFloat(a.dtype)) return FloatExtreme(a, b, Comparison::kLess);
  if (a.dtype == DataType::kBool) return And(a, b);
  if (a.dtype == DataType::kU8) return {arith::MinUIOp::create(b_, a.value, b.value), a.dtype};
  return {arith::MinSIOp::create(b_, a.value, b.value), a.dtype};
}

Element ScalarEmitter::Neg(Element x) {
  if (IsFloat(x.dtype)) return {arith::NegFOp::create(b_, x.value), x.dtype};
  return {arith::SubIOp::create(b_, IntegerLike(x.value, 0), x.value), x.dtype};
}

Element ScalarEmitter::Abs(Element x) {
  if (IsFloat(x.dtype)) return {mlir::math::AbsFOp::create(b_, x.value), x.dtype};
  if (x.dtype == DataType::kU8) return x;
  return Max(x, Neg(x));
}

Element ScalarEmitter::Sign(Element x) {
  Element zero = Constant(x.dtype, 0);
  Element below = Compare(Comparison::kLess, x, zero),
          above = Compare(Comparison::kGreater, x, zero);
  // What is neither stays: zero, and NaN.
  Element result = Select(above, Constant(x.dtype, 1), x);
  return x.dtype == DataType::kU8 ? result : Select(below, Constant(x.dtype, -1), result);
}

Element ScalarEmitter::Floor(Element x) {
  return {mlir::math::FloorOp::create(b_, x.value), x.dtype};
}
Element ScalarEmitter::Ceil(Element x) {
  return {mlir::math::CeilOp::create(b_, x.value), x.dtype};
}
Element ScalarEmitter::Round(Element x) {
  return {mlir::math::RoundEvenOp::create(b_, x.value), x.dtype};
}
Element ScalarEmitter::Trunc(Element x) {
  return {mlir::math::TruncOp::create(b_, x.value), x.dtype};
}
Element ScalarEmitter::Sqrt(Element x) {
  return Rounded(mlir::math::SqrtOp::create(b_, x.value), x.dtype);
}
Element ScalarEmitter::Rsqrt(Element x) {
  Value root = mlir::math::SqrtOp::create(b_, x.value);
  return Rounded(arith::DivFOp::create(b_, FloatLike(root, 1), root), x.dtype);
}
Element ScalarEmitter::Reciprocal(Element x) {
  return Rounded(arith::DivFOp::create(b_, FloatLike(x.value, 1), x.value), x.dtype);
}
Element ScalarEmitter::Exp(Element x) {
  return Rounded(math::Exp(Math(x.value), x.value), x.dtype);
}
Element ScalarEmitter::Expm1(Element x) {
  return Rounded(math::Expm1(Math(x.value), x.value), x.dtype);
}
Element ScalarEmitter::Log(Element x) {
  return Rounded(math::Log(Math(x.value), x.value), x.dtype);
}
Element ScalarEmitter::Log1p(Element x) {
  return Rounded(math::Log1p(Math(x.value), x.value), x.dtype);
}
Element ScalarEmitter::Sin(Element x) {
  return Rounded(math::Sin(Math(x.value), x.value), x.dtype);
}
Element ScalarEmitter::Cos(Element x) {
  return Rounded(math::Cos(Math(x.value), x.value), x.dtype);
}
Element ScalarEmitter::Tanh(Element x) {
  return Rounded(math::Tanh(Math(x.value), x.value), x.dtype);
}
Element ScalarEmitter::Logistic(Element x) {
  return Rounded(math::Logistic(Math(x.value), x.value), x.dtype);
}
Element ScalarEmitter::Erf(Element x) {
  return Rounded(math::Erf(Math(x.value), x.value), x.dtype);
}

Element ScalarEmitter::Compare(Comparison comparison, Element a, Element b) {
  Unify(a, b);
  using F = arith::CmpFPredicate;
  using I = arith::CmpIPredicate;
  const int i = static_cast<int>(comparison);
  if (IsFloat(a.dtype)) {
    constexpr F kPredicates[] = {F::OEQ, F::UNE, F::OLT, F::OLE, F::OGT, F::OGE};
    return {arith::CmpFOp::create(b_, kPredicates[i], a.value, b.value), DataType::kBool};
  }
  constexpr I kSigned[] = {I::eq, I::ne, I::slt, I::sle, I::sgt, I::sge};
  constexpr I kUnsigned[] = {I::eq, I::ne, I::ult, I::ule, I::ugt, I::uge};
  const bool is_unsigned = a.dtype == DataType::kU8 || a.dtype == DataType::kBool;
  return {arith::CmpIOp::create(b_, (is_unsigned ? kUnsigned : kSigned)[i], a.value, b.value),
          DataType::kBool};
}

Element ScalarEmitter::IsFinite(Element x) {
  Value magnitude = mlir::math::AbsFOp::create(b_, x.value);
  Value infinity = FloatLike(x.value, std::numeric_limits<double>::infinity());
  return {arith::CmpFOp::create(b_, arith::CmpFPredicate::OLT, magnitude, infinity),
          DataType::kBool};
}

Element ScalarEmitter::And(Element a, Element b) {
  Unify(a, b);
  return {arith::AndIOp::create(b_, a.value, b.value), a.dtype};
}
Element ScalarEmitter::Or(Element a, Element b) {
  Unify(a, b);
  return {arith::OrIOp::create(b_, a.value, b.value), a.dtype};
}
Element ScalarEmitter::Xor(Element a, Element b) {
  Unify(a, b);
  return {arith::XOrIOp::create(b_, a.value, b.value), a.dtype};
}
Element ScalarEmitter::Not(Element x) {
  return {arith::XOrIOp::create(b_, x.value, IntegerLike(x.value, -1)), x.dtype};
}

Element ScalarEmitter::Select(Element condition, Element a, Element b) {
  Unify(a, b);
  const int64_t lanes = std::max(LanesOf(condition.value), LanesOf(a.value));
  // A scalar condition chooses between vectors as it is.
  if (LanesOf(condition.value) != 0) {
    a = Splat(a, lanes);
    b = Splat(b, lanes);
  }
  return {arith::SelectOp::create(b_, condition.value, a.value, b.value), a.dtype};
}

Value ScalarEmitter::FloatToInteger(Value x, DataType dtype) {
  // Truncates, saturates, and makes NaN 0; `high` is one past the range, a power of two, exact in
  // any float type.
  const int bits = 8 * SizeOf(dtype);
  const bool is_unsigned = dtype == DataType::kU8;
  const double high = std::ldexp(1.0, is_unsigned ? bits : bits - 1);
  const double low = is_unsigned ? 0.0 : -high;
  Value too_high = arith::CmpFOp::create(b_, arith::CmpFPredicate::OGE, x, FloatLike(x, high));
  Value too_low = arith::CmpFOp::create(b_, arith::CmpFPredicate::OLE, x, FloatLike(x, low));
  Value nan = arith::CmpFOp::create(b_, arith::CmpFPredicate::UNO, x, x);
  Value outside = arith::OrIOp::create(b_, arith::OrIOp::create(b_, too_high, too_low), nan);
  Value safe = arith::SelectOp::create(b_, outside, FloatLike(x, 0), x);
  Type through = WithElement(x.getType(), bits == 64 ? b_.getI64Type() : b_.getI32Type());
  Value result = arith::FPToSIOp::create(b_, through, safe);
  Type type = WithElement(x.getType(), ScalarRegisterType(b_, dtype));
  if (type != through) result = arith::TruncIOp::create(b_, type, result);
  const int64_t lowest = is_unsigned ? 0 : -1 - static_cast<int64_t>((1ull << (bits - 1)) - 1);
  const int64_t highest =
      static_cast<int64_t>(is_unsigned ? (1ull << bits) - 1 : (1ull << (bits - 1)) - 1);
  result = arith::SelectOp::create(b_, too_low, IntegerLike(result, lowest), result);
  return arith::SelectOp::create(b_, too_high, IntegerLike(result, highest), result);
}

Element ScalarEmitter::Cast(Element x, DataType dtype) {
  if (x.dtype == dtype) return x;
  if (dtype == DataType::kBool) return Compare(Comparison::kNotEqual, x, Constant(x.dtype, 0));
  Type from = mlir::getElementTypeOrSelf(x.value.getType());
  Type element = ScalarRegisterType(b_, dtype);
  Type type = WithElement(x.value.getType(), element);
  const bool is_unsigned = x.dtype == DataType::kU8 || x.dtype == DataType::kBool;
  if (IsFloat(x.dtype)) {
    if (!IsFloat(dtype)) return {FloatToInteger(x.value, dtype), dtype};
    Value value = x.value;
    if (from.isF32() && element.isF64()) value = arith::ExtFOp::create(b_, type, value);
    if (from.isF64() && element.isF32()) value = arith::TruncFOp::create(b_, type, value);
    // f16 and bf16 in f32 need no rounding on the way to f32; anything needs it on the way to them.
    return Rounded(value, dtype);
  }
  if (IsFloat(dtype)) {
    Value value = is_unsigned ? Value(arith::UIToFPOp::create(b_, type, x.value))
                              : Value(arith::SIToFPOp::create(b_, type, x.value));
    return Rounded(value, dtype);
  }
  const int from_bits = from.getIntOrFloatBitWidth(), to_bits = element.getIntOrFloatBitWidth();
  if (from_bits == to_bits) return {x.value, dtype};
  if (from_bits > to_bits) return {arith::TruncIOp::create(b_, type, x.value), dtype};
  if (is_unsigned) return {arith::ExtUIOp::create(b_, type, x.value), dtype};
  return {arith::ExtSIOp::create(b_, type, x.value), dtype};
}

DataType ScalarEmitter::AccumulatorType(DataType dtype) {
  return IsNarrowFloat(dtype) ? DataType::kF32 : dtype;
}

Element ScalarEmitter::ToAccumulator(Element x) { return {x.value, AccumulatorType(x.dtype)}; }

Element ScalarEmitter::FromAccumulator(Element x, DataType dtype) {
  return Rounded(x.value, dtype);
}

}  // namespace weft
