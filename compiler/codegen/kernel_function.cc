#include "compiler/codegen/kernel_function.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "compiler/codegen/scalar_emitter.h"
#include "graph/ir/types.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace weft {

using mlir::Value;

KernelFunction::KernelFunction(plan::FusionOp fusion, mlir::ModuleOp kernels,
                               const std::string& stem, std::vector<DimExpr> sizes)
    : fusion_(fusion),
      sizes_(std::move(sizes)),
      ops_(kernels.getContext()),
      kb_(ops_, fusion.getLoc()) {
  mlir::MLIRContext* context = kernels.getContext();
  mlir::Type pointer = mlir::LLVM::LLVMPointerType::get(context);
  mlir::Type i64 = ops_.getI64Type();
  auto type = ops_.getFunctionType({pointer, pointer, i64, i64, pointer}, {});
  std::string name;
  for (size_t number = kernels.getBody()->getOperations().size();; ++number) {
    name = absl::StrCat(stem, "_", number);
    if (kernels.lookupSymbol(name) == nullptr) break;
  }
  ops_.setInsertionPointToEnd(kernels.getBody());
  function_ = mlir::func::FuncOp::create(ops_, fusion.getLoc(), name, type);
  ops_.setInsertionPointToStart(function_.addEntryBlock());
}

Value KernelFunction::Buffer(int index) {
  mlir::OpBuilder::InsertionGuard guard(ops_);
  Value slot = kb_.At(function_.getArgument(0), index, ops_.getI64Type());
  return kb_.Load(slot, mlir::LLVM::LLVMPointerType::get(ops_.getContext()), 8);
}

Value KernelFunction::BufferOf(Value argument) {
  return Buffer(static_cast<int>(mlir::cast<mlir::BlockArgument>(argument).getArgNumber()));
}

Value KernelFunction::ResultBufferOf(Value value) {
  auto yielded = fusion_.yield()->getOperands();
  for (size_t i = 0; i < yielded.size(); ++i) {
    if (yielded[i] == value) return Buffer(static_cast<int>(fusion_->getNumOperands() + i));
  }
  return nullptr;
}

Value KernelFunction::Size(int index) {
  if (std::optional<int64_t> constant = sizes_[index].Constant()) return kb_.Constant(*constant);
  return kb_.Load(kb_.At(function_.getArgument(1), index, ops_.getI64Type()), ops_.getI64Type(), 8);
}

Value KernelFunction::Size(const DimExpr& expression) {
  mlir::OpBuilder::InsertionGuard guard(ops_);
  ops_.setInsertionPointToStart(&function_.getBody().front());
  auto known = std::find(sizes_.begin(), sizes_.end(), expression);
  if (known == sizes_.end() && !expression.IsConstant()) {
    known = sizes_.insert(sizes_.end(), expression);
  }
  if (known == sizes_.end()) return kb_.Constant(*expression.Constant());
  return Size(static_cast<int>(known - sizes_.begin()));
}

void KernelFunction::ForTiles(const std::function<void(Value)>& body) {
  kb_.For(kb_.Sub(end(), begin()), [&](Value i) { body(kb_.Add(begin(), i)); });
}

void KernelFunction::Finish(KernelSpec& spec) {
  mlir::func::ReturnOp::create(ops_, fusion_.getLoc());
  spec.symbol = function_.getSymName().str();
  spec.sizes = sizes_;
}

mlir::Type StoredType(mlir::MLIRContext* context, DataType dtype) {
  mlir::Type type = ir::ElementTypeOf(context, dtype);
  // Signs are in the operations, not in the types, from here on.
  if (type.isUnsignedInteger())
    return mlir::IntegerType::get(context, type.getIntOrFloatBitWidth());
  return type;
}

mlir::Type ComputeType(mlir::MLIRContext* context, DataType dtype) {
  if (dtype == DataType::kF16 || dtype == DataType::kBF16) return mlir::Float32Type::get(context);
  return StoredType(context, dtype);
}

// Loads and stores of bf16 go as i16: where LLVM takes such a vector apart, it would otherwise
// convert its lanes through a library.
static mlir::VectorType AsMoved(mlir::VectorType type) {
  if (!type.getElementType().isBF16()) return type;
  return mlir::VectorType::get(type.getShape(), mlir::IntegerType::get(type.getContext(), 16));
}

Value LoadElements(cpu::KernelBuilder& kb, Value pointer, Value index, DataType dtype,
                   int64_t lanes, Value mask) {
  mlir::ImplicitLocOpBuilder builder(kb.location(), kb.b);
  ScalarEmitter emitter(builder);
  auto type = mlir::cast<mlir::VectorType>(emitter.MemoryType(dtype, lanes));
  mlir::VectorType moved = AsMoved(type);
  Value value = kb.LoadVector(kb.At(pointer, index, moved.getElementType()), moved, mask);
  if (moved != type) value = mlir::arith::BitcastOp::create(kb.b, kb.location(), type, value);
  builder.restoreInsertionPoint(kb.b.saveInsertionPoint());
  return emitter.FromMemory(value, dtype).value;
}

void StoreElements(cpu::KernelBuilder& kb, Value value, Value pointer, Value index, DataType dtype,
                   Value mask) {
  mlir::ImplicitLocOpBuilder builder(kb.location(), kb.b);
  ScalarEmitter emitter(builder);
  // Sums in f32 are rounded to the narrow type here.
  const DataType wide = ScalarEmitter::AccumulatorType(dtype);
  Element element = emitter.FromAccumulator(Element{value, wide}, dtype);
  Value stored = emitter.ToMemory(element);
  auto type = mlir::cast<mlir::VectorType>(stored.getType());
  kb.b.restoreInsertionPoint(builder.saveInsertionPoint());
  mlir::VectorType moved = AsMoved(type);
  if (moved != type) stored = mlir::arith::BitcastOp::create(kb.b, kb.location(), moved, stored);
  kb.StoreVector(stored, kb.At(pointer, index, type.getElementType()), mask);
}

void ForLanes(cpu::KernelBuilder& kb, Value begin, Value end, int64_t lanes,
              const std::function<void(Value, Value)>& body) {
  Value count = kb.Sub(end, begin);
  Value whole = kb.Div(count, lanes);
  kb.For(whole, [&](Value block) { body(kb.Add(begin, kb.Mul(block, lanes)), nullptr); });
  Value first = kb.Add(begin, kb.Mul(whole, lanes));
  kb.If(kb.Less(first, end), [&] { body(first, kb.Mask(first, end, lanes)); });
}

}  // namespace weft
