// exp, expm1, tanh and logistic: x = n ln 2 + r with |r| <= ln 2 / 2, and a polynomial for
// e^r - 1 = r + r^2 q(r); or, with a table of the powers of two between, n in sixteenths. What is
// close to 1 does without the table, whose own error would be all that is left of it. Polynomials
// in this folder are interpolations at Chebyshev nodes (close to minimax), computed with 50 digits;
// the comments give the largest error.
#include <array>
#include <cmath>
#include <numbers>

#include "kernels/math/float_ops.h"
#include "kernels/math/internal.h"
#include "kernels/math/math.h"
#include "llvm/ADT/SmallVector.h"

namespace weft::math {

using mlir::Value;

namespace {

// q for |r| <= ln 2 / 2. Relative to e^r: 2^-26.9 and 2^-62.
constexpr double kRest32[] = {0.5, 0.16666577, 0.0416665546, 0.00836317905, 0.00139261836};
constexpr double kRest64[] = {0.5,
                              0.16666666666666671,
                              0.04166666666666667,
                              0.0083333333333261351,
                              0.0013888888888883748,
                              0.00019841269874820625,
                              2.4801587325547741e-5,
                              2.7557255400206424e-6,
                              2.7557273643110295e-7,
                              2.5105217004720745e-8,
                              2.0914686968086877e-9};

// q for |r| <= ln 2 / 32. Relative to e^r: 2^-27.6.
constexpr double kRestOfSixteenth[] = {0.50000977, 0.16666862};

// 2^(i / 16)
constexpr std::array<float, 16> kPowersOfSixteenths = {
    1.0f,       1.0442737f, 1.0905077f, 1.1387886f, 1.1892071f, 1.2418578f, 1.2968396f, 1.3542556f,
    1.4142135f, 1.4768262f, 1.5422108f, 1.6104903f, 1.6817929f, 1.7562522f, 1.8340081f, 1.9152066f};

// x - n ln 2, for a multiple of ln 2 close to x. ln 2 in two parts; the product with the first is
// exact inside the fused operation.
Value MinusMultiple(FloatOps& f, Value x, Value n, Value tail) {
  Value r = f.Fma(n, f.Const(-0.69314712285995483, -0.69314718055994529), x);
  r = f.Fma(n, f.Const(-5.7699988786907852e-8, -2.3190468138462996e-17), r);
  return tail ? f.Add(r, tail) : r;
}

struct Reduced {
  FloatOps::Rounded n;
  // e^r - 1
  Value expm1;
};

Reduced Reduce(FloatOps& f, Value x, Value tail = {}) {
  Reduced result;
  result.n = f.RoundScaled(x, std::numbers::log2e);
  Value r = MinusMultiple(f, x, result.n.whole, tail);
  result.expm1 = f.Fma(f.Mul(r, r), f.Polynomial(r, kRest32, kRest64), r);
  return result;
}

// Where there are tables: n is a multiple of 1/16, which leaves r so small that q is a line.
Value ExpByTable(FloatOps& f, Value x, Value tail) {
  const FloatOps::RoundedToSixteenths n = f.RoundScaledToSixteenths(x, std::numbers::log2e);
  Value r = MinusMultiple(f, x, n.multiple, tail);
  Value expm1 = f.Fma(f.Mul(r, r), f.Polynomial(r, kRestOfSixteenth), r);
  Value power = f.LookUp(kPowersOfSixteenths, n.place);
  return f.ScaleByFloor(f.Fma(power, expm1, power), n.multiple);
}

}  // namespace

Value ExpWithTail(FloatOps& f, Value x, Value tail) {
  // Beyond these the result is 0 or infinity.
  x = f.is_f64() ? f.Clamp(x, -746.0, 710.0) : f.Clamp(x, -104.0, 89.0);
  if (f.has_tables()) return ExpByTable(f, x, tail);
  Reduced reduced = Reduce(f, x, tail);
  return f.ScaleByPowerOfTwo(f.Add(reduced.expm1, f.Const(1.0)), reduced.n);
}

Value ExpOfModerate(FloatOps& f, Value x) {
  if (f.has_tables()) return ExpByTable(f, x, {});
  Reduced reduced = Reduce(f, x);
  return f.ScaleModerately(f.Add(reduced.expm1, f.Const(1.0)), reduced.n);
}

Value Exp(FloatOps f, Value x) { return ExpWithTail(f, x, {}); }

Value Expm1(FloatOps f, Value x) {
  x = f.is_f64() ? f.Clamp(x, -50.0, 710.0) : f.Clamp(x, -25.0, 89.0);
  Reduced reduced = Reduce(f, x);
  // Half of it, as 2^n alone may be too large: 2^(n-1) (e^r - 1) + (2^(n-1) - 1/2).
  Value power = f.FromBits(
      f.BitsAdd(f.ShiftLeft(reduced.n.shifted_bits, f.fraction_bits()), f.Bits(f.Const(0.5))));
  Value half = f.Fma(reduced.expm1, power, f.Sub(power, f.Const(0.5)));
  return f.Add(half, half);
}

Value Tanh(FloatOps f, Value x) {
  // tanh x = m / (m + 1) with m = (e^2x - 1) / 2; it is 1 to the last bit from the bounds on. With
  // x = n ln 2 / 2 + h, e^2x = 2^n e^2h; what the rest of ln 2 changes is nothing where n = 0, and
  // little where n is large.
  Value bounded = f.is_f64() ? f.Clamp(x, -20.0, 20.0) : f.Clamp(x, -10.0, 10.0);
  FloatOps::Rounded n = f.RoundScaled(bounded, 2 * std::numbers::log2e);
  Value h = f.Fma(n.whole, f.Const(-std::numbers::ln2 / 2), bounded);
  // (e^r - 1) / 2 with r = 2 h.
  llvm::SmallVector<double> rest(f.is_f64() ? llvm::ArrayRef<double>(kRest64) : kRest32);
  for (size_t i = 0; i < rest.size(); ++i) rest[i] = std::ldexp(rest[i], static_cast<int>(i) + 1);
  Value half_expm1 = f.Fma(f.Mul(h, h), f.Polynomial(h, rest), h);
  Value power = f.PowerOfTwo(n), half = f.Const(0.5);
  Value m = f.Fma(half_expm1, power, f.Fma(power, half, f.Const(-0.5)));
  return f.Quotient(m, f.Add(m, f.Const(1.0)));
}

Value Logistic(FloatOps f, Value x) {
  // e^x / (1 + e^x), which is 1 to the last bit from the upper bound on. At the lower one, e^x is
  // 0: for want of denormal numbers, or of smaller ones.
  const double low = f.scales_at_once() ? f.is_f64() ? -746.0 : -104.0
                     : f.is_f64()       ? -708.8
                                        : -87.9;
  Value e = ExpOfModerate(f, f.Clamp(x, low, f.is_f64() ? 40.0 : 20.0));
  return f.Quotient(e, f.Add(e, f.Const(1.0)));
}

}  // namespace weft::math
