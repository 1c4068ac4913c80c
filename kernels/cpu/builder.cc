#include "kernels/cpu/builder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"

namespace weft::cpu {

using mlir::Value;
namespace arith = mlir::arith;
namespace LLVM = mlir::LLVM;

int64_t ElementBytes(mlir::Type element) { return (element.getIntOrFloatBitWidth() + 7) / 8; }

Value KernelBuilder::Constant(int64_t value) {
  return arith::ConstantIntOp::create(b, location_, value, 64);
}

std::optional<int64_t> KernelBuilder::ConstantOf(Value value) {
  mlir::APInt constant;
  if (mlir::matchPattern(value, mlir::m_ConstantInt(&constant))) return constant.getSExtValue();
  return std::nullopt;
}

Value KernelBuilder::Add(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return Constant(*p + *q);
  if (p == 0) return y;
  if (q == 0) return x;
  return arith::AddIOp::create(b, location_, x, y, arith::IntegerOverflowFlags::nsw);
}

Value KernelBuilder::Sub(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return Constant(*p - *q);
  if (q == 0) return x;
  return arith::SubIOp::create(b, location_, x, y, arith::IntegerOverflowFlags::nsw);
}

Value KernelBuilder::Mul(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return Constant(*p * *q);
  if (p == 1) return y;
  if (q == 1) return x;
  if (p == 0 || q == 0) return Constant(0);
  return arith::MulIOp::create(b, location_, x, y, arith::IntegerOverflowFlags::nsw);
}

Value KernelBuilder::Div(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return Constant(*p / *q);
  if (q == 1) return x;
  return arith::DivUIOp::create(b, location_, x, y);
}

Value KernelBuilder::Rem(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return Constant(*p % *q);
  if (q == 1) return Constant(0);
  return arith::RemUIOp::create(b, location_, x, y);
}

Value KernelBuilder::Min(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return Constant(std::min(*p, *q));
  return arith::MinSIOp::create(b, location_, x, y);
}

Value KernelBuilder::Max(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return Constant(std::max(*p, *q));
  return arith::MaxSIOp::create(b, location_, x, y);
}

Value KernelBuilder::Less(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return arith::ConstantIntOp::create(b, location_, *p < *q, 1);
  return arith::CmpIOp::create(b, location_, arith::CmpIPredicate::slt, x, y);
}

Value KernelBuilder::Equal(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return arith::ConstantIntOp::create(b, location_, *p == *q, 1);
  return arith::CmpIOp::create(b, location_, arith::CmpIPredicate::eq, x, y);
}

Value KernelBuilder::At(Value pointer, Value index, mlir::Type element) {
  if (auto constant = ConstantOf(index)) return At(pointer, *constant, element);
  mlir::Type unit = b.getIntegerType(static_cast<unsigned>(ElementBytes(element) * 8));
  return LLVM::GEPOp::create(b, location_, pointer.getType(), unit, pointer,
                             llvm::ArrayRef<LLVM::GEPArg>{index}, LLVM::GEPNoWrapFlags::inbounds);
}

Value KernelBuilder::At(Value pointer, int64_t index, mlir::Type element) {
  if (index == 0) return pointer;
  mlir::Type bytes = b.getI8Type();
  const int64_t offset = index * ElementBytes(element);
  // Constant indices of the op are of 32 bits.
  if (offset != static_cast<int32_t>(offset)) {
    return LLVM::GEPOp::create(b, location_, pointer.getType(), bytes, pointer,
                               llvm::ArrayRef<LLVM::GEPArg>{Constant(offset)},
                               LLVM::GEPNoWrapFlags::inbounds);
  }
  return LLVM::GEPOp::create(b, location_, pointer.getType(), bytes, pointer,
                             llvm::ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(offset)},
                             LLVM::GEPNoWrapFlags::inbounds);
}

Value KernelBuilder::Load(Value pointer, mlir::Type type, int64_t alignment) {
  return LLVM::LoadOp::create(b, location_, type, pointer, static_cast<unsigned>(alignment));
}

void KernelBuilder::Store(Value value, Value pointer, int64_t alignment) {
  LLVM::StoreOp::create(b, location_, value, pointer, static_cast<unsigned>(alignment));
}

// A bool lies in memory as a byte, 0 or 1.
Value KernelBuilder::LoadVector(Value pointer, mlir::VectorType type, Value mask) {
  const bool is_bool = type.getElementType().isInteger(1);
  mlir::VectorType stored = is_bool ? mlir::VectorType::get(type.getShape(), b.getI8Type()) : type;
  const int64_t alignment = ElementBytes(stored.getElementType());
  Value loaded = mask == nullptr ? Load(pointer, stored, alignment)
                                 : LLVM::MaskedLoadOp::create(
                                       b, location_, stored, pointer, mask, Zero(stored),
                                       b.getI32IntegerAttr(static_cast<int32_t>(alignment)))
                                       .getResult();
  if (!is_bool) return loaded;
  return arith::CmpIOp::create(b, location_, arith::CmpIPredicate::ne, loaded, Zero(stored));
}

void KernelBuilder::StoreVector(Value value, Value pointer, Value mask) {
  auto type = mlir::cast<mlir::VectorType>(value.getType());
  if (type.getElementType().isInteger(1)) {
    type = mlir::VectorType::get(type.getShape(), b.getI8Type());
    value = arith::ExtUIOp::create(b, location_, type, value);
  }
  const int64_t alignment = ElementBytes(type.getElementType());
  if (mask == nullptr) return Store(value, pointer, alignment);
  LLVM::MaskedStoreOp::create(b, location_, value, pointer, mask,
                              b.getI32IntegerAttr(static_cast<int32_t>(alignment)));
}

Value KernelBuilder::Splat(Value scalar, int64_t lanes) {
  return mlir::vector::BroadcastOp::create(
      b, location_, mlir::VectorType::get({lanes}, scalar.getType()), scalar);
}

Value KernelBuilder::Zero(mlir::Type type) {
  return arith::ConstantOp::create(b, location_, b.getZeroAttr(type));
}

Value KernelBuilder::Mask(Value first, Value limit, int64_t lanes) {
  // In 32 bits: the number of lanes left is clamped to what matters.
  Value left = Max(Min(Sub(limit, first), Constant(lanes)), Constant(0));
  Value narrow = arith::TruncIOp::create(b, location_, b.getI32Type(), left);
  llvm::SmallVector<int32_t> numbers;
  for (int64_t i = 0; i < lanes; ++i) numbers.push_back(static_cast<int32_t>(i));
  Value indices = arith::ConstantOp::create(b, location_, b.getI32VectorAttr(numbers));
  return arith::CmpIOp::create(b, location_, arith::CmpIPredicate::slt, indices,
                               Splat(narrow, lanes));
}

KernelBuilder::Values KernelBuilder::For(
    Value count, llvm::ArrayRef<Value> carried,
    const std::function<Values(Value, mlir::ValueRange)>& body) {
  if (IsConstant(count, 0)) return Values(carried);
  if (IsConstant(count, 1)) return body(Constant(0), mlir::ValueRange(carried));
  auto loop = mlir::scf::ForOp::create(b, location_, Constant(0), count, Constant(1),
                                       mlir::ValueRange(carried));
  mlir::OpBuilder::InsertionGuard guard(b);
  if (carried.empty()) {
    b.setInsertionPoint(loop.getBody()->getTerminator());
    body(loop.getInductionVar(), loop.getRegionIterArgs());
  } else {
    b.setInsertionPointToEnd(loop.getBody());
    Values next = body(loop.getInductionVar(), loop.getRegionIterArgs());
    mlir::scf::YieldOp::create(b, location_, next);
  }
  return Values(loop.getResults());
}

void KernelBuilder::For(Value count, const std::function<void(Value)>& body) {
  For(count, {}, [&](Value i, mlir::ValueRange) {
    body(i);
    return Values();
  });
}

KernelBuilder::Values KernelBuilder::If(Value condition, mlir::TypeRange types,
                                        const std::function<Values()>& then,
                                        const std::function<Values()>& otherwise) {
  if (auto constant = ConstantOf(condition)) {
    if (*constant != 0) return then();
    return otherwise ? otherwise() : Values();
  }
  auto branch = mlir::scf::IfOp::create(b, location_, types, condition,
                                        /*withElseRegion=*/static_cast<bool>(otherwise));
  mlir::OpBuilder::InsertionGuard guard(b);
  auto fill = [&](mlir::Block* block, const std::function<Values()>& body) {
    if (types.empty()) {
      b.setInsertionPoint(block->getTerminator());
      body();
    } else {
      b.setInsertionPointToEnd(block);
      Values values = body();
      mlir::scf::YieldOp::create(b, location_, values);
    }
  };
  fill(branch.thenBlock(), then);
  if (otherwise) fill(branch.elseBlock(), otherwise);
  return Values(branch.getResults());
}

void KernelBuilder::If(Value condition, const std::function<void()>& then,
                       const std::function<void()>& otherwise) {
  auto wrap = [](const std::function<void()>& body) -> std::function<Values()> {
    if (!body) return {};
    return [&body] {
      body();
      return Values();
    };
  };
  If(condition, mlir::TypeRange(), wrap(then), wrap(otherwise));
}

}  // namespace weft::cpu
