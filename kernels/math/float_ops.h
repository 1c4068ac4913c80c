// Arithmetic on floats (and their bits) as the math functions here write it: one value may be a
// scalar or a vector of one dimension, f32 or f64.
#ifndef WEFT_KERNELS_MATH_FLOAT_OPS_H_
#define WEFT_KERNELS_MATH_FLOAT_OPS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Value.h"

namespace weft::math {

// What code may use besides the arithmetic that every processor has. Results with one of these are
// the same whatever the number of lanes; between two of these they may differ by a last bit.
struct Instructions {
  // AVX-512 F and VL: multiplication by powers of two without overflow on the way, estimates of
  // reciprocals, and tables of 16 numbers in a register.
  bool avx512 = false;
  // Whether f32 are divided while other units multiply, in less time than an estimate with its
  // corrections keeps those busy.
  bool divides_fast = false;
};

// Emits at the builder's insertion point. All float operands have the type given at construction,
// all integer operands the integer type of the same width and lanes. A value: copy it freely.
class FloatOps {
 public:
  FloatOps(mlir::ImplicitLocOpBuilder& builder, mlir::Type type, Instructions instructions);
  // The same for another type.
  FloatOps Of(mlir::Type type) const { return FloatOps(b_, type, instructions_); }

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
  // a / b to one unit, for b in [2^-125, 2^125] and |a| up to 2^125 and up to 2^125 b. In f32 by
  // multiplications where a processor takes as long for one division as for ten of them.
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
  mlir::Value Polynomial(mlir::Value x, llvm::ArrayRef<double> coefficients);
  mlir::Value Polynomial(mlir::Value x, llvm::ArrayRef<double> f32, llvm::ArrayRef<double> f64) {
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
  // x * scale to the nearest multiple of 1/16, and that multiple's place in a table of 16: of what
  // it is above the whole number below, in sixteenths. |x * scale| must stay below 2^18.
  struct RoundedToSixteenths {
    mlir::Value multiple, place;
  };
  RoundedToSixteenths RoundScaledToSixteenths(mlir::Value x, double scale);
  // Whether the next two are to be had: in f32, with AVX-512.
  bool has_tables() const { return instructions_.avx512 && !f64_; }
  // table[place % 16], of f32.
  mlir::Value LookUp(const std::array<float, 16>& table, mlir::Value place);
  // y * 2^floor(n) for y in [1/4, 4] and finite n.
  mlir::Value ScaleByFloor(mlir::Value y, mlir::Value n);
  // The integer in `shifted_bits`.
  mlir::Value Whole(const Rounded& rounded);
  // y * 2^n for y in [1/4, 4] and finite n.
  mlir::Value ScaleByPowerOfTwo(mlir::Value y, const Rounded& n);
  // The same where n is in the range of PowerOfTwo: so are results, unless `scales_at_once`.
  mlir::Value ScaleModerately(mlir::Value y, const Rounded& n);
  // Whether one instruction does either.
  bool scales_at_once() const { return instructions_.avx512; }
  // 2^n for n from -126 to 127; 0 for -127, infinity for 128 (-1022, 1023, -1023, 1024).
  mlir::Value PowerOfTwo(const Rounded& n);
  // The reverse: an integer of small magnitude as a float.
  mlir::Value FromWhole(mlir::Value integer);

 private:
  // Applies `emit`, which takes and gives registers, to the lanes of the operands: registers of 512
  // bits, or as narrow as the lanes allow.
  enum class Width { kFitting, k512 };
  mlir::Value ByRegister(
      std::initializer_list<mlir::Value> operands,
      const std::function<mlir::Value(llvm::ArrayRef<mlir::Value> registers)>& emit,
      Width registers = Width::kFitting);
  // The intrinsic of AVX-512 with operands, a value for lanes that are left out, and the mask of
  // those that are not (all).
  mlir::Value Avx512(llvm::StringRef name, llvm::ArrayRef<mlir::Value> registers);
  // 1 / a off by 2^-14 of it at most, in f32.
  mlir::Value RoughReciprocal(mlir::Value a);

  mlir::ImplicitLocOpBuilder& b_;
  mlir::Type type_, bits_type_;
  bool f64_;
  Instructions instructions_;
};

}  // namespace weft::math

#endif  // WEFT_KERNELS_MATH_FLOAT_OPS_H_
