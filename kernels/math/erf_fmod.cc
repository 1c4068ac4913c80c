// The error function, and the remainder of a division.
#include <limits>

#include "kernels/math/float_ops.h"
#include "kernels/math/internal.h"
#include "kernels/math/math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinTypes.h"

namespace weft::math {

using mlir::Value;
using mlir::ValueRange;

namespace {

// Below 1: x p(x^2). From 1 on: 1 - 2^g(|x|), which is 1 to the last bit from the bound on.
Value Erf32(FloatOps f, Value x) {
  // 2^-29.6 relative.
  Value z = f.Mul(x, x);
  Value near = f.Mul(x, f.Polynomial(z, {1.12837911, -0.37612626, 0.112835854, -0.0268538128,
                                         0.00518832775, -0.000801019371, 7.85386073e-05}));
  // 2^-29.8 absolute in what is taken from 1.
  Value a = f.Clamp(f.Abs(x), 0.0, 3.95);
  Value g = f.Polynomial(a, {-0.000492712541, -1.62604595, -0.920648396, -0.148751616, 0.0315056704,
                             -0.00425257301, 0.000268888427});
  FloatOps::Rounded n = f.RoundScaled(g, 1.0);
  // 2^-23.4 relative, of at most 0.16.
  Value power = f.Polynomial(f.Sub(g, n.whole), {1.0, 0.693147004, 0.240222424, 0.0555073358,
                                                 0.00967151299, 0.00132647273});
  Value far = f.CopySign(f.Sub(f.Const(1.0), f.ScaleModerately(power, n)), x);
  return f.Select(f.Less(f.Abs(x), f.Const(1.0)), near, far);
}

// Below 1: x p(x^2). From 1 on: 1 - e^(-x^2) q(t) with t = (x - 2) / (x + 2); it is 1 to the last
// bit from the bound on.
Value Erf64(FloatOps f, Value x) {
  // 2^-68 relative.
  Value z = f.Mul(x, x);
  Value p = f.Polynomial(z, {1.1283791670955126, -0.37612638903183752, 0.1128379167095512,
                             -0.026866170645129841, 0.0052239776254232983, -0.00085483270219348296,
                             0.00012055332902888735, -1.4925647567519332e-5, 1.6462045441468419e-6,
                             -1.6364642158167615e-7, 1.4792401209404813e-8, -1.216456005728345e-9,
                             8.7090451290531067e-11, -4.2309458242953378e-12});
  Value near = f.Mul(x, p);
  // 2^-65 absolute.
  Value a = f.Clamp(f.Abs(x), 0.0, 6.0);
  Value two = f.Const(2.0);
  Value t = f.Div(f.Sub(a, two), f.Add(a, two));
  Value q = f.Polynomial(t, {0.25539567631050574, -0.4271858474139584, 0.24165819424246646,
                             -0.078978581015732125, 0.0037328924043277639, 0.0069974617392004438,
                             -0.0008471432509203844, -0.00098197702656788892, 4.3555602195154722e-5,
                             0.00017436116545392264, 2.7525480361206067e-5, -2.7579864674305786e-5,
                             -1.3968072301771461e-5, 1.3926211836188029e-6, 3.789215643758464e-6,
                             1.1780775215625583e-6, -5.3226968556557863e-7, -4.215301054238321e-7});
  Value e = ExpOfModerate(f, f.Neg(f.Mul(a, a)));
  Value far = f.CopySign(f.Fma(f.Neg(e), q, f.Const(1.0)), x);
  return f.Select(f.Less(f.Abs(x), f.Const(1.0)), near, far);
}

}  // namespace

Value Erf(FloatOps f, Value x) { return f.is_f64() ? Erf64(f, x) : Erf32(f, x); }

Value Fmod(FloatOps f, Value a, Value d) {
  mlir::ImplicitLocOpBuilder& b = f.builder();
  const double infinity = std::numeric_limits<double>::infinity();
  Value divisor = f.Abs(d), start = f.Abs(a);
  // Lanes without a remainder to find: they are set right after the loop, and must not keep it
  // going.
  Value idle =
      f.Not(f.And(f.And(f.Less(start, f.Const(infinity)), f.Greater(divisor, f.Const(0.0))),
                  f.Less(divisor, f.Const(infinity))));
  start = f.Select(idle, f.Const(0.0), start);
  divisor = f.Select(idle, f.Const(1.0), divisor);
  // r stays a remainder of a by d while whole multiples of d are taken away: q d with q the
  // quotient cut to the fraction's bits, so that r - q d is exact. Quotients beyond the range of
  // numbers take multiples of larger divisors d 2^k first.
  auto loop = mlir::scf::WhileOp::create(b, mlir::TypeRange{f.type()}, ValueRange{start});
  {
    mlir::OpBuilder::InsertionGuard guard(b);
    mlir::Block* before = b.createBlock(&loop.getBefore(), {}, {f.type()}, {b.getLoc()});
    Value more = f.GreaterEqual(before->getArgument(0), divisor);
    if (mlir::isa<mlir::VectorType>(a.getType())) {
      more = mlir::vector::ReductionOp::create(b, mlir::vector::CombiningKind::OR, more);
    }
    mlir::scf::ConditionOp::create(b, more, before->getArguments());
    mlir::Block* after = b.createBlock(&loop.getAfter(), {}, {f.type()}, {b.getLoc()});
    Value r = after->getArgument(0);
    Value large = f.Mul(divisor, f.Const(0x1p100, 0x1p900));
    Value larger = f.Mul(large, f.Const(0x1p100, 0x1p900));
    Value step = f.Select(f.GreaterEqual(r, large), large, divisor);
    step = f.Select(f.GreaterEqual(r, larger), larger, step);
    Value q = f.Trunc(f.Div(r, step));
    Value rest = f.Fma(f.Neg(q), step, r);
    // A quotient rounded up: the next smaller one (by 1 where it is a small whole number).
    Value below = f.Trunc(f.FromBits(f.BitsSub(f.Bits(q), f.BitsConst(1))));
    Value rest_below = f.Fma(f.Neg(below), step, r);
    Value next = f.Select(f.Less(rest, f.Const(0.0)), rest_below, rest);
    // r < d needs no step (its quotient is 0, and `step` may be too large for it).
    next = f.Select(f.Less(r, divisor), r, next);
    mlir::scf::YieldOp::create(b, ValueRange{next});
  }
  Value result = f.CopySign(loop.getResult(0), a);
  // a itself where the divisor is infinite; NaN where there is no answer.
  Value finite_a = f.Less(f.Abs(a), f.Const(infinity));
  result = f.Select(f.And(finite_a, f.Equal(f.Abs(d), f.Const(infinity))), a, result);
  Value undefined = f.Or(f.Or(f.Not(finite_a), f.Equal(d, f.Const(0.0))), f.IsNan(d));
  return f.Select(undefined, f.Const(std::numeric_limits<double>::quiet_NaN()), result);
}

}  // namespace weft::math
