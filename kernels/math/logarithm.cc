// log, log1p and pow: x = 2^e m with m in [sqrt(1/2), sqrt(2)).
#include <limits>

#include "kernels/math/float_ops.h"
#include "kernels/math/internal.h"
#include "kernels/math/math.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/BuiltinTypes.h"

namespace weft::math {

using mlir::Value;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
// ln 2 with trailing zeros, so that its product with an exponent is exact, and the rest.
constexpr double kLn2High32 = 0.693145751953125, kLn2Low32 = 1.4286068203094172e-6;
constexpr double kLn2High64 = 0.69314718036912382, kLn2Low64 = 1.9082149292705878e-10;

struct Split {
  Value exponent;  // as a float
  Value m;
};

// Of positive finite x.
Split SplitExponent(FloatOps& f, Value x) {
  // Denormals are scaled up first.
  Value small = f.Less(x, f.Const(1.1754943508222875e-38, 2.2250738585072014e-308));
  Value scaled = f.Select(small, f.Mul(x, f.Const(8388608.0, 18014398509481984.0)), x);
  Value correction = f.Select(small, f.Const(-23.0, -54.0), f.Const(0.0));
  Value bits = f.Bits(scaled);
  Value above = f.BitsSub(bits, f.Bits(f.Const(0.70710678118654752)));
  Value exponent = f.ShiftRight(above, f.fraction_bits());
  Value m = f.FromBits(f.BitsSub(bits, f.ShiftLeft(exponent, f.fraction_bits())));
  return {f.Add(f.FromWhole(exponent), correction), m};
}

// The series of log((1 + s) / (1 - s)) - 2 s over s^3 in z = s^2, |s| <= 0.1716: 2^-64.
Value AtanhSeries(FloatOps& f, Value z) {
  return f.Polynomial(
      z, {0.66666666666666666, 0.40000000000000878, 0.28571428570803255, 0.22222222391794728,
          0.18181795631498244, 0.15386240172447837, 0.13268760562036725, 0.13086757666952071});
}

// Of positive finite x.
Value LogOfPositive(FloatOps& f, Value x) {
  Split split = SplitExponent(f, x);
  Value t = f.Sub(split.m, f.Const(1.0));
  Value half_square = f.Mul(f.Mul(t, t), f.Const(0.5));
  Value high = f.Const(kLn2High32, kLn2High64), low = f.Const(kLn2Low32, kLn2Low64);
  if (!f.is_f64()) {
    // log(1 + t) = t - t^2/2 + t^3 p(t): 2^-28.
    Value p = f.Polynomial(t, {0.333333312, -0.24999997, 0.200007157, -0.166678023, 0.142490576,
                               -0.124256873, 0.116854199, -0.114797338, 0.0697161147});
    Value rest = f.Fma(f.Mul(f.Mul(t, t), t), p, f.Mul(split.exponent, low));
    return f.Fma(split.exponent, high, f.Add(t, f.Sub(rest, half_square)));
  }
  // With s = t / (2 + t): t - (t^2/2 - s (t^2/2 + s^2 series)), which rounds t itself nowhere (as
  // in FreeBSD's e_log.c).
  Value s = f.Div(t, f.Add(t, f.Const(2.0)));
  Value z = f.Mul(s, s);
  Value rest = f.Fma(s, f.Fma(z, AtanhSeries(f, z), half_square), f.Mul(split.exponent, low));
  return f.Fma(split.exponent, high, f.Sub(t, f.Sub(half_square, rest)));
}

// What log is at the ends of its domain, put around a value for positive finite x.
Value AtEnds(FloatOps& f, Value x, Value value) {
  value = f.Select(f.Less(x, f.Const(kInfinity)), value, x);
  Value zero = f.Const(0.0);
  Value outside = f.Select(f.Equal(x, zero), f.Const(-kInfinity), f.Const(kNan));
  return f.Select(f.Greater(x, zero), value, outside);
}

// x to the power y for x > 0 (or 0, infinity), in f64 that need not be right to the last bits.
Value PowByLog(FloatOps& f, Value x, Value y) {
  return ExpWithTail(f, f.Mul(y, AtEnds(f, x, LogOfPositive(f, x))), {});
}

// The same to the last bits: the logarithm in two parts of together about 60 bits, since its error
// counts |y log x| <= 745 times.
Value PowByLongLog(FloatOps& f, Value x, Value y) {
  Split split = SplitExponent(f, x);
  Value one = f.Const(1.0);
  Value t = f.Sub(split.m, one);
  Value d = f.Add(split.m, one);
  Value d_low = f.Sub(split.m, f.Sub(d, one));
  Value s = f.Div(t, d);
  Value remainder = f.Fma(f.Neg(s), d_low, f.Fma(f.Neg(s), d, t));
  Value s_low = f.Div(remainder, d);
  Value z = f.Mul(s, s);
  Value cubic = f.Mul(f.Mul(z, s), AtanhSeries(f, z));
  // high + low = exponent ln 2 + 2 s + rest; the first sum is exact with its error.
  Value big = f.Mul(split.exponent, f.Const(kLn2High64));
  Value small = f.Add(s, s);
  Value sum = f.Add(big, small);
  Value small_part = f.Sub(sum, big);
  Value error = f.Add(f.Sub(big, f.Sub(sum, small_part)), f.Sub(small, small_part));
  Value rest = f.Add(f.Fma(split.exponent, f.Const(kLn2Low64), f.Add(s_low, s_low)), cubic);
  rest = f.Add(rest, error);
  Value log_high = f.Add(sum, rest);
  Value log_low = f.Sub(rest, f.Sub(log_high, sum));

  Value positive_finite = f.And(f.Less(x, f.Const(kInfinity)), f.Greater(x, f.Const(0.0)));
  log_high = AtEnds(f, x, log_high);
  Value product = f.Mul(y, log_high);
  Value tail = f.Fma(y, log_low, f.Fma(y, log_high, f.Neg(product)));
  // Beyond the range of exp nothing but the sign of the product counts; infinities would leave NaN.
  Value counts = f.And(positive_finite, f.Less(f.Abs(product), f.Const(1000.0)));
  return ExpWithTail(f, product, f.Select(counts, tail, f.Const(0.0)));
}

// What C's pow does for negative x and at special arguments, around |x| to the power y.
Value PowWithSigns(FloatOps& f, Value x, Value y, Value magnitude) {
  Value zero = f.Const(0.0), one = f.Const(1.0);
  Value whole = f.Equal(f.Trunc(y), y);
  Value half = f.Mul(y, f.Const(0.5));
  Value odd = f.And(whole, f.Not(f.Equal(f.Trunc(half), half)));
  Value negative = f.Less(f.CopySign(one, x), zero);
  Value result = f.Select(f.And(negative, odd), f.Neg(magnitude), magnitude);
  // Of a negative number (neither -0 nor -infinity), a fractional power is not defined.
  Value undefined = f.And(f.And(f.Less(x, zero), f.Greater(x, f.Const(-kInfinity))), f.Not(whole));
  result = f.Select(undefined, f.Const(kNan), result);
  result = f.Select(f.Or(f.IsNan(x), f.IsNan(y)), f.Const(kNan), result);
  Value unit = f.And(f.Equal(x, f.Const(-1.0)), f.Equal(f.Abs(y), f.Const(kInfinity)));
  Value is_one = f.Or(f.Or(f.Equal(x, one), f.Equal(y, zero)), unit);
  return f.Select(is_one, one, result);
}

}  // namespace

Value Log(FloatOps f, Value x) { return AtEnds(f, x, LogOfPositive(f, x)); }

Value Log1p(FloatOps f, Value x) {
  Value one = f.Const(1.0);
  // u + c = 1 + x without error (Knuth's two-sum); log(u + c) = log u + c / u.
  Value u = f.Add(x, one);
  Value x_part = f.Sub(u, one);
  Value c = f.Add(f.Sub(one, f.Sub(u, x_part)), f.Sub(x, x_part));
  Value log = f.Add(LogOfPositive(f, u), f.Div(c, u));
  return AtEnds(f, u, log);
}

Value Pow(FloatOps f, Value x, Value y) {
  if (f.is_f64()) return PowWithSigns(f, x, y, PowByLongLog(f, f.Abs(x), y));
  mlir::ImplicitLocOpBuilder& b = f.builder();
  mlir::Type wide = b.getF64Type();
  if (auto vector = mlir::dyn_cast<mlir::VectorType>(x.getType())) {
    wide = mlir::VectorType::get(vector.getShape(), wide);
  }
  FloatOps d = f.Of(wide);
  Value wide_x = mlir::arith::ExtFOp::create(b, wide, x);
  Value wide_y = mlir::arith::ExtFOp::create(b, wide, y);
  Value magnitude =
      mlir::arith::TruncFOp::create(b, x.getType(), PowByLog(d, d.Abs(wide_x), wide_y));
  return PowWithSigns(f, x, y, magnitude);
}

}  // namespace weft::math
