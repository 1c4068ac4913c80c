// sin, cos and atan2.
#include <numbers>

#include "kernels/math/float_ops.h"
#include "kernels/math/math.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinTypes.h"

namespace weft::math {

using mlir::Value;
using mlir::ValueRange;
namespace arith = mlir::arith;

namespace {

// x = quadrant * pi / 2 + r with |r| <= pi / 4; of the quadrant, only the low two bits count.
struct Angle {
  Value r;
  Value quadrant;
};

// For |x| up to 2^17 (2^30): pi / 2 in three parts (Cody and Waite), each product exact inside the
// fused operation.
Angle ReduceModerate(FloatOps& f, Value x) {
  FloatOps::Rounded n = f.RoundScaled(x, 2 / std::numbers::pi);
  Value r = f.Fma(n.whole, f.Const(-1.5707962512969971, -1.5707963267948966), x);
  r = f.Fma(n.whole, f.Const(-7.5497894158615964e-8, -6.1232339957367660e-17), r);
  if (!f.is_f64()) r = f.Fma(n.whole, f.Const(-5.3903028581581190e-15), r);
  return {r, n.shifted_bits};
}

// For one finite |x| from 2^17 on, in f64: the fraction of x / (2 pi) from those 128 bits of
// 1 / (2 pi) that matter (Payne and Hanek). x = m 2^e with a whole m; bits that stand for whole
// turns are left out, and bits after those would change the fraction by less than 2^-75.
Angle ReduceLarge(FloatOps f, Value x) {
  mlir::ImplicitLocOpBuilder& b = f.builder();
  mlir::Type i64 = b.getI64Type();
  auto constant = [&](uint64_t value) -> Value {
    return arith::ConstantOp::create(b, b.getI64IntegerAttr(static_cast<int64_t>(value)));
  };
  // Bits of 1 / (2 pi) after the point, behind 64 zeros as e may be negative.
  static constexpr uint64_t kBits[32] = {0,
                                         0x28be60db9391054a,
                                         0x7f09d5f47d4d3770,
                                         0x36d8a5664f10e410,
                                         0x7f9458eaf7aef158,
                                         0x6dc91b8e909374b8,
                                         0x01924bba82746487,
                                         0x3f877ac72c4a69cf,
                                         0xba208d7d4baed121,
                                         0x3a671c09ad17df90,
                                         0x4e64758e60d4ce7d,
                                         0x272117e2ef7e4a0e,
                                         0xc7fe25fff7816603,
                                         0xfbcbc462d6829b47,
                                         0xdb4d9fb3c9f2c26d,
                                         0xd3d18fd9a797fa8b,
                                         0x5d49eeb1faf97c5e,
                                         0xcf41ce7de294a4ba,
                                         0x9afed7ec47e35742,
                                         0x1580cc11bf1edaea};
  std::vector<int64_t> words(std::begin(kBits), std::end(kBits));
  auto table_type = mlir::VectorType::get({32}, i64);
  Value table = arith::ConstantOp::create(
      b, mlir::DenseElementsAttr::get(table_type, llvm::ArrayRef<int64_t>(words)));

  Value bits = arith::BitcastOp::create(b, i64, x);
  Value exponent =
      arith::AndIOp::create(b, arith::ShRUIOp::create(b, bits, constant(52)), constant(2047));
  Value m = arith::OrIOp::create(b, arith::AndIOp::create(b, bits, constant((1ull << 52) - 1)),
                                 constant(1ull << 52));
  // The place of the first bit that matters is e + 64, with e = exponent - 1075.
  Value place = arith::SubIOp::create(b, exponent, constant(1075 - 64));
  Value word = arith::ShRUIOp::create(b, place, constant(6));
  Value shift = arith::AndIOp::create(b, place, constant(63));
  Value back = arith::SubIOp::create(b, constant(63), shift);
  auto at = [&](int offset) -> Value {
    Value index = arith::IndexCastOp::create(b, b.getIndexType(),
                                             arith::AddIOp::create(b, word, constant(offset)));
    return mlir::vector::ExtractOp::create(b, table, mlir::OpFoldResult(index));
  };
  auto join = [&](Value left, Value right) -> Value {
    Value low = arith::ShRUIOp::create(b, arith::ShRUIOp::create(b, right, constant(1)), back);
    return arith::OrIOp::create(b, arith::ShLIOp::create(b, left, shift), low);
  };
  Value w0 = at(0), w1 = at(1), w2 = at(2);
  Value high = join(w0, w1), low = join(w1, w2);
  // The high 64 bits of the low 128 of m * (high, low): the fraction of a turn.
  Value carried = arith::MulUIExtendedOp::create(b, m, low).getHigh();
  Value fraction = arith::AddIOp::create(b, carried, arith::MulIOp::create(b, m, high));
  Value quadrant = arith::ShRUIOp::create(
      b, arith::AddIOp::create(b, fraction, constant(1ull << 61)), constant(62));
  Value rest = arith::SubIOp::create(b, fraction, arith::ShLIOp::create(b, quadrant, constant(62)));
  Value r = f.Mul(arith::SIToFPOp::create(b, b.getF64Type(), rest),
                  f.Const(2 * std::numbers::pi * 0x1p-64));
  Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, bits, constant(0));
  Value minus = arith::SubIOp::create(b, constant(0), quadrant);
  return {f.Select(negative, f.Neg(r), r), arith::SelectOp::create(b, negative, minus, quadrant)};
}

// ReduceLarge for one value of either width.
Angle ReduceLargeElement(FloatOps f, Value x) {
  if (f.is_f64()) return ReduceLarge(f, x);
  mlir::ImplicitLocOpBuilder& b = f.builder();
  Angle angle = ReduceLarge(f.Of(b.getF64Type()), arith::ExtFOp::create(b, b.getF64Type(), x));
  return {arith::TruncFOp::create(b, x.getType(), angle.r),
          arith::TruncIOp::create(b, b.getI32Type(), angle.quadrant)};
}

Angle Reduce(FloatOps& f, Value x) {
  mlir::ImplicitLocOpBuilder& b = f.builder();
  Value large = f.GreaterEqual(f.Abs(x), f.Const(131072.0, 1073741824.0));
  Angle moderate = ReduceModerate(f, x);
  auto vector = mlir::dyn_cast<mlir::VectorType>(x.getType());
  Value any = large;
  if (vector) any = mlir::vector::ReductionOp::create(b, mlir::vector::CombiningKind::OR, large);
  auto choose = mlir::scf::IfOp::create(b, mlir::TypeRange{f.type(), f.bits_type()}, any,
                                        /*withElseRegion=*/true);
  {
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choose.thenBlock());
    if (!vector) {
      Angle angle = ReduceLargeElement(f, x);
      mlir::scf::YieldOp::create(b, ValueRange{angle.r, angle.quadrant});
    } else {
      // Lane by lane: such arguments are rare.
      auto index = [&](int64_t i) -> Value { return arith::ConstantIndexOp::create(b, i); };
      auto loop = mlir::scf::ForOp::create(b, index(0), index(vector.getDimSize(0)), index(1),
                                           ValueRange{moderate.r, moderate.quadrant});
      mlir::OpBuilder::InsertionGuard loop_guard(b);
      b.setInsertionPointToStart(loop.getBody());
      mlir::OpFoldResult lane(loop.getInductionVar());
      Value is_large = mlir::vector::ExtractOp::create(b, large, lane);
      FloatOps element = f.Of(vector.getElementType());
      // Others are replaced by some large number: their bits would lead outside the table.
      Value safe = element.Select(is_large, mlir::vector::ExtractOp::create(b, x, lane),
                                  element.Const(1e10));
      Angle angle = ReduceLargeElement(element, safe);
      Value old_r = loop.getRegionIterArgs()[0], old_quadrant = loop.getRegionIterArgs()[1];
      Value r = arith::SelectOp::create(b, is_large, angle.r,
                                        mlir::vector::ExtractOp::create(b, old_r, lane));
      Value quadrant = arith::SelectOp::create(
          b, is_large, angle.quadrant, mlir::vector::ExtractOp::create(b, old_quadrant, lane));
      mlir::scf::YieldOp::create(
          b, ValueRange{mlir::vector::InsertOp::create(b, r, old_r, lane),
                        mlir::vector::InsertOp::create(b, quadrant, old_quadrant, lane)});
      b.setInsertionPointToEnd(choose.thenBlock());
      mlir::scf::YieldOp::create(b, loop.getResults());
    }
    b.setInsertionPointToStart(choose.elseBlock());
    mlir::scf::YieldOp::create(b, ValueRange{moderate.r, moderate.quadrant});
  }
  // NaN of infinities: x - x is NaN for them and 0 for others.
  Value r = f.Add(choose.getResult(0), f.Sub(x, x));
  return {r, choose.getResult(1)};
}

// Errors relative to the result: 2^-35 and 2^-67.
Value SinOfReduced(FloatOps& f, Value r) {
  Value z = f.Mul(r, r);
  Value p = f.Polynomial(
      z, {-0.166666667, 0.00833333187, -0.000198400844, 2.72496201e-6},
      {-0.16666666666666667, 0.0083333333333333315, -0.00019841269841265041, 2.755731921932058e-6,
       -2.5052106225994401e-8, 1.6058530596645955e-10, -7.5866368828251596e-13});
  return f.Fma(f.Mul(z, r), p, r);
}

// 2^-40 and 2^-72.
Value CosOfReduced(FloatOps& f, Value r) {
  Value z = f.Mul(r, r);
  Value p = f.Polynomial(
      z, {0.0416666667, -0.00138888877, 2.48005984e-5, -2.7300704e-7},
      {0.041666666666666667, -0.0013888888888888888, 2.4801587301584633e-5, -2.7557319221392491e-7,
       2.0876755787492606e-9, -1.1470460319209512e-11, 4.745838412531023e-14});
  Value linear = f.Fma(z, f.Const(-0.5), f.Const(1.0));
  return f.Fma(f.Mul(z, z), p, linear);
}

// Quadrants 1 and 3 exchange sine and cosine, 2 and 3 change the sign.
Value OfQuadrant(FloatOps& f, Value quadrant, Value even, Value odd) {
  Value swapped = f.NonZero(f.BitsAnd(quadrant, f.BitsConst(1)));
  Value value = f.Select(swapped, odd, even);
  Value sign = f.ShiftLeft(f.BitsAnd(quadrant, f.BitsConst(2)), f.is_f64() ? 62 : 30);
  return f.FromBits(f.BitsXor(f.Bits(value), sign));
}

}  // namespace

Value Sin(FloatOps f, Value x) {
  Angle angle = Reduce(f, x);
  return OfQuadrant(f, angle.quadrant, SinOfReduced(f, angle.r), CosOfReduced(f, angle.r));
}

Value Cos(FloatOps f, Value x) {
  Angle angle = Reduce(f, x);
  return OfQuadrant(f, f.BitsAdd(angle.quadrant, f.BitsConst(1)), SinOfReduced(f, angle.r),
                    CosOfReduced(f, angle.r));
}

SineCosine SinCosOfTurn(FloatOps f, Value x) {
  Angle angle = ReduceModerate(f, x);
  Value sine = SinOfReduced(f, angle.r), cosine = CosOfReduced(f, angle.r);
  return {OfQuadrant(f, angle.quadrant, sine, cosine),
          OfQuadrant(f, f.BitsAdd(angle.quadrant, f.BitsConst(1)), sine, cosine)};
}

Value Atan2(FloatOps f, Value y, Value x) {
  constexpr double kPi = std::numbers::pi;
  Value ax = f.Abs(x), ay = f.Abs(y);
  Value steep = f.Greater(ay, ax);
  Value numerator = f.Select(steep, ax, ay), denominator = f.Select(steep, ay, ax);
  Value t = f.Div(numerator, denominator);
  // 0 / 0 counts as 0, infinity / infinity as 1.
  t = f.Select(f.Equal(denominator, f.Const(0.0)), f.Const(0.0), t);
  t = f.Select(f.Equal(numerator, f.Const(std::numeric_limits<double>::infinity())), f.Const(1.0),
               t);
  // atan t = t + t^3 p(t^2) for t in [0, 1]: 2^-29 and 2^-61.
  Value z = f.Mul(t, t);
  Value p = f.Polynomial(z,
                         {-0.333333331, 0.199999493, -0.142840038, 0.110882616, -0.0893182678,
                          0.0703191425, -0.048960514, 0.0263050011, -0.00914462976, 0.00148869194},
                         {-0.33333333333333333,   0.19999999999999919,    -0.14285714285701233,
                          0.11111111110268297,    -0.090909090619352799,  0.076923070788270293,
                          -0.066666579345737678,  0.058822644167764488,   -0.052624922290256753,
                          0.047580800836378206,   -0.043306538430670663,  0.039386875407986321,
                          -0.035271331066871294,  0.030330719265790507,   -0.024191345810140719,
                          0.017183981722113348,   -0.010412153260359242,  0.0051409128567469387,
                          -0.0019612554271685326, 0.00053768392973962447, -9.3711863450526254e-5,
                          7.7676243302899186e-6});
  Value angle = f.Fma(f.Mul(z, t), p, t);
  angle = f.Select(steep, f.Sub(f.Const(kPi / 2), angle), angle);
  Value left = f.Less(f.CopySign(f.Const(1.0), x), f.Const(0.0));
  angle = f.Select(left, f.Sub(f.Const(kPi), angle), angle);
  angle = f.CopySign(angle, y);
  Value nan = f.Const(std::numeric_limits<double>::quiet_NaN());
  return f.Select(f.Or(f.IsNan(x), f.IsNan(y)), nan, angle);
}

}  // namespace weft::math
