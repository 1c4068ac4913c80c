// What the functions of this folder share.
#ifndef WEFT_KERNELS_MATH_INTERNAL_H_
#define WEFT_KERNELS_MATH_INTERNAL_H_

#include "kernels/math/float_ops.h"

namespace weft::math {

// e^(x + tail), where |tail| is small against 1 (or not given).
mlir::Value ExpWithTail(FloatOps& f, mlir::Value x, mlir::Value tail);
// e^x without the steps that results beyond normal numbers need. Its callers pass no more than 20
// (40), and no less than -87.9 (-708.8) or, where FloatOps::scales_at_once(), -104 (-746).
mlir::Value ExpOfModerate(FloatOps& f, mlir::Value x);

}  // namespace weft::math

#endif  // WEFT_KERNELS_MATH_INTERNAL_H_
