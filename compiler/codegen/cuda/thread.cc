#include "compiler/codegen/cuda/thread.h"

#include <algorithm>
#include <string>

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace weft {

using mlir::Type;
using mlir::Value;
namespace arith = mlir::arith;
namespace LLVM = mlir::LLVM;
namespace NVVM = mlir::NVVM;

namespace {

template <typename Register>
Value Read(KernelBuilder& kernel) {
  mlir::ImplicitLocOpBuilder& b = kernel.b();
  Value value = Register::create(b, b.getI32Type());
  return arith::ExtUIOp::create(b, b.getI64Type(), value);
}

}  // namespace

Value ThreadInBlock(KernelBuilder& kernel) { return Read<NVVM::ThreadIdXOp>(kernel); }

Value BlockInGrid(KernelBuilder& kernel) { return Read<NVVM::BlockIdXOp>(kernel); }

Value BlocksInGrid(KernelBuilder& kernel) { return Read<NVVM::GridDimXOp>(kernel); }

Value GlobalThread(KernelBuilder& kernel) {
  Value block = BlockInGrid(kernel);
  return kernel.Add(kernel.Mul(block, kThreadsPerBlock), ThreadInBlock(kernel));
}

void SetBlockThreads(KernelBuilder& kernel, KernelSpec& spec, int threads) {
  spec.block_threads = threads;
  mlir::ImplicitLocOpBuilder& b = kernel.b();
  const mlir::Attribute reqntid = b.getStrArrayAttr({"nvvm.reqntid", std::to_string(threads)});
  kernel.function()->setAttr("passthrough", b.getArrayAttr(reqntid));
}

void ExpectOneBlock(KernelBuilder& kernel) {
  mlir::ImplicitLocOpBuilder& b = kernel.b();
  auto known = kernel.function()->getAttrOfType<mlir::ArrayAttr>("passthrough");
  llvm::SmallVector<mlir::Attribute> all(known.begin(), known.end());
  all.push_back(b.getStrArrayAttr({"nvvm.minctasm", "1"}));
  kernel.function()->setAttr("passthrough", b.getArrayAttr(all));
}

void Barrier(KernelBuilder& kernel) { NVVM::Barrier0Op::create(kernel.b()); }

void BarrierOfThreads(KernelBuilder& kernel, int64_t threads) {
  mlir::ImplicitLocOpBuilder& b = kernel.b();
  const auto i32 = [&](int64_t x) -> Value {
    return arith::ConstantIntOp::create(b, b.getI32Type(), x);
  };
  // Number 0 is that of all threads.
  NVVM::BarrierOp::create(b, mlir::TypeRange(), i32(1), i32(threads), NVVM::BarrierReductionAttr(),
                          Value());
}

namespace {

Value Shuffle(KernelBuilder& kernel, Value x, NVVM::ShflKind kind, int from, int clamp) {
  mlir::ImplicitLocOpBuilder& b = kernel.b();
  const Type type = x.getType();
  auto shuffle = [&](Value part) { return Shuffle(kernel, part, kind, from, clamp); };
  if (auto vector = mlir::dyn_cast<mlir::VectorType>(type)) {
    Value result = x;
    for (int64_t i = 0; i < vector.getNumElements(); ++i) {
      Value lane = shuffle(mlir::vector::ExtractOp::create(b, x, i));
      result = mlir::vector::InsertOp::create(b, lane, result, i);
    }
    return result;
  }
  // By words of 32 bits.
  const Type i32 = b.getI32Type(), i64 = b.getI64Type();
  const unsigned bits = type.getIntOrFloatBitWidth();
  if (bits < 32) {
    Value wide = arith::ExtUIOp::create(b, i32, x);
    return arith::TruncIOp::create(b, type, shuffle(wide));
  }
  if (bits == 64) {
    Value word = type == i64 ? x : Value(arith::BitcastOp::create(b, i64, x));
    Value half = kernel.I64(32);
    Value low = arith::TruncIOp::create(b, i32, word);
    Value high = arith::TruncIOp::create(b, i32, arith::ShRUIOp::create(b, word, half));
    low = arith::ExtUIOp::create(b, i64, shuffle(low));
    high = arith::ExtUIOp::create(b, i64, shuffle(high));
    word = arith::OrIOp::create(b, low, arith::ShLIOp::create(b, high, half));
    return type == i64 ? word : Value(arith::BitcastOp::create(b, type, word));
  }
  auto constant = [&](int value) -> Value { return arith::ConstantIntOp::create(b, i32, value); };
  return NVVM::ShflOp::create(b, type, constant(-1), x, constant(from), constant(clamp), kind,
                              mlir::UnitAttr());
}

}  // namespace

Value ShuffleXor(KernelBuilder& kernel, Value x, int lane_bits) {
  return Shuffle(kernel, x, NVVM::ShflKind::bfly, lane_bits, kWarp - 1);
}

Value ShuffleUp(KernelBuilder& kernel, Value x, int distance) {
  return Shuffle(kernel, x, NVVM::ShflKind::up, distance, 0);
}

Value OfLastInWarp(KernelBuilder& kernel, Value x) {
  return Shuffle(kernel, x, NVVM::ShflKind::idx, kWarp - 1, kWarp - 1);
}

Value Ballot(KernelBuilder& kernel, Value condition) {
  mlir::ImplicitLocOpBuilder& b = kernel.b();
  const Type i32 = b.getI32Type();
  Value all = arith::ConstantIntOp::create(b, i32, -1);
  return NVVM::VoteSyncOp::create(b, i32, all, condition, NVVM::VoteSyncKind::ballot);
}

SharedArrays::SharedArrays(KernelBuilder& kernel, const std::vector<Value>& like, int64_t size)
    : kernel_(kernel) {
  for (Value value : like) {
    types_.push_back(value.getType());
    const int64_t bytes = ElementBytes(mlir::getElementTypeOrSelf(value.getType())) *
                          std::max<int64_t>(1, ScalarEmitter::LanesOf(value));
    arrays_.push_back(kernel.SharedMemory(bytes * size));
  }
}

void SharedArrays::Store(const std::vector<Value>& values, Value at) {
  for (size_t i = 0; i < values.size(); ++i) {
    kernel_.StoreShared(values[i], arrays_[i], at);
  }
}

std::vector<Value> SharedArrays::Load(Value at) {
  std::vector<Value> values;
  for (size_t i = 0; i < types_.size(); ++i) {
    values.push_back(kernel_.LoadShared(types_[i], arrays_[i], at));
  }
  return values;
}

Team::Team(KernelBuilder& kernel, int64_t size) : kernel_(kernel), size_(size) {
  Value thread = ThreadInBlock(kernel), block = BlockInGrid(kernel);
  rank_ = kernel.Rem(thread, size);
  number_ = kernel.Add(kernel.Mul(block, per_block()), kernel.Div(thread, size));
  if (size > kWarp) {
    rank_ = thread;
    number_ = block;
  }
}

int Team::block_threads() const {
  return size_ > kWarp ? static_cast<int>(size_) : kThreadsPerBlock;
}

Team::Values Team::Reduce(Values values,
                          const std::function<Values(const Values&, const Values&)>& combine) {
  auto in_warp = [&](int64_t threads) {
    for (int64_t distance = threads / 2; distance > 0; distance /= 2) {
      Values others;
      for (Value value : values) {
        others.push_back(ShuffleXor(kernel_, value, static_cast<int>(distance)));
      }
      values = combine(values, others);
    }
  };
  in_warp(std::min<int64_t>(size_, kWarp));
  if (size_ <= kWarp) return values;
  // Each warp's share; then each warp adds up all of them.
  SharedArrays shares(kernel_, values, size_ / kWarp);
  Value lane = kernel_.Rem(rank_, kWarp);
  kernel_.If(kernel_.Equal(lane, kernel_.I64(0)),
             [&] { shares.Store(values, kernel_.Div(rank_, kWarp)); });
  Barrier(kernel_);
  values = shares.Load(kernel_.Rem(lane, size_ / kWarp));
  in_warp(size_ / kWarp);
  return values;
}

}  // namespace weft
