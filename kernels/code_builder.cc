#include "kernels/code_builder.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"

namespace weft {

using mlir::Value;
using mlir::ValueRange;
using Values = CodeBuilder::Values;
namespace arith = mlir::arith;
namespace LLVM = mlir::LLVM;
namespace scf = mlir::scf;

int64_t ElementBytes(mlir::Type element) {
  if (mlir::isa<LLVM::LLVMPointerType>(element)) return 8;
  return (element.getIntOrFloatBitWidth() + 7) / 8;
}

CodeBuilder::CodeBuilder(mlir::Location location, mlir::Block* entry)
    : b_(location, location.getContext()), entry_(entry) {
  b_.setInsertionPointToEnd(entry);
}

Value CodeBuilder::InPrologue(const std::function<Value()>& emit) {
  mlir::OpBuilder::InsertionGuard guard(b_);
  if (prologue_end_ == nullptr) {
    b_.setInsertionPointToStart(entry_);
  } else {
    b_.setInsertionPointAfter(prologue_end_);
  }
  Value value = emit();
  prologue_end_ = value.getDefiningOp();
  return value;
}

Value CodeBuilder::I64(int64_t value) {
  Value& constant = constants_[value];
  if (!constant) {
    constant = InPrologue(
        [&]() -> Value { return arith::ConstantOp::create(b_, b_.getI64IntegerAttr(value)); });
  }
  return constant;
}

std::optional<int64_t> CodeBuilder::ConstantOf(Value value) {
  llvm::APInt constant;
  if (mlir::matchPattern(value, mlir::m_ConstantInt(&constant))) return constant.getSExtValue();
  return std::nullopt;
}

Value CodeBuilder::Add(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return I64(*p + *q);
  if (p == 0) return y;
  if (q == 0) return x;
  return arith::AddIOp::create(b_, x, y, arith::IntegerOverflowFlags::nsw);
}

Value CodeBuilder::Sub(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return I64(*p - *q);
  if (q == 0) return x;
  return arith::SubIOp::create(b_, x, y, arith::IntegerOverflowFlags::nsw);
}

Value CodeBuilder::Mul(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return I64(*p * *q);
  if (p == 1) return y;
  if (q == 1) return x;
  if (p == 0 || q == 0) return I64(0);
  return arith::MulIOp::create(b_, x, y, arith::IntegerOverflowFlags::nsw);
}

Value CodeBuilder::Div(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q && *q != 0) return I64(*p / *q);
  if (q == 1) return x;
  return arith::DivUIOp::create(b_, x, y);
}

Value CodeBuilder::Rem(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q && *q != 0) return I64(*p % *q);
  if (q == 1) return I64(0);
  return arith::RemUIOp::create(b_, x, y);
}

Value CodeBuilder::CeilDiv(Value x, Value y) { return Div(Add(x, Sub(y, 1)), y); }

Value CodeBuilder::Min(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return I64(std::min(*p, *q));
  return arith::MinSIOp::create(b_, x, y);
}

Value CodeBuilder::Max(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return I64(std::max(*p, *q));
  return arith::MaxSIOp::create(b_, x, y);
}

Value CodeBuilder::Less(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return arith::ConstantIntOp::create(b_, *p < *q, 1);
  return arith::CmpIOp::create(b_, arith::CmpIPredicate::slt, x, y);
}

Value CodeBuilder::Equal(Value x, Value y) {
  auto p = ConstantOf(x), q = ConstantOf(y);
  if (p && q) return arith::ConstantIntOp::create(b_, *p == *q, 1);
  return arith::CmpIOp::create(b_, arith::CmpIPredicate::eq, x, y);
}

Value CodeBuilder::Select(Value condition, Value x, Value y) {
  if (auto constant = ConstantOf(condition)) return *constant != 0 ? x : y;
  return arith::SelectOp::create(b_, condition, x, y);
}

Values CodeBuilder::For(Value begin, Value end, Value step, Values carried, const LoopBody& body) {
  if (auto first = ConstantOf(begin), last = ConstantOf(end); first && last) {
    if (*last <= *first) return carried;
    const std::optional<int64_t> each = ConstantOf(step);
    if (each && *last - *first <= *each) return body(begin, carried);
  }
  auto loop = scf::ForOp::create(b_, begin, end, step, carried);
  mlir::OpBuilder::InsertionGuard guard(b_);
  b_.setInsertionPointToStart(loop.getBody());
  Values next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  // Without carried values, the loop came with its end.
  if (!carried.empty()) scf::YieldOp::create(b_, next);
  return {loop.getResults().begin(), loop.getResults().end()};
}

void CodeBuilder::For(Value begin, Value end, int64_t step,
                      const std::function<void(Value)>& body) {
  For(begin, end, step, {}, [&](Value i, ValueRange) {
    body(i);
    return Values();
  });
}

Values CodeBuilder::VectorFor(Value begin, Value end, std::optional<int64_t> extent, int64_t lanes,
                              Values carried, const VectorBody& body) {
  if (lanes == 0) {
    return For(begin, end, 1, std::move(carried),
               [&](Value i, ValueRange values) { return body(i, Value(), values); });
  }
  Value length = extent ? I64(*extent) : Sub(end, begin);
  // The length of whole steps; of a range that ends before it begins, not above 0.
  Value whole;
  if (auto constant = ConstantOf(length)) {
    extent = std::max<int64_t>(*constant, 0);
    whole = I64(*extent / lanes * lanes);
  } else {
    whole = std::has_single_bit(static_cast<uint64_t>(lanes))
                ? Value(arith::AndIOp::create(b_, length, I64(-lanes)))
                : Mul(Div(length, lanes), lanes);
  }
  Value middle = Add(begin, whole);
  if (!extent || *extent >= lanes) {
    carried = For(begin, middle, lanes, std::move(carried),
                  [&](Value i, ValueRange values) { return body(i, Value(), values); });
  }
  if (extent && *extent % lanes == 0) return carried;
  auto rest = [&] { return body(middle, Mask(Sub(length, whole), lanes), carried); };
  if (extent) return rest();
  return If(Less(middle, end), carried, rest);
}

void CodeBuilder::VectorFor(Value begin, Value end, int64_t lanes,
                            const std::function<void(Value, Value)>& body) {
  VectorFor(begin, end, std::nullopt, lanes, {}, [&](Value i, Value mask, ValueRange) {
    body(i, mask);
    return Values();
  });
}

Values CodeBuilder::If(Value condition, mlir::TypeRange types, const std::function<Values()>& then,
                       const std::function<Values()>& otherwise) {
  if (auto constant = ConstantOf(condition)) {
    if (*constant != 0) return then();
    return otherwise ? otherwise() : Values();
  }
  auto branch =
      scf::IfOp::create(b_, types, condition, /*withElseRegion=*/static_cast<bool>(otherwise));
  mlir::OpBuilder::InsertionGuard guard(b_);
  auto fill = [&](mlir::Block* block, const std::function<Values()>& body) {
    b_.setInsertionPointToStart(block);
    Values values = body();
    // Without results, the branch came with its end.
    if (!types.empty()) scf::YieldOp::create(b_, values);
  };
  fill(branch.thenBlock(), then);
  if (otherwise) fill(branch.elseBlock(), otherwise);
  return {branch.getResults().begin(), branch.getResults().end()};
}

Values CodeBuilder::If(Value condition, Values otherwise, const std::function<Values()>& then) {
  if (otherwise.empty()) return If(condition, mlir::TypeRange(), then, {});
  return If(condition, ValueRange(otherwise).getTypes(), then, [&] { return otherwise; });
}

void CodeBuilder::If(Value condition, const std::function<void()>& then,
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

Value CodeBuilder::Mask(Value count, int64_t lanes) {
  // 32 bits are enough for what matters of the count.
  Value bounded = arith::TruncIOp::create(b_, b_.getI32Type(), Max(Min(count, I64(lanes)), I64(0)));
  std::vector<int32_t> ramp(lanes);
  std::iota(ramp.begin(), ramp.end(), 0);
  Value positions = arith::ConstantOp::create(b_, b_.getI32VectorAttr(ramp));
  return arith::CmpIOp::create(b_, arith::CmpIPredicate::slt, positions, Splat(bounded, lanes));
}

Value CodeBuilder::Splat(Value scalar, int64_t lanes) {
  return mlir::vector::BroadcastOp::create(b_, mlir::VectorType::get({lanes}, scalar.getType()),
                                           scalar);
}

Value CodeBuilder::Zero(mlir::Type type) {
  return arith::ConstantOp::create(b_, b_.getZeroAttr(type));
}

Value CodeBuilder::At(Value pointer, Value index, mlir::Type element) {
  if (auto constant = ConstantOf(index)) return At(pointer, *constant, element);
  mlir::Type unit = b_.getIntegerType(static_cast<unsigned>(ElementBytes(element) * 8));
  return LLVM::GEPOp::create(b_, pointer.getType(), unit, pointer,
                             llvm::ArrayRef<LLVM::GEPArg>{index}, LLVM::GEPNoWrapFlags::inbounds);
}

Value CodeBuilder::At(Value pointer, int64_t index, mlir::Type element) {
  if (index == 0) return pointer;
  const int64_t offset = index * ElementBytes(element);
  // Constant indices of the op are of 32 bits.
  const bool fits = offset == static_cast<int32_t>(offset);
  LLVM::GEPArg argument = fits ? LLVM::GEPArg(static_cast<int32_t>(offset)) : I64(offset);
  return LLVM::GEPOp::create(b_, pointer.getType(), b_.getI8Type(), pointer,
                             llvm::ArrayRef<LLVM::GEPArg>{argument},
                             LLVM::GEPNoWrapFlags::inbounds);
}

Value CodeBuilder::LoadAt(Value pointer, mlir::Type type, Value mask, bool invariant) {
  const int64_t alignment = ElementBytes(mlir::getElementTypeOrSelf(type));
  if (mask != nullptr) {
    return LLVM::MaskedLoadOp::create(b_, type, pointer, mask, Zero(type),
                                      b_.getI32IntegerAttr(static_cast<int32_t>(alignment)),
                                      mlir::UnitAttr());
  }
  auto load = LLVM::LoadOp::create(b_, type, pointer, static_cast<unsigned>(alignment));
  load.setInvariant(invariant);
  return load;
}

void CodeBuilder::StoreAt(Value value, Value pointer, Value mask) {
  const int64_t alignment = ElementBytes(mlir::getElementTypeOrSelf(value.getType()));
  if (mask == nullptr) {
    LLVM::StoreOp::create(b_, value, pointer, static_cast<unsigned>(alignment));
    return;
  }
  LLVM::MaskedStoreOp::create(b_, value, pointer, mask,
                              b_.getI32IntegerAttr(static_cast<int32_t>(alignment)));
}

}  // namespace weft
