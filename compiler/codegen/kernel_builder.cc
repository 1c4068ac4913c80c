#include "compiler/codegen/kernel_builder.h"

#include <algorithm>
#include <numeric>

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/LoopInvariantCodeMotionUtils.h"

namespace weft {

using mlir::Type;
using mlir::Value;
using mlir::ValueRange;
namespace arith = mlir::arith;
namespace LLVM = mlir::LLVM;
namespace scf = mlir::scf;
namespace vector = mlir::vector;

namespace {

mlir::VectorType VectorOf(Type element, int64_t lanes) {
  return mlir::VectorType::get({lanes}, element);
}

}  // namespace

KernelBuilder::KernelBuilder(mlir::ModuleOp kernels, mlir::Location location, const Target& target,
                             int num_buffers)
    : b_(location, kernels.getContext()), e_(b_), target_(target) {
  b_.setInsertionPointToEnd(kernels.getBody());
  auto pointer = LLVM::LLVMPointerType::get(b_.getContext());
  Type i64 = b_.getI64Type();
  // The caller gives the function its name.
  const std::string name = "kernel_" + std::to_string(std::distance(kernels.getBody()->begin(),
                                                                    kernels.getBody()->end()));
  function_ = mlir::func::FuncOp::create(
      b_, name, b_.getFunctionType({pointer, pointer, i64, i64, pointer}, {}));
  mlir::Block* entry = function_.addEntryBlock();
  b_.setInsertionPointToStart(entry);
  constants_[0] = arith::ConstantOp::create(b_, b_.getI64IntegerAttr(0));
  prologue_end_ = constants_[0].getDefiningOp();
  for (int i = 0; i < num_buffers; ++i) {
    Value slot = LLVM::GEPOp::create(b_, pointer, pointer, entry->getArgument(0),
                                     llvm::ArrayRef<LLVM::GEPArg>{i});
    buffers_.push_back(LLVM::LoadOp::create(b_, pointer, slot));
    prologue_end_ = buffers_.back().getDefiningOp();
  }
}

Value KernelBuilder::Size(const DimExpr& expr) {
  if (auto constant = expr.Constant()) return I64(*constant);
  return SizeArgument(expr);
}

Value KernelBuilder::SizeArgument(const DimExpr& expr) {
  Value& value = size_values_[expr];
  if (!value) {
    mlir::OpBuilder::InsertionGuard guard(b_);
    b_.setInsertionPointAfter(prologue_end_);
    auto pointer = LLVM::LLVMPointerType::get(b_.getContext());
    Value slot =
        LLVM::GEPOp::create(b_, pointer, b_.getI64Type(), function_.getArgument(1),
                            llvm::ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(sizes_.size())});
    value = LLVM::LoadOp::create(b_, b_.getI64Type(), slot);
    prologue_end_ = value.getDefiningOp();
    sizes_.push_back(expr);
  }
  return value;
}

Value KernelBuilder::I64(int64_t value) {
  Value& constant = constants_[value];
  if (!constant) {
    mlir::OpBuilder::InsertionGuard guard(b_);
    b_.setInsertionPointAfter(prologue_end_);
    constant = arith::ConstantOp::create(b_, b_.getI64IntegerAttr(value));
    prologue_end_ = constant.getDefiningOp();
  }
  return constant;
}

std::optional<int64_t> KernelBuilder::ConstantOf(Value value) {
  llvm::APInt constant;
  if (mlir::matchPattern(value, mlir::m_ConstantInt(&constant))) return constant.getSExtValue();
  return std::nullopt;
}

Value KernelBuilder::Add(Value a, Value b) {
  auto x = ConstantOf(a), y = ConstantOf(b);
  if (x && y) return I64(*x + *y);
  if (x == 0) return b;
  if (y == 0) return a;
  return arith::AddIOp::create(b_, a, b);
}

Value KernelBuilder::Sub(Value a, Value b) {
  auto x = ConstantOf(a), y = ConstantOf(b);
  if (x && y) return I64(*x - *y);
  if (y == 0) return a;
  return arith::SubIOp::create(b_, a, b);
}

Value KernelBuilder::Mul(Value a, Value b) {
  auto x = ConstantOf(a), y = ConstantOf(b);
  if (x && y) return I64(*x * *y);
  if (x == 1 || y == 0) return b;
  if (y == 1 || x == 0) return a;
  return arith::MulIOp::create(b_, a, b);
}

Value KernelBuilder::Div(Value a, Value b) {
  auto x = ConstantOf(a), y = ConstantOf(b);
  if (x && y && *y != 0) return I64(*x / *y);
  if (y == 1) return a;
  return arith::DivUIOp::create(b_, a, b);
}

Value KernelBuilder::Rem(Value a, Value b) {
  auto x = ConstantOf(a), y = ConstantOf(b);
  if (x && y && *y != 0) return I64(*x % *y);
  if (y == 1) return I64(0);
  return arith::RemUIOp::create(b_, a, b);
}

Value KernelBuilder::Min(Value a, Value b) {
  auto x = ConstantOf(a), y = ConstantOf(b);
  if (x && y) return I64(std::min(*x, *y));
  return arith::MinSIOp::create(b_, a, b);
}

Value KernelBuilder::Max(Value a, Value b) {
  auto x = ConstantOf(a), y = ConstantOf(b);
  if (x && y) return I64(std::max(*x, *y));
  return arith::MaxSIOp::create(b_, a, b);
}

Value KernelBuilder::CeilDiv(Value a, Value b) { return Div(Add(a, Sub(b, I64(1))), b); }

Value KernelBuilder::Expand(const Coord& a, int64_t lanes) {
  if (lanes == 0) return a.base;
  if (a.lanes) return a.lanes;
  auto type = VectorOf(b_.getI64Type(), lanes);
  Value base = vector::BroadcastOp::create(b_, type, a.base);
  if (a.step == 0) return base;
  std::vector<int64_t> steps(lanes);
  for (int64_t i = 0; i < lanes; ++i) steps[i] = i * a.step;
  Value ramp = arith::ConstantOp::create(
      b_, mlir::DenseElementsAttr::get(type, llvm::ArrayRef<int64_t>(steps)));
  return arith::AddIOp::create(b_, base, ramp);
}

Coord KernelBuilder::Add(const Coord& a, const Coord& b, int64_t lanes) {
  if (!a.lanes && !b.lanes) return {Add(a.base, b.base), a.step + b.step, {}};
  return {{}, 0, arith::AddIOp::create(b_, Expand(a, lanes), Expand(b, lanes))};
}

Coord KernelBuilder::Mul(const Coord& a, Value factor, int64_t lanes) {
  auto constant = ConstantOf(factor);
  if (constant == 1) return a;
  if (!a.lanes && (a.step == 0 || constant)) {
    return {Mul(a.base, factor), a.step * constant.value_or(0), {}};
  }
  Value splat = Expand({factor, 0, {}}, lanes);
  return {{}, 0, arith::MulIOp::create(b_, Expand(a, lanes), splat)};
}

// Vectors are divided in f64, for which processors have an instruction; the quotient of whole
// numbers below 2^52, cut to a whole number, is exact.
Coord KernelBuilder::Div(const Coord& a, Value divisor, int64_t lanes) {
  if (a.uniform()) return {Div(a.base, divisor), 0, {}};
  if (ConstantOf(divisor) == 1) return a;
  auto type = VectorOf(b_.getF64Type(), lanes);
  Value x = arith::SIToFPOp::create(b_, type, Expand(a, lanes));
  Value d = arith::SIToFPOp::create(b_, b_.getF64Type(), divisor);
  Value splat = vector::BroadcastOp::create(b_, type, d);
  Value quotient = arith::DivFOp::create(b_, x, splat);
  return {{}, 0, arith::FPToSIOp::create(b_, VectorOf(b_.getI64Type(), lanes), quotient)};
}

Coord KernelBuilder::Rem(const Coord& a, Value divisor, int64_t lanes) {
  if (a.uniform()) return {Rem(a.base, divisor), 0, {}};
  Coord multiple = Mul(Div(a, divisor, lanes), divisor, lanes);
  return {{}, 0, arith::SubIOp::create(b_, Expand(a, lanes), Expand(multiple, lanes))};
}

std::vector<Value> KernelBuilder::For(Value begin, Value end, int64_t step,
                                      std::vector<Value> carried, const LoopBody& body) {
  auto first = ConstantOf(begin), last = ConstantOf(end);
  if (first && last && *first < *last && *last - *first <= step) return body(begin, carried);
  auto loop = scf::ForOp::create(b_, begin, end, I64(step), carried);
  mlir::OpBuilder::InsertionGuard guard(b_);
  b_.setInsertionPointToStart(loop.getBody());
  std::vector<Value> next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  if (!carried.empty()) scf::YieldOp::create(b_, next);
  return {loop.getResults().begin(), loop.getResults().end()};
}

void KernelBuilder::For(Value begin, Value end, int64_t step,
                        const std::function<void(Value)>& body) {
  For(begin, end, step, {}, [&](Value i, ValueRange) {
    body(i);
    return std::vector<Value>();
  });
}

std::vector<Value> KernelBuilder::If(Value condition, std::vector<Value> otherwise,
                                     const std::function<std::vector<Value>()>& then) {
  auto op = scf::IfOp::create(b_, ValueRange(otherwise).getTypes(), condition,
                              /*withElseRegion=*/!otherwise.empty());
  mlir::OpBuilder::InsertionGuard guard(b_);
  b_.setInsertionPointToStart(op.thenBlock());
  std::vector<Value> results = then();
  if (!otherwise.empty()) {
    scf::YieldOp::create(b_, results);
    b_.setInsertionPointToStart(op.elseBlock());
    scf::YieldOp::create(b_, otherwise);
  }
  return {op.getResults().begin(), op.getResults().end()};
}

Value KernelBuilder::Mask(Value count, int64_t lanes) {
  // 32 bits are enough: larger counts are cut to the number of lanes.
  Value bounded = arith::TruncIOp::create(b_, b_.getI32Type(), Min(count, I64(lanes)));
  auto type = VectorOf(b_.getI32Type(), lanes);
  std::vector<int32_t> ramp(lanes);
  std::iota(ramp.begin(), ramp.end(), 0);
  Value positions = arith::ConstantOp::create(
      b_, mlir::DenseElementsAttr::get(type, llvm::ArrayRef<int32_t>(ramp)));
  return arith::CmpIOp::create(b_, arith::CmpIPredicate::slt, positions,
                               vector::BroadcastOp::create(b_, type, bounded));
}

std::vector<Value> KernelBuilder::VectorFor(Value begin, Value end, std::optional<int64_t> extent,
                                            int64_t lanes, std::vector<Value> carried,
                                            const VectorBody& body) {
  if (lanes == 0) {
    return For(begin, end, 1, carried,
               [&](Value i, ValueRange values) { return body(i, Value(), values); });
  }
  Value length = extent ? I64(*extent) : Sub(end, begin);
  Value whole =
      extent ? I64(*extent / lanes * lanes) : Value(arith::AndIOp::create(b_, length, I64(-lanes)));
  Value middle = Add(begin, whole);
  if (!extent || *extent >= lanes) {
    carried = For(begin, middle, lanes, carried,
                  [&](Value i, ValueRange values) { return body(i, Value(), values); });
  }
  if (extent && *extent % lanes == 0) return carried;
  auto rest = [&] { return body(middle, Mask(Sub(length, whole), lanes), carried); };
  if (extent) return rest();
  Value some = arith::CmpIOp::create(b_, arith::CmpIPredicate::slt, middle, end);
  return If(some, carried, rest);
}

Value KernelBuilder::Address(Value pointer, DataType dtype, Value offset) {
  return LLVM::GEPOp::create(b_, pointer.getType(), e_.MemoryType(dtype, 0), pointer,
                             llvm::ArrayRef<LLVM::GEPArg>{offset}, LLVM::GEPNoWrapFlags::inbounds);
}

Value KernelBuilder::Both(Value a, Value b) {
  if (!a) return b;
  if (!b) return a;
  if (a.getType() != b.getType()) {
    Value& scalar = mlir::isa<mlir::VectorType>(a.getType()) ? b : a;
    Type type = mlir::isa<mlir::VectorType>(a.getType()) ? a.getType() : b.getType();
    scalar = vector::BroadcastOp::create(b_, type, scalar);
  }
  return arith::AndIOp::create(b_, a, b);
}

Value KernelBuilder::VectorMask(const Guard& guard, int64_t lanes) {
  Value mask = Both(guard.tail, guard.predicate);
  if (mask && !mlir::isa<mlir::VectorType>(mask.getType())) {
    mask = vector::BroadcastOp::create(b_, VectorOf(b_.getI1Type(), lanes), mask);
  }
  return mask;
}

Value KernelBuilder::ShuffledReverse(Value value) {
  const int64_t lanes = ScalarEmitter::LanesOf(value);
  std::vector<int64_t> order(lanes);
  for (int64_t i = 0; i < lanes; ++i) order[i] = lanes - 1 - i;
  return vector::ShuffleOp::create(b_, value, value, order);
}

Element KernelBuilder::Load(Value pointer, DataType dtype, const Coord& offset, int64_t lanes,
                            const Guard& guard, bool invariant) {
  const int size = SizeOf(dtype);
  auto load = [&](Type type, Value at) -> Value {
    auto op = LLVM::LoadOp::create(b_, type, Address(pointer, dtype, at), size);
    op.setInvariant(invariant);
    return op;
  };
  Type element = e_.MemoryType(dtype, 0);
  if (offset.uniform()) {
    if (!guard.predicate) return e_.FromMemory(load(element, offset.base), dtype);
    Value any = guard.predicate;
    if (auto type = mlir::dyn_cast<mlir::VectorType>(any.getType())) {
      any = vector::ReductionOp::create(b_, vector::CombiningKind::OR, any);
    }
    Value zero = arith::ConstantOp::create(b_, b_.getZeroAttr(element));
    Value value =
        If(any, {zero}, [&] { return std::vector<Value>{load(element, offset.base)}; })[0];
    return e_.FromMemory(value, dtype);
  }
  Type type = e_.MemoryType(dtype, lanes);
  Value mask = VectorMask(guard, lanes);
  if (offset.step == 1) {
    if (!mask) return e_.FromMemory(load(type, offset.base), dtype);
    Value zero = arith::ConstantOp::create(b_, b_.getZeroAttr(type));
    Value value = LLVM::MaskedLoadOp::create(b_, type, Address(pointer, dtype, offset.base), mask,
                                             zero, b_.getI32IntegerAttr(size), mlir::UnitAttr());
    return e_.FromMemory(value, dtype);
  }
  if (offset.step == -1 && !mask) {
    Value value = load(type, Sub(offset.base, I64(lanes - 1)));
    return e_.FromMemory(ShuffledReverse(value), dtype);
  }
  Value offsets = Expand(offset, lanes);
  Value all = arith::ConstantOp::create(
      b_, mlir::DenseElementsAttr::get(VectorOf(b_.getI1Type(), lanes), true));
  auto pointers = VectorOf(pointer.getType(), lanes);
  Value addresses =
      LLVM::GEPOp::create(b_, pointers, element, pointer, llvm::ArrayRef<LLVM::GEPArg>{offsets});
  Value zero = arith::ConstantOp::create(b_, b_.getZeroAttr(type));
  Value value = LLVM::masked_gather::create(b_, type, addresses, mask ? mask : all,
                                            ValueRange{zero}, b_.getI32IntegerAttr(size));
  return e_.FromMemory(value, dtype);
}

void KernelBuilder::Store(Element x, Value pointer, const Coord& offset, int64_t lanes,
                          const Guard& guard) {
  const int size = SizeOf(x.dtype);
  if (lanes > 0 && !offset.uniform()) x = e_.Splat(x, lanes);
  Value value = e_.ToMemory(x);
  Value address = Address(pointer, x.dtype, offset.base);
  Value mask = offset.uniform() ? Value() : VectorMask(guard, lanes);
  if (mask) {
    LLVM::MaskedStoreOp::create(b_, value, address, mask, b_.getI32IntegerAttr(size));
  } else {
    LLVM::StoreOp::create(b_, value, address, size);
  }
}

void KernelBuilder::Finish() {
  mlir::func::ReturnOp::create(b_);
  // Innermost loops first, so that code moves as far as it can.
  function_.walk([&](scf::ForOp loop) {
    mlir::moveLoopInvariantCode(
        {&loop.getRegion()},
        [&](Value value, mlir::Region*) { return loop.isDefinedOutsideOfLoop(value); },
        [&](mlir::Operation* op, mlir::Region*) {
          if (auto load = mlir::dyn_cast<LLVM::LoadOp>(op)) {
            return load.getInvariant() && op->getBlock() == loop.getBody();
          }
          return mlir::isMemoryEffectFree(op) && mlir::isSpeculatable(op);
        },
        [&](mlir::Operation* op, mlir::Region*) { loop.moveOutOfLoop(op); });
  });
}

}  // namespace weft
