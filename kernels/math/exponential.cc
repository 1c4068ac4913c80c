// exp, expm1, tanh and logistic: x = n ln 2 + r with |r| <= ln 2 / 2, and a polynomial for
// e^r - 1 = r + r^2 q(r). Polynomials in this folder are interpolations at Chebyshev nodes (close
// to minimax), computed with 50 digits; the comments give the largest error.
#include "kernels/math/float_ops.h"
#include "kernels/math/internal.h"
#include "kernels/math/math.h"

namespace weft::math {

using mlir::Value;

namespace {

struct Reduced {
  FloatOps::Rounded n;
  // e^r - 1
  Value expm1;
};

Reduced Reduce(FloatOps& f, Value x, Value tail = {}) {
  Reduced result;
  result.n = f.RoundScaled(x, 1.4426950408889634);
  // ln 2 in two parts; the product with the first is exact inside the fused operation.
  Value r = f.Fma(result.n.whole, f.Const(-0.69314712285995483, -0.69314718055994529), x);
  r = f.Fma(result.n.whole, f.Const(-5.7699988786907852e-8, -2.3190468138462996e-17), r);
  if (tail) r = f.Add(r, tail);
  // Relative to e^r: 2^-26.9 and 2^-62.
  Value q = f.Polynomial(
      r, {0.5, 0.16666577, 0.0416665546, 0.00836317905, 0.00139261836},
      {0.5, 0.16666666666666671, 0.04166666666666667, 0.0083333333333261351, 0.0013888888888883748,
       0.00019841269874820625, 2.4801587325547741e-5, 2.7557255400206424e-6, 2.7557273643110295e-7,
       2.5105217004720745e-8, 2.0914686968086877e-9});
  result.expm1 = f.Fma(f.Mul(r, r), q, r);
  return result;
}

// 2^n by its exponent bits, for n within the exponents of normal numbers; infinity one past the
// largest. The shift drops all but the low bits, which hold n.
Value PowerOfTwo(FloatOps& f, const FloatOps::Rounded& n) {
  return f.FromBits(
      f.BitsAdd(f.ShiftLeft(n.shifted_bits, f.fraction_bits()), f.Bits(f.Const(1.0))));
}

// `y` * 2^n for any n that occurs: in two steps, so that neither factor leaves the range.
Value Scale(FloatOps& f, Value y, const FloatOps::Rounded& n) {
  Value whole = f.Whole(n);
  Value half = f.ShiftRight(whole, 1);
  Value rest = f.BitsSub(whole, half);
  Value one = f.Bits(f.Const(1.0));
  auto power = [&](Value exponent) {
    return f.FromBits(f.BitsAdd(f.ShiftLeft(exponent, f.fraction_bits()), one));
  };
  return f.Mul(f.Mul(y, power(half)), power(rest));
}

}  // namespace

Value ExpWithTail(FloatOps& f, Value x, Value tail) {
  // Beyond these the result is 0 or infinity.
  x = f.is_f64() ? f.Clamp(x, -746.0, 710.0) : f.Clamp(x, -104.0, 89.0);
  Reduced reduced = Reduce(f, x, tail);
  return Scale(f, f.Add(reduced.expm1, f.Const(1.0)), reduced.n);
}

Value ExpOfModerate(FloatOps& f, Value x) {
  Reduced reduced = Reduce(f, x);
  return f.Mul(f.Add(reduced.expm1, f.Const(1.0)), PowerOfTwo(f, reduced.n));
}

Value Exp(mlir::ImplicitLocOpBuilder& b, Value x) {
  FloatOps f(b, x.getType());
  return ExpWithTail(f, x, {});
}

Value Expm1(mlir::ImplicitLocOpBuilder& b, Value x) {
  FloatOps f(b, x.getType());
  x = f.is_f64() ? f.Clamp(x, -50.0, 710.0) : f.Clamp(x, -25.0, 89.0);
  Reduced reduced = Reduce(f, x);
  // Half of it, as 2^n alone may be too large: 2^(n-1) (e^r - 1) + (2^(n-1) - 1/2).
  Value power = f.FromBits(
      f.BitsAdd(f.ShiftLeft(reduced.n.shifted_bits, f.fraction_bits()), f.Bits(f.Const(0.5))));
  Value half = f.Fma(reduced.expm1, power, f.Sub(power, f.Const(0.5)));
  return f.Add(half, half);
}

Value Tanh(mlir::ImplicitLocOpBuilder& b, Value x) {
  FloatOps f(b, x.getType());
  // tanh x = m / (m + 2) with m = e^2x - 1; it is 1 to the last bit from the bounds on.
  Value bounded = f.is_f64() ? f.Clamp(x, -20.0, 20.0) : f.Clamp(x, -10.0, 10.0);
  Reduced reduced = Reduce(f, f.Add(bounded, bounded));
  Value power = PowerOfTwo(f, reduced.n);
  Value m = f.Fma(reduced.expm1, power, f.Sub(power, f.Const(1.0)));
  return f.Quotient(m, f.Add(m, f.Const(2.0)));
}

Value Logistic(mlir::ImplicitLocOpBuilder& b, Value x) {
  FloatOps f(b, x.getType());
  if (f.is_f64()) {
    // At the upper bound of -x the power of two is infinite, and the result 0.
    Value e = ExpOfModerate(f, f.Neg(f.Clamp(x, -710.0, 708.0)));
    return f.Div(f.Const(1.0), f.Add(e, f.Const(1.0)));
  }
  // Beyond the bound results are below the normal numbers. Half of 1 + e stays in the range of
  // Reciprocal.
  const double bound = 87.33654;
  Value e = ExpOfModerate(f, f.Neg(f.Clamp(x, -bound, bound)));
  Value half = f.Const(0.5);
  Value y = f.Mul(f.Reciprocal(f.Fma(e, half, half)), half);
  return f.Select(f.Less(x, f.Const(-bound)), f.Const(0.0), y);
}

}  // namespace weft::math
