// What the functions of this folder share.
#ifndef WEFT_KERNELS_MATH_INTERNAL_H_
#define WEFT_KERNELS_MATH_INTERNAL_H_

#include "kernels/math/float_ops.h"

namespace weft::math {

// e^(x + tail), where |tail| is small against 1 (or not given).
mlir::Value ExpWithTail(FloatOps& f, mlir::Value x, mlir::Value tail);
// e^x where |x| is at most 87 (708), without the steps that results beyond normal numbers need.
mlir::Value ExpOfModerate(FloatOps& f, mlir::Value x);

}  // namespace weft::math

#endif  // WEFT_KERNELS_MATH_INTERNAL_H_
