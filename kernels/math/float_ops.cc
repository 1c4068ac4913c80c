#include "kernels/math/float_ops.h"

#include <algorithm>
#include <string>
#include <vector>

#include "llvm/ADT/STLExtras.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
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

FloatOps::FloatOps(mlir::ImplicitLocOpBuilder& builder, Type type, Instructions instructions)
    : b_(builder), type_(type), instructions_(instructions) {
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

Value FloatOps::ByRegister(std::initializer_list<Value> operands,
                           const std::function<Value(llvm::ArrayRef<Value>)>& emit,
                           Width registers_width) {
  Type element = mlir::getElementTypeOrSelf(type_);
  auto vector = mlir::dyn_cast<mlir::VectorType>(type_);
  const int64_t lanes = vector ? vector.getDimSize(0) : 1;
  const int64_t widest = f64_ ? 8 : 16;
  int64_t width = registers_width == Width::k512 ? widest : widest / 4;
  while (width < widest && width < lanes) width *= 2;
  const int64_t padded = (lanes + width - 1) / width * width;
  const auto padded_type = mlir::VectorType::get({padded}, element);
  // Lanes [first, first + count) of some vector, and its last lane, `last`, for those beyond.
  auto numbers = [](int64_t first, int64_t count, int64_t last) {
    std::vector<int64_t> result;
    for (int64_t i = first; i < first + count; ++i) result.push_back(std::min(i, last));
    return result;
  };
  auto take = [&](Value x, int64_t first, int64_t count, int64_t last) -> Value {
    return mlir::vector::ShuffleOp::create(b_, x, x, numbers(first, count, last));
  };

  std::vector<Value> whole;
  for (Value operand : operands) {
    if (!vector) operand = mlir::vector::BroadcastOp::create(b_, padded_type, operand);
    if (vector && padded != lanes) operand = take(operand, 0, padded, lanes - 1);
    whole.push_back(operand);
  }
  Value result;
  for (int64_t first = 0; first < padded; first += width) {
    std::vector<Value> registers;
    for (Value operand : whole) {
      registers.push_back(padded == width ? operand : take(operand, first, width, padded - 1));
    }
    Value part = emit(registers);
    if (padded == width) {
      result = part;
      break;
    }
    part = take(part, 0, padded, width - 1);
    if (result) {
      std::vector<int64_t> merged = numbers(0, padded, padded - 1);
      for (int64_t i = 0; i < width; ++i) merged[static_cast<size_t>(first + i)] = padded + i;
      part = mlir::vector::ShuffleOp::create(b_, result, part, merged);
    }
    result = part;
  }
  if (!vector) return mlir::vector::ExtractOp::create(b_, result, 0);
  return padded == lanes ? result : take(result, 0, lanes, lanes - 1);
}

Value FloatOps::Avx512(llvm::StringRef name, llvm::ArrayRef<Value> registers) {
  auto type = mlir::cast<mlir::VectorType>(registers[0].getType());
  const int64_t lanes = type.getDimSize(0);
  const int64_t bits = lanes * (f64_ ? 64 : 32);
  std::vector<Value> arguments(registers.begin(), registers.end());
  arguments.push_back(registers[0]);
  auto integer = [&](int width, int64_t value) {
    arguments.push_back(
        arith::ConstantOp::create(b_, b_.getIntegerAttr(b_.getIntegerType(width), value)));
  };
  integer(lanes == 16 ? 16 : 8, -1);
  // The widest registers can round in other ways than the current one, which is 4.
  if (bits == 512 && name.contains("scalef")) integer(32, 4);
  const std::string intrinsic =
      "llvm.x86.avx512." + name.str() + (f64_ ? ".pd." : ".ps.") + std::to_string(bits);
  return mlir::LLVM::CallIntrinsicOp::create(b_, type, b_.getStringAttr(intrinsic), arguments)
      .getResult(0);
}

Value FloatOps::RoughReciprocal(Value a) {
  if (instructions_.avx512) {
    return ByRegister({a}, [&](llvm::ArrayRef<Value> x) { return Avx512("rcp14", x); });
  }
  // Taking the bits from those of (about) 1 squared turns the exponent around and the fraction into
  // a first guess, off by an eighth at most. With e = 1 - a r, 1 / a = r (1 + e + e^2 + ...).
  Value r = FromBits(BitsSub(BitsConst(0x7EF311C7), Bits(a)));
  Value e = Fma(Neg(a), r, Const(1.0));
  r = Fma(Mul(r, e), Add(e, Const(1.0)), r);
  return Fma(r, Fma(Neg(a), r, Const(1.0)), r);
}

Value FloatOps::Quotient(Value a, Value b) {
  if (f64_ || instructions_.divides_fast) return Div(a, b);
  Value r = RoughReciprocal(b), q = Mul(a, r);
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

Value FloatOps::Polynomial(Value x, llvm::ArrayRef<double> coefficients) {
  Value result = Const(coefficients.back());
  for (double c : llvm::reverse(coefficients.drop_back())) result = Fma(result, x, Const(c));
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

Value FloatOps::PowerOfTwo(const Rounded& n) {
  // By its exponent bits: the shift drops all but the low bits, which hold n.
  return FromBits(BitsAdd(ShiftLeft(n.shifted_bits, fraction_bits()), Bits(Const(1.0))));
}

Value FloatOps::ScaleByPowerOfTwo(Value y, const Rounded& n) {
  if (instructions_.avx512) return ScaleByFloor(y, n.whole);
  // In two steps, so that neither factor leaves the range; only the second product is rounded.
  Value whole = Whole(n);
  Value half = ShiftRight(whole, 1);
  Value rest = BitsSub(whole, half);
  Value one = Bits(Const(1.0));
  auto power = [&](Value exponent) {
    return FromBits(BitsAdd(ShiftLeft(exponent, fraction_bits()), one));
  };
  return Mul(Mul(y, power(half)), power(rest));
}

Value FloatOps::ScaleModerately(Value y, const Rounded& n) {
  if (instructions_.avx512) return ScaleByFloor(y, n.whole);
  return Mul(y, PowerOfTwo(n));
}

FloatOps::RoundedToSixteenths FloatOps::RoundScaledToSixteenths(Value x, double scale) {
  Value shift = Const(kShift32 / 16, kShift64 / 16);
  Value shifted = Fma(x, Const(scale), shift);
  return {Sub(shifted, shift), Bits(shifted)};
}

Value FloatOps::LookUp(const std::array<float, 16>& table, Value place) {
  auto type = mlir::VectorType::get({16}, b_.getF32Type());
  auto integers = mlir::VectorType::get({16}, b_.getI32Type());
  Value values = arith::ConstantOp::create(
      b_, type, mlir::DenseElementsAttr::get(type, llvm::ArrayRef<float>(table)));
  // Of a place, the instruction looks at the last four bits.
  return ByRegister(
      {FromBits(place)},
      [&](llvm::ArrayRef<Value> x) -> Value {
        Value places = arith::BitcastOp::create(b_, integers, x[0]);
        return mlir::LLVM::CallIntrinsicOp::create(
                   b_, type, b_.getStringAttr("llvm.x86.avx512.permvar.sf.512"),
                   mlir::ValueRange{values, places})
            .getResult(0);
      },
      Width::k512);
}

Value FloatOps::ScaleByFloor(Value y, Value n) {
  return ByRegister({y, n}, [&](llvm::ArrayRef<Value> x) { return Avx512("mask.scalef", x); });
}

Value FloatOps::FromWhole(Value integer) {
  Value shift = Const(kShift32, kShift64);
  return Sub(FromBits(BitsAdd(integer, Bits(shift))), shift);
}

}  // namespace weft::math
