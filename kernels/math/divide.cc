// Division of many numbers by one.
#include "kernels/math/float_ops.h"
#include "kernels/math/math.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinTypes.h"

namespace weft::math {

using mlir::Value;
namespace arith = mlir::arith;

Value DivideByUniform(FloatOps f, Value x, Value divisor) {
  auto type = mlir::cast<mlir::VectorType>(x.getType());
  mlir::ImplicitLocOpBuilder& b = f.builder();
  FloatOps scalar = f.Of(type.getElementType());
  Value one = scalar.Const(1.0);
  Value reciprocal = mlir::vector::BroadcastOp::create(b, type, scalar.Div(one, divisor));
  Value d = mlir::vector::BroadcastOp::create(b, type, divisor);
  // With 1 / d rounded correctly and q off by less than a unit, q + (x - q d) / d is rounded
  // correctly as well (Markstein 1990), as long as nothing leaves the normal numbers: |d| from
  // 2^-30 to 2^30, and |x| from 2^-72 to 2^96 or 0.
  const double low = 0x1p-72, high = 0x1p96;
  Value size = scalar.Abs(divisor);
  Value good = scalar.And(scalar.GreaterEqual(size, scalar.Const(0x1p-30)),
                          scalar.Less(size, scalar.Const(0x1p30)));
  auto bits_of = [&](double bound) {
    return f.BitsConst(static_cast<int64_t>(
        llvm::APFloat(static_cast<float>(bound)).bitcastToAPInt().getZExtValue()));
  };
  Value bits = f.BitsAnd(f.Bits(x), f.BitsConst(0x7fffffff));
  // As unsigned numbers: 0 - 1 is larger than all, and so are infinities and NaN than `high`.
  Value below = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, f.BitsSub(bits, f.BitsConst(1)),
                                      f.BitsSub(bits_of(low), f.BitsConst(1)));
  Value above = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, bits, bits_of(high));
  Value outside =
      mlir::vector::ReductionOp::create(b, mlir::vector::CombiningKind::OR, f.Or(below, above));
  Value fast = scalar.And(good, scalar.Not(outside));
  auto choice = mlir::scf::IfOp::create(b, mlir::TypeRange{type}, fast, /*withElseRegion=*/true);
  mlir::OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(choice.thenBlock());
  Value first = f.Mul(x, reciprocal), q = first;
  for (int step = 0; step < 2; ++step) {
    q = f.Fma(f.Fma(f.Neg(q), d, x), reciprocal, q);
  }
  // The sign of a zero would be lost.
  mlir::scf::YieldOp::create(b, mlir::ValueRange{f.CopySign(q, first)});
  b.setInsertionPointToStart(choice.elseBlock());
  mlir::scf::YieldOp::create(b, mlir::ValueRange{f.Div(x, d)});
  return choice.getResult(0);
}

}  // namespace weft::math
