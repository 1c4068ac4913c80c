// Mathematical functions as code: each emits arith, math, vector and scf ops that compute it,
// without a call to a library.
//
// Operands are f32 or f64, scalars or vectors of one dimension, and have the type of the FloatOps
// that code is emitted with; so has the result.
// Errors below are in units in the last place of the exact result, over all finite arguments unless
// said; NaN gives NaN; infinities, zeros and denormals follow C's <math.h> but for the sign of a
// zero. compiler/codegen/math_test.cc, where code can run, measures every one.
#ifndef WEFT_KERNELS_MATH_MATH_H_
#define WEFT_KERNELS_MATH_MATH_H_

#include "kernels/math/float_ops.h"
#include "mlir/IR/Value.h"

namespace weft::math {

// 2 units.
mlir::Value Exp(FloatOps f, mlir::Value x);
// 4 units.
mlir::Value Expm1(FloatOps f, mlir::Value x);
// 3 units.
mlir::Value Log(FloatOps f, mlir::Value x);
// 4 units.
mlir::Value Log1p(FloatOps f, mlir::Value x);
// 2 units of 1: an absolute error, and relative to the result where that is not close to 0.
mlir::Value Sin(FloatOps f, mlir::Value x);
mlir::Value Cos(FloatOps f, mlir::Value x);
// Both at once, for 0 <= x <= 2 pi only: less code.
struct SineCosine {
  mlir::Value sine, cosine;
};
SineCosine SinCosOfTurn(FloatOps f, mlir::Value x);
// 3 units.
mlir::Value Tanh(FloatOps f, mlir::Value x);
// 3 units; results below the smallest normal number may be 0, but not with AVX-512.
mlir::Value Logistic(FloatOps f, mlir::Value x);
// 3 units.
mlir::Value Erf(FloatOps f, mlir::Value x);
// 4 units.
mlir::Value Atan2(FloatOps f, mlir::Value y, mlir::Value x);
// 1 unit in f32, 8 in f64.
mlir::Value Pow(FloatOps f, mlir::Value x, mlir::Value y);
// Each lane of the f32 vector `x` divided by a scalar, as division rounds it: several times as fast
// where no lane is extremely large or small.
mlir::Value DivideByUniform(FloatOps f, mlir::Value x, mlir::Value divisor);
// The remainder of a / b with the sign of a: exact.
mlir::Value Fmod(FloatOps f, mlir::Value a, mlir::Value d);

}  // namespace weft::math

#endif  // WEFT_KERNELS_MATH_MATH_H_
