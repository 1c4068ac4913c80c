// Arithmetic on floats (and their bits) as the math functions here write it: one value may be a
// scalar or a vector of one dimension, f32 or f64.
#ifndef WEFT_KERNELS_MATH_FLOAT_OPS_H_
#define WEFT_KERNELS_MATH_FLOAT_OPS_H_

#include <cstdint>
#include <initializer_list>

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Value.h"

namespace weft::math {

// Emits at the builder's insertion point. All float operands have the type given at construction,
// all integer operands the integer type of the same width and lanes.
class FloatOps {
 public:
  FloatOps(mlir::ImplicitLocOpBuilder& builder, mlir::Type type);

  mlir::ImplicitLocOpBuilder& builder() { return b_; }
  mlir::Type type() const { return type_; }
  mlir::Type bits_type() const { return bits_type_; }
  bool is_f64() const { return f64_; }
  // Bits of the stored fraction: 23 or 52.
  int fraction_bits() const { return f64_ ? 52 : 23; }

  mlir::Value Const(double value);
  // The constant of this type: f32 and f64 versions of one formula differ by such pairs.
  mlir::Value Const(double f32, double f64) { return Const(f64_ ? f64 : f32); }
  mlir::Value BitsConst(int64_t value);

  mlir::Value Add(mlir::Value a, mlir::Value b);
  mlir::Value Sub(mlir::Value a, mlir::Value b);
  mlir::Value Mul(mlir::Value a, mlir::Value b);
  mlir::Value Div(mlir::Value a, mlir::Value b);
  // a * b + c, rounded once.
  mlir::Value Fma(mlir::Value a, mlir::Value b, mlir::Value c);
  mlir::Value Neg(mlir::Value a);
  mlir::Value Abs(mlir::Value a);
  mlir::Value CopySign(mlir::Value magnitude, mlir::Value sign);
  mlir::Value Trunc(mlir::Value a);
  // 1 / a for a in [2^-125, 2^125], to one unit. In f32 by multiplications: a processor takes as
  // long for one division as for ten of them.
  mlir::Value Reciprocal(mlir::Value a);
  // a / b to one unit, for such b and a result that is a normal number or 0.
  mlir::Value Quotient(mlir::Value a, mlir::Value b);

  // Ordered comparisons: false where an operand is NaN.
  mlir::Value Less(mlir::Value a, mlir::Value b);
  mlir::Value Greater(mlir::Value a, mlir::Value b);
  mlir::Value GreaterEqual(mlir::Value a, mlir::Value b);
  mlir::Value Equal(mlir::Value a, mlir::Value b);
  mlir::Value IsNan(mlir::Value a);
  mlir::Value And(mlir::Value a, mlir::Value b);
  mlir::Value Or(mlir::Value a, mlir::Value b);
  mlir::Value Not(mlir::Value condition);
  mlir::Value Select(mlir::Value condition, mlir::Value a, mlir::Value b);
  // `a` moved into [low, high]; NaN stays.
  mlir::Value Clamp(mlir::Value a, double low, double high);

  mlir::Value Bits(mlir::Value a);
  mlir::Value FromBits(mlir::Value bits);
  mlir::Value BitsAdd(mlir::Value a, mlir::Value b);
  mlir::Value BitsSub(mlir::Value a, mlir::Value b);
  mlir::Value BitsAnd(mlir::Value a, mlir::Value b);
  mlir::Value BitsXor(mlir::Value a, mlir::Value b);
  mlir::Value ShiftLeft(mlir::Value a, int count);
  // Copies the sign bit in from the left.
  mlir::Value ShiftRight(mlir::Value a, int count);
  // Whether the integer is not 0.
  mlir::Value NonZero(mlir::Value a);

  // coefficients[0] + coefficients[1] x + ... by Horner's scheme.
  mlir::Value Polynomial(mlir::Value x, std::initializer_list<double> coefficients);
  mlir::Value Polynomial(mlir::Value x, std::initializer_list<double> f32,
                         std::initializer_list<double> f64) {
    return Polynomial(x, f64_ ? f64 : f32);
  }

  // x * scale to the nearest whole number, as a float and as an integer; |x * scale| must stay
  // below 2^22 (2^51). Adding 1.5 * 2^fraction_bits leaves the whole part in the low bits.
  struct Rounded {
    mlir::Value whole;
    // Bits of whole + 1.5 * 2^fraction_bits: the integer is in the low bits.
    mlir::Value shifted_bits;
  };
  Rounded RoundScaled(mlir::Value x, double scale);
  // The integer in `shifted_bits`.
  mlir::Value Whole(const Rounded& rounded);
  // The reverse: an integer of small magnitude as a float.
  mlir::Value FromWhole(mlir::Value integer);

 private:
  mlir::ImplicitLocOpBuilder& b_;
  mlir::Type type_, bits_type_;
  bool f64_;
};

}  // namespace weft::math

#endif  // WEFT_KERNELS_MATH_FLOAT_OPS_H_
