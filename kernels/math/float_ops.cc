#include "kernels/math/float_ops.h"

#include <bit>

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/TypeUtilities.h"

namespace weft::math {

using mlir::Type;
using mlir::Value;
namespace arith = mlir::arith;

namespace {

mlir::Attribute Splat(Type type, mlir::Attribute element) {
  if (auto vector = mlir::dyn_cast<mlir::VectorType>(type)) {
    return mlir::DenseElementsAttr::get(vector, element);
  }
  return element;
}

}  // namespace

FloatOps::FloatOps(mlir::ImplicitLocOpBuilder& builder, Type type) : b_(builder), type_(type) {
  Type element = mlir::getElementTypeOrSelf(type);
  f64_ = element.isF64();
  bits_type_ = b_.getIntegerType(f64_ ? 64 : 32);
  if (auto vector = mlir::dyn_cast<mlir::VectorType>(type)) {
    bits_type_ = mlir::VectorType::get(vector.getShape(), bits_type_);
  }
}

Value FloatOps::Const(double value) {
  Type element = mlir::getElementTypeOrSelf(type_);
  mlir::Attribute attribute =
      f64_ ? b_.getFloatAttr(element, value)
           : b_.getFloatAttr(element, llvm::APFloat(static_cast<float>(value)));
  return arith::ConstantOp::create(b_, mlir::cast<mlir::TypedAttr>(Splat(type_, attribute)));
}

Value FloatOps::BitsConst(int64_t value) {
  mlir::Attribute attribute =
      b_.getIntegerAttr(mlir::getElementTypeOrSelf(bits_type_),
                        llvm::APInt(f64_ ? 64 : 32, static_cast<uint64_t>(value), false, true));
  return arith::ConstantOp::create(b_, mlir::cast<mlir::TypedAttr>(Splat(bits_type_, attribute)));
}

Value FloatOps::Add(Value a, Value b) { return arith::AddFOp::create(b_, a, b); }
Value FloatOps::Sub(Value a, Value b) { return arith::SubFOp::create(b_, a, b); }
Value FloatOps::Mul(Value a, Value b) { return arith::MulFOp::create(b_, a, b); }
Value FloatOps::Div(Value a, Value b) { return arith::DivFOp::create(b_, a, b); }
Value FloatOps::Fma(Value a, Value b, Value c) { return mlir::math::FmaOp::create(b_, a, b, c); }
Value FloatOps::Neg(Value a) { return arith::NegFOp::create(b_, a); }
Value FloatOps::Abs(Value a) { return mlir::math::AbsFOp::create(b_, a); }
Value FloatOps::CopySign(Value magnitude, Value sign) {
  return mlir::math::CopySignOp::create(b_, magnitude, sign);
}
Value FloatOps::Trunc(Value a) { return mlir::math::TruncOp::create(b_, a); }

Value FloatOps::Reciprocal(Value a) {
  if (f64_) return Div(Const(1.0), a);
  // Taking the bits from those of (about) 1 squared turns the exponent around and the fraction into
  // a first guess, off by an eighth at most. Each step leaves the third power of the error:
  // 1 / a = r / (1 - e) with e = 1 - a r.
  Value r = FromBits(BitsSub(BitsConst(0x7EF311C7), Bits(a)));
  for (int step = 0; step < 2; ++step) {
    Value e = Fma(Neg(a), r, Const(1.0));
    r = Fma(Mul(r, e), Add(e, Const(1.0)), r);
  }
  return r;
}

Value FloatOps::Quotient(Value a, Value b) {
  if (f64_) return Div(a, b);
  Value r = Reciprocal(b), q = Mul(a, r);
  return Fma(Fma(Neg(q), b, a), r, q);
}

Value FloatOps::Less(Value a, Value b) {
  return arith::CmpFOp::create(b_, arith::CmpFPredicate::OLT, a, b);
}
Value FloatOps::Greater(Value a, Value b) {
  return arith::CmpFOp::create(b_, arith::CmpFPredicate::OGT, a, b);
}
Value FloatOps::GreaterEqual(Value a, Value b) {
  return arith::CmpFOp::create(b_, arith::CmpFPredicate::OGE, a, b);
}
Value FloatOps::Equal(Value a, Value b) {
  return arith::CmpFOp::create(b_, arith::CmpFPredicate::OEQ, a, b);
}
Value FloatOps::IsNan(Value a) {
  return arith::CmpFOp::create(b_, arith::CmpFPredicate::UNO, a, a);
}
Value FloatOps::And(Value a, Value b) { return arith::AndIOp::create(b_, a, b); }
Value FloatOps::Or(Value a, Value b) { return arith::OrIOp::create(b_, a, b); }
Value FloatOps::Not(Value condition) {
  Value ones = arith::ConstantOp::create(
      b_, mlir::cast<mlir::TypedAttr>(Splat(condition.getType(), b_.getBoolAttr(true))));
  return arith::XOrIOp::create(b_, condition, ones);
}
Value FloatOps::Select(Value condition, Value a, Value b) {
  return arith::SelectOp::create(b_, condition, a, b);
}
Value FloatOps::Clamp(Value a, double low, double high) {
  Value h = Const(high), l = Const(low);
  a = Select(Greater(a, h), h, a);
  return Select(Less(a, l), l, a);
}

Value FloatOps::Bits(Value a) { return arith::BitcastOp::create(b_, bits_type_, a); }
Value FloatOps::FromBits(Value bits) { return arith::BitcastOp::create(b_, type_, bits); }
Value FloatOps::BitsAdd(Value a, Value b) { return arith::AddIOp::create(b_, a, b); }
Value FloatOps::BitsSub(Value a, Value b) { return arith::SubIOp::create(b_, a, b); }
Value FloatOps::BitsAnd(Value a, Value b) { return arith::AndIOp::create(b_, a, b); }
Value FloatOps::BitsXor(Value a, Value b) { return arith::XOrIOp::create(b_, a, b); }
Value FloatOps::ShiftLeft(Value a, int count) {
  return arith::ShLIOp::create(b_, a, BitsConst(count));
}
Value FloatOps::ShiftRight(Value a, int count) {
  return arith::ShRSIOp::create(b_, a, BitsConst(count));
}
Value FloatOps::NonZero(Value a) {
  return arith::CmpIOp::create(b_, arith::CmpIPredicate::ne, a, BitsConst(0));
}

Value FloatOps::Polynomial(Value x, std::initializer_list<double> coefficients) {
  Value result;
  for (auto c = std::rbegin(coefficients); c != std::rend(coefficients); ++c) {
    result = result ? Fma(result, x, Const(*c)) : Const(*c);
  }
  return result;
}

namespace {

constexpr double kShift32 = 12582912.0;          // 1.5 * 2^23
constexpr double kShift64 = 6755399441055744.0;  // 1.5 * 2^52

}  // namespace

FloatOps::Rounded FloatOps::RoundScaled(Value x, double scale) {
  Value shift = Const(kShift32, kShift64);
  Value shifted = Fma(x, Const(scale), shift);
  return {Sub(shifted, shift), Bits(shifted)};
}

Value FloatOps::Whole(const Rounded& rounded) {
  return BitsSub(rounded.shifted_bits, Bits(Const(kShift32, kShift64)));
}

Value FloatOps::FromWhole(Value integer) {
  Value shift = Const(kShift32, kShift64);
  return Sub(FromBits(BitsAdd(integer, Bits(shift))), shift);
}

}  // namespace weft::math
