#include "compiler/codegen/kernel_builder.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"
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

constexpr char kKernelPrefix[] = "kernel_";
// What a size may be known to be a multiple of: past this, nothing is gained.
constexpr int64_t kMostFactor = 64;

mlir::VectorType VectorOf(Type element, int64_t lanes) {
  return mlir::VectorType::get({lanes}, element);
}

// Kernels are numbered; each goes to the end, where the next one finds it: there may be many.
int64_t NextNumber(mlir::ModuleOp kernels) {
  for (mlir::Operation& op : llvm::reverse(*kernels.getBody())) {
    auto kernel = llvm::dyn_cast<mlir::func::FuncOp>(op);
    int64_t number = 0;
    if (llvm::StringRef name = kernel ? kernel.getSymName() : "";
        name.consume_front(kKernelPrefix) && !name.getAsInteger(10, number)) {
      return number + 1;
    }
  }
  return 0;
}

// A kernel for a GPU has a parameter for each buffer and, added as they are asked for, each size.
mlir::func::FuncOp NewFunction(plan::FusionOp fusion, mlir::ModuleOp kernels,
                               const Target& target) {
  mlir::ImplicitLocOpBuilder b(fusion.getLoc(), kernels.getContext());
  b.setInsertionPointToEnd(kernels.getBody());
  Type pointer = LLVM::LLVMPointerType::get(b.getContext()), i64 = b.getI64Type();
  const std::string name = kKernelPrefix + std::to_string(NextNumber(kernels));
  std::vector<Type> parameters{pointer, pointer, i64, i64, pointer};
  if (target.kind == Target::Kind::kCuda) {
    parameters.assign(fusion->getNumOperands() + fusion->getNumResults(), pointer);
  }
  auto function = mlir::func::FuncOp::create(b, name, b.getFunctionType(parameters, {}));
  function.addEntryBlock();
  return function;
}

}  // namespace

KernelBuilder::KernelBuilder(plan::FusionOp fusion, mlir::ModuleOp kernels, const Target& target)
    : KernelBuilder(fusion, NewFunction(fusion, kernels, target), target) {}

KernelBuilder::KernelBuilder(plan::FusionOp fusion, mlir::func::FuncOp function,
                             const Target& target)
    : CodeBuilder(fusion.getLoc(), &function.getBody().front()),
      fusion_(fusion),
      e_(b(), MathInstructions(target)),
      target_(target),
      function_(function) {
  auto pointer = LLVM::LLVMPointerType::get(b().getContext());
  for (unsigned i = 0; i < fusion->getNumOperands() + fusion->getNumResults(); ++i) {
    if (on_gpu()) {
      buffers_.push_back(function_.getArgument(i));
      continue;
    }
    buffers_.push_back(
        InPrologue([&] { return LoadAt(At(function_.getArgument(0), i, pointer), pointer); }));
  }
}

Value KernelBuilder::BufferOf(Value argument) {
  return Buffer(static_cast<int>(mlir::cast<mlir::BlockArgument>(argument).getArgNumber()));
}

Value KernelBuilder::ResultBufferOf(Value value) {
  auto yielded = fusion_.yield()->getOperands();
  for (size_t i = 0; i < yielded.size(); ++i) {
    if (yielded[i] == value) return Buffer(static_cast<int>(fusion_->getNumOperands() + i));
  }
  return nullptr;
}

Value KernelBuilder::Size(const DimExpr& expr) {
  if (auto constant = expr.Constant()) return I64(*constant);
  return SizeArgument(expr);
}

Value KernelBuilder::SizeArgument(const DimExpr& expr) {
  if (multiple_) {
    if (auto known = multiple_->values.find(expr); known != multiple_->values.end()) {
      return known->second;
    }
    if (const auto times = DimExpr::DivideExactly(expr, multiple_->size);
        times && !expr.IsConstant()) {
      Multiple multiple = *std::exchange(multiple_, std::nullopt);
      Value size = SizeArgument(multiple.size), factor = I64(multiple.factor);
      Value number = Size(*times);
      Value quotient = InPrologue([&] { return Div(size, factor); });
      Value whole = InPrologue([&] { return Mul(quotient, factor); });
      Value value = *times == DimExpr(1) ? whole : InPrologue([&] { return Mul(whole, number); });
      multiple.values[expr] = value;
      multiple_ = std::move(multiple);
      return value;
    }
  }
  if (auto known = size_values_.find(expr); known != size_values_.end()) return known->second;
  if (on_gpu() && !expr.IsConstant()) {
    // Code knows what such a size is a multiple of, and so which addresses are aligned.
    for (int64_t factor = kMostFactor; factor > 1; factor /= 2) {
      const std::optional<DimExpr> rest = DimExpr::DivideExactly(expr, factor);
      if (!rest) continue;
      Value argument = SizeArgument(*rest), multiple = I64(factor);
      Value value = InPrologue([&] { return Mul(argument, multiple); });
      return size_values_[expr] = value;
    }
  }
  Value& value = size_values_[expr];
  if (!value) {
    if (on_gpu()) {
      const unsigned position = function_.getNumArguments();
      [[maybe_unused]] const mlir::LogicalResult inserted =
          function_.insertArgument(position, b().getI64Type(), {}, function_.getLoc());
      value = function_.getArgument(position);
      sizes_.push_back(expr);
      return value;
    }
    value = InPrologue([&] {
      const int64_t slot = static_cast<int64_t>(sizes_.size());
      return LoadAt(At(function_.getArgument(1), slot, b().getI64Type()), b().getI64Type());
    });
    sizes_.push_back(expr);
  }
  return value;
}

Value KernelBuilder::Expand(const Coord& a, int64_t lanes) {
  if (lanes == 0) return a.base;
  if (a.lanes) return a.lanes;
  auto type = VectorOf(b().getI64Type(), lanes);
  Value base = vector::BroadcastOp::create(b(), type, a.base);
  if (a.step == 0) return base;
  std::vector<int64_t> steps(lanes);
  for (int64_t i = 0; i < lanes; ++i) steps[i] = i * a.step;
  Value ramp = arith::ConstantOp::create(
      b(), mlir::DenseElementsAttr::get(type, llvm::ArrayRef<int64_t>(steps)));
  return arith::AddIOp::create(b(), base, ramp);
}

Coord KernelBuilder::Add(const Coord& x, const Coord& y, int64_t lanes) {
  if (!x.lanes && !y.lanes) return {Add(x.base, y.base), x.step + y.step, {}};
  return {{}, 0, arith::AddIOp::create(b(), Expand(x, lanes), Expand(y, lanes))};
}

Coord KernelBuilder::Mul(const Coord& a, Value factor, int64_t lanes) {
  auto constant = ConstantOf(factor);
  if (constant == 1) return a;
  if (!a.lanes && (a.step == 0 || constant)) {
    return {Mul(a.base, factor), a.step * constant.value_or(0), {}};
  }
  Value splat = Expand({factor, 0, {}}, lanes);
  return {{}, 0, arith::MulIOp::create(b(), Expand(a, lanes), splat)};
}

// Vectors are divided in f64, for which processors have an instruction; the quotient of whole
// numbers below 2^52, cut to a whole number, is exact.
Coord KernelBuilder::Div(const Coord& a, Value divisor, int64_t lanes) {
  if (a.uniform()) return {Div(a.base, divisor), 0, {}};
  if (ConstantOf(divisor) == 1) return a;
  auto type = VectorOf(b().getF64Type(), lanes);
  Value x = arith::SIToFPOp::create(b(), type, Expand(a, lanes));
  Value d = arith::SIToFPOp::create(b(), b().getF64Type(), divisor);
  Value splat = vector::BroadcastOp::create(b(), type, d);
  Value quotient = arith::DivFOp::create(b(), x, splat);
  return {{}, 0, arith::FPToSIOp::create(b(), VectorOf(b().getI64Type(), lanes), quotient)};
}

Coord KernelBuilder::Rem(const Coord& a, Value divisor, int64_t lanes) {
  if (a.uniform()) return {Rem(a.base, divisor), 0, {}};
  Coord multiple = Mul(Div(a, divisor, lanes), divisor, lanes);
  return {{}, 0, arith::SubIOp::create(b(), Expand(a, lanes), Expand(multiple, lanes))};
}

Value KernelBuilder::Both(Value x, Value y) {
  if (!x) return y;
  if (!y) return x;
  if (x.getType() != y.getType()) {
    Value& scalar = mlir::isa<mlir::VectorType>(x.getType()) ? y : x;
    Type type = mlir::isa<mlir::VectorType>(x.getType()) ? x.getType() : y.getType();
    scalar = vector::BroadcastOp::create(b(), type, scalar);
  }
  return arith::AndIOp::create(b(), x, y);
}

Value KernelBuilder::VectorMask(const Guard& guard, int64_t lanes) {
  Value mask = Both(guard.tail, guard.predicate);
  if (mask && !mlir::isa<mlir::VectorType>(mask.getType())) {
    mask = vector::BroadcastOp::create(b(), VectorOf(b().getI1Type(), lanes), mask);
  }
  return mask;
}

Value KernelBuilder::ShuffledReverse(Value value) {
  const int64_t lanes = ScalarEmitter::LanesOf(value);
  std::vector<int64_t> order(lanes);
  for (int64_t i = 0; i < lanes; ++i) order[i] = lanes - 1 - i;
  return vector::ShuffleOp::create(b(), value, value, order);
}

int64_t KernelBuilder::KnownFactor(Value value) {
  // 0 is a multiple of everything.
  if (auto constant = ConstantOf(value)) return std::gcd(*constant, kMostFactor);
  mlir::Operation* op = value.getDefiningOp();
  if (op == nullptr) {
    // The variable of a loop.
    auto loop = mlir::dyn_cast<scf::ForOp>(value.getParentBlock()->getParentOp());
    if (!loop || value != loop.getInductionVar()) return 1;
    return std::gcd(KnownFactor(loop.getLowerBound()), KnownFactor(loop.getStep()));
  }
  if (mlir::isa<arith::MulIOp>(op)) {
    return std::gcd(KnownFactor(op->getOperand(0)) * KnownFactor(op->getOperand(1)), kMostFactor);
  }
  if (mlir::isa<arith::AddIOp, arith::SubIOp, arith::RemUIOp, arith::MinSIOp, arith::MaxSIOp>(op)) {
    return std::gcd(KnownFactor(op->getOperand(0)), KnownFactor(op->getOperand(1)));
  }
  return 1;
}

unsigned KernelBuilder::AlignmentAt(Value offset, int64_t element_bytes) {
  return static_cast<unsigned>(std::min<int64_t>(16, KnownFactor(offset) * element_bytes));
}

Element KernelBuilder::Load(Value pointer, DataType dtype, const Coord& offset, int64_t lanes,
                            const Guard& guard, bool invariant) {
  Type element = e_.MemoryType(dtype, 0);
  auto load = [&](Type type, Value at, Value mask) {
    Value value = LoadAt(At(pointer, at, element), type, mask, invariant);
    // Only a load known to be aligned is one instruction for several elements on a GPU.
    if (auto op = value.getDefiningOp<LLVM::LoadOp>(); op && on_gpu()) {
      op.setAlignment(AlignmentAt(at, SizeOf(dtype)));
    }
    return value;
  };
  if (offset.uniform()) {
    if (!guard.predicate) return e_.FromMemory(load(element, offset.base, nullptr), dtype);
    Value any = guard.predicate;
    if (mlir::isa<mlir::VectorType>(any.getType())) {
      any = vector::ReductionOp::create(b(), vector::CombiningKind::OR, any);
    }
    Value value =
        If(any, {Zero(element)}, [&] { return Values{load(element, offset.base, nullptr)}; })[0];
    return e_.FromMemory(value, dtype);
  }
  Type type = e_.MemoryType(dtype, lanes);
  Value mask = VectorMask(guard, lanes);
  if (offset.step == 1 && mask && on_gpu()) {
    // There, a load under a mask is one of each lane: nearly always, all or none are wanted.
    const bool one = !guard.tail && !mlir::isa<mlir::VectorType>(guard.predicate.getType());
    Value all = one ? guard.predicate
                    : Value(vector::ReductionOp::create(b(), vector::CombiningKind::AND, mask));
    auto others = [&] { return Values{one ? Zero(type) : load(type, offset.base, mask)}; };
    Value value =
        If(all, type, [&] { return Values{load(type, offset.base, nullptr)}; }, others)[0];
    return e_.FromMemory(value, dtype);
  }
  if (offset.step == 1) return e_.FromMemory(load(type, offset.base, mask), dtype);
  if (offset.step == -1 && !mask) {
    Value value = load(type, Sub(offset.base, lanes - 1), nullptr);
    return e_.FromMemory(ShuffledReverse(value), dtype);
  }
  Value offsets = Expand(offset, lanes);
  Value all = arith::ConstantOp::create(
      b(), mlir::DenseElementsAttr::get(VectorOf(b().getI1Type(), lanes), true));
  auto pointers = VectorOf(pointer.getType(), lanes);
  Value addresses =
      LLVM::GEPOp::create(b(), pointers, element, pointer, llvm::ArrayRef<LLVM::GEPArg>{offsets});
  Value value =
      LLVM::masked_gather::create(b(), type, addresses, mask ? mask : all, ValueRange{Zero(type)},
                                  b().getI32IntegerAttr(SizeOf(dtype)));
  return e_.FromMemory(value, dtype);
}

void KernelBuilder::Store(Element x, Value pointer, const Coord& offset, int64_t lanes,
                          const Guard& guard, Value stream) {
  if (lanes > 0 && !offset.uniform()) x = e_.Splat(x, lanes);
  Value mask = offset.uniform() ? Value() : VectorMask(guard, lanes);
  Value value = e_.ToMemory(x), address = Address(pointer, x.dtype, offset.base);
  if (on_gpu() && !mask) {
    LLVM::StoreOp::create(b(), value, address, AlignmentAt(offset.base, SizeOf(x.dtype)));
    return;
  }
  if (!stream || mask || offset.uniform()) return StoreAt(value, address, mask);
  streams_ = true;
  const int64_t alignment = std::min<int64_t>(64, lanes * SizeOf(x.dtype));
  If(
      stream,
      [&] {
        LLVM::StoreOp::create(b(), value, address, static_cast<unsigned>(alignment),
                              /*isVolatile=*/false, /*isNonTemporal=*/true);
      },
      [&] { StoreAt(value, address); });
}

void KernelBuilder::Prefetch(Value pointer, DataType dtype, Value offset) {
  // Not "inbounds": that would promise what callers need not.
  Value at = LLVM::GEPOp::create(b(), pointer.getType(), e_.MemoryType(dtype, 0), pointer,
                                 llvm::ArrayRef<LLVM::GEPArg>{offset});
  LLVM::Prefetch::create(b(), at, /*rw=*/0, /*hint=*/3, /*cache=*/1);
}

Value KernelBuilder::IsAligned(Value pointer) {
  Value address = LLVM::PtrToIntOp::create(b(), b().getI64Type(), pointer);
  return Equal(arith::AndIOp::create(b(), address, I64(63)), I64(0));
}

Value KernelBuilder::AreDifferent(Value pointer, Value other) {
  return LLVM::ICmpOp::create(b(), LLVM::ICmpPredicate::ne, pointer, other);
}

Value KernelBuilder::LoadWide(Value pointer, DataType dtype, Value index, int64_t lanes,
                              Value mask) {
  Element x = Load(pointer, dtype, {index, 1, {}}, lanes, {mask, {}}, /*invariant=*/false);
  return e_.ToAccumulator(x).value;
}

void KernelBuilder::StoreRounded(Value value, Value pointer, DataType dtype, Value index,
                                 Value mask) {
  const Element x{value, ScalarEmitter::AccumulatorType(dtype)};
  Store(e_.FromAccumulator(x, dtype), pointer, {index, 1, {}}, ScalarEmitter::LanesOf(value),
        {mask, {}});
}

Value KernelBuilder::SharedMemory(int64_t bytes) {
  // Kernels that are equal but for their names have equal names for these: a variable belongs to
  // any kernel that mentions it, and each block has its own.
  const std::string name = "shared_" + std::to_string(num_shared_++) + "_" + std::to_string(bytes);
  return SharedVariable(name, bytes, /*alignment=*/16);
}

Value KernelBuilder::BlockScratch() {
  return SharedVariable("block_scratch", 0, /*alignment=*/1024);
}

Value KernelBuilder::SharedVariable(const std::string& name, int64_t bytes, unsigned alignment) {
  constexpr unsigned kSharedSpace = 3;
  auto module = function_->getParentOfType<mlir::ModuleOp>();
  if (!module.lookupSymbol(name)) {
    mlir::OpBuilder::InsertionGuard guard(b());
    b().setInsertionPointToStart(module.getBody());
    auto type = LLVM::LLVMArrayType::get(b().getI8Type(), static_cast<unsigned>(bytes));
    const LLVM::Linkage linkage = bytes == 0 ? LLVM::Linkage::External : LLVM::Linkage::Internal;
    LLVM::GlobalOp::create(b(), type, /*isConstant=*/false, linkage, name, mlir::Attribute(),
                           alignment, kSharedSpace);
  }
  return InPrologue([&] {
    return LLVM::AddressOfOp::create(
        b(), LLVM::LLVMPointerType::get(b().getContext(), kSharedSpace), name);
  });
}

namespace {

// Of a vector as a whole, up to what one access moves.
unsigned SharedAlignment(Type type) {
  const int64_t bytes = ElementBytes(mlir::getElementTypeOrSelf(type));
  auto vector = mlir::dyn_cast<mlir::VectorType>(type);
  const int64_t lanes = vector ? vector.getNumElements() : 1;
  return static_cast<unsigned>(std::gcd<int64_t>(16, bytes * lanes));
}

// i1 takes a byte.
Type SharedType(mlir::OpBuilder& b, Type type) {
  if (!mlir::getElementTypeOrSelf(type).isInteger(1)) return type;
  if (auto vector = mlir::dyn_cast<mlir::VectorType>(type)) return vector.clone(b.getI8Type());
  return b.getI8Type();
}

}  // namespace

// The maps come first, since they are aligned. Each is a parameter itself, not a copy of it: the
// backend says so (nvvm.grid_constant).
Value KernelBuilder::TensorMap(Value buffer, KernelMap map, const std::vector<DimExpr>& numbers) {
  map.buffer = static_cast<uint32_t>(llvm::find(buffers_, buffer) - buffers_.begin());
  const auto bytes = LLVM::LLVMArrayType::get(b().getI8Type(), kTensorMapBytes);
  const mlir::NamedAttribute attributes[] = {
      b().getNamedAttr("llvm.byval", mlir::TypeAttr::get(bytes)),
      b().getNamedAttr("llvm.align", b().getI64IntegerAttr(64))};
  const auto position = static_cast<unsigned>(maps_.size());
  [[maybe_unused]] const mlir::LogicalResult inserted =
      function_.insertArgument(position, LLVM::LLVMPointerType::get(b().getContext()),
                               b().getDictionaryAttr(attributes), function_.getLoc());
  maps_.push_back(map);
  map_sizes_.insert(map_sizes_.end(), numbers.begin(), numbers.end());
  return function_.getArgument(position);
}

Value KernelBuilder::LoadShared(Type type, Value array, Value index) {
  const Type stored = SharedType(b(), type);
  const int64_t lanes = std::max<int64_t>(
      1,
      mlir::isa<mlir::VectorType>(type) ? mlir::cast<mlir::VectorType>(type).getNumElements() : 1);
  Value address = At(array, Mul(index, lanes), mlir::getElementTypeOrSelf(stored));
  Value value = LLVM::LoadOp::create(b(), stored, address, SharedAlignment(stored));
  return stored == type ? value : Value(arith::TruncIOp::create(b(), type, value));
}

void KernelBuilder::StoreShared(Value value, Value array, Value index) {
  const Type stored = SharedType(b(), value.getType());
  if (stored != value.getType()) value = arith::ExtUIOp::create(b(), stored, value);
  const int64_t lanes = std::max<int64_t>(1, ScalarEmitter::LanesOf(value));
  Value address = At(array, Mul(index, lanes), mlir::getElementTypeOrSelf(stored));
  LLVM::StoreOp::create(b(), value, address, SharedAlignment(stored));
}

void KernelBuilder::Finish() {
  if (streams_) {
    // What went past the caches is ordered before whatever tells other threads of it.
    LLVM::CallIntrinsicOp::create(b(), b().getStringAttr("llvm.x86.sse.sfence"), ValueRange());
  }
  mlir::func::ReturnOp::create(b());
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

void KernelBuilder::Finish(KernelSpec& spec) {
  Finish();
  spec.symbol = function_.getName().str();
  spec.sizes = sizes_;
  spec.sizes.insert(spec.sizes.end(), map_sizes_.begin(), map_sizes_.end());
  spec.maps = maps_;
}

}  // namespace weft
