// Arithmetic of the graph's element types, as code.
#ifndef WEFT_COMPILER_CODEGEN_SCALAR_EMITTER_H_
#define WEFT_COMPILER_CODEGEN_SCALAR_EMITTER_H_

#include <cstdint>

#include "absl/types/span.h"
#include "compiler/codegen/target.h"
#include "kernels/math/float_ops.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Value.h"
#include "proto/dtype.h"

namespace weft {

// An element, or several side by side (a vector of one dimension), of one dtype. In registers, bool
// is i1, u8 is i8, and f16 and bf16 are f32 that hold a value which the narrow type has exactly.
struct Element {
  mlir::Value value;
  DataType dtype = DataType::kInvalid;

  explicit operator bool() const { return value != nullptr; }
};

enum class Comparison { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual };

// What functions of kernels/math may use on a target.
math::Instructions MathInstructions(const Target& target);

// Emits at the builder's insertion point what graph/ops/elementwise.td says of each op. Operands of
// one op have one dtype (but for Select's condition); a scalar meets a vector as if it were
// repeated. Results in f16 and bf16 are rounded, to nearest even, op by op: a fusion computes
// exactly what its ops would one by one.
class ScalarEmitter {
 public:
  // `instructions`: what math functions may use.
  ScalarEmitter(mlir::ImplicitLocOpBuilder& builder, math::Instructions instructions)
      : b_(builder), instructions_(instructions) {}
  mlir::ImplicitLocOpBuilder& builder() { return b_; }
  // To emit functions of kernels/math on values like `x`, which is f32 or f64.
  math::FloatOps Math(mlir::Value x) { return {b_, x.getType(), instructions_}; }

  // The type in registers; `lanes` 0 means a scalar.
  mlir::Type RegisterType(DataType dtype, int64_t lanes) const;
  // The type in memory: bool is i8.
  mlir::Type MemoryType(DataType dtype, int64_t lanes) const;
  // 0 for a scalar.
  static int64_t LanesOf(mlir::Value value);
  // From what lies in memory, and back.
  Element FromMemory(mlir::Value value, DataType dtype);
  mlir::Value ToMemory(Element x);

  // A number of the dtype, as a scalar. Integers wrap around, bool is value != 0.
  Element Constant(DataType dtype, double value);
  Element IntegerConstant(DataType dtype, int64_t value);
  // The lowest and highest values of the dtype: infinities where it has them.
  Element Lowest(DataType dtype);
  Element Highest(DataType dtype);
  // `x` repeated; itself where it has lanes already.
  Element Splat(Element x, int64_t lanes);

  Element Add(Element a, Element b);
  Element Sub(Element a, Element b);
  Element Mul(Element a, Element b);
  Element Div(Element a, Element b);
  Element Rem(Element a, Element b);
  Element Pow(Element a, Element b);
  Element Max(Element a, Element b);
  Element Min(Element a, Element b);
  Element Atan2(Element a, Element b);
  Element Neg(Element x);
  Element Abs(Element x);
  Element Sign(Element x);
  Element Floor(Element x);
  Element Ceil(Element x);
  Element Round(Element x);
  Element Trunc(Element x);
  Element Sqrt(Element x);
  Element Rsqrt(Element x);
  Element Reciprocal(Element x);
  Element Exp(Element x);
  Element Expm1(Element x);
  Element Log(Element x);
  Element Log1p(Element x);
  Element Sin(Element x);
  Element Cos(Element x);
  Element Tanh(Element x);
  Element Logistic(Element x);
  Element Erf(Element x);
  Element Compare(Comparison comparison, Element a, Element b);
  Element IsFinite(Element x);
  Element And(Element a, Element b);
  Element Or(Element a, Element b);
  Element Xor(Element a, Element b);
  Element Not(Element x);
  Element Select(Element condition, Element a, Element b);
  Element Cast(Element x, DataType dtype);

  // Sums and products of many elements are kept in this type: f32 for f16 and bf16, the dtype
  // itself otherwise.
  static DataType AccumulatorType(DataType dtype);
  // The same value with its dtype widened, without a rounding; and back with one.
  Element ToAccumulator(Element x);
  Element FromAccumulator(Element x, DataType dtype);

 private:
  // Gives both the same lanes.
  void Unify(Element& a, Element& b);
  // An f16 or bf16 result to the values that type has.
  Element Rounded(mlir::Value value, DataType dtype);
  mlir::Value Filled(mlir::Type like, mlir::Attribute element);
  mlir::Value FloatLike(mlir::Value like, double value);
  mlir::Value IntegerLike(mlir::Value like, int64_t value);
  mlir::Type WithElement(mlir::Type like, mlir::Type element) const;
  Element IntegerDivision(Element a, Element b, bool remainder);
  // Of floats: what compares better, or NaN where either is.
  Element FloatExtreme(Element a, Element b, Comparison better);
  mlir::Value FloatToInteger(mlir::Value x, DataType dtype);

  mlir::ImplicitLocOpBuilder& b_;
  math::Instructions instructions_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_SCALAR_EMITTER_H_
