// Shorthand for emitting kernels: arithmetic on sizes that folds constants, and typed access to raw
// memory.
#ifndef WEFT_KERNELS_CPU_BUILDER_H_
#define WEFT_KERNELS_CPU_BUILDER_H_

#include <cstdint>
#include <functional>
#include <optional>

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Value.h"

namespace weft::cpu {

// Emits at the insertion point of an OpBuilder that it does not own. Sizes and indices are i64.
class KernelBuilder {
 public:
  KernelBuilder(mlir::OpBuilder& builder, mlir::Location location)
      : b(builder), location_(location) {}

  mlir::OpBuilder& b;
  mlir::Location location() const { return location_; }

  mlir::Value Constant(int64_t value);
  static std::optional<int64_t> ConstantOf(mlir::Value value);
  static bool IsConstant(mlir::Value value, int64_t expected) {
    return ConstantOf(value) == expected;
  }
  // Constants fold, and so do x + 0, x * 1, x * 0.
  mlir::Value Add(mlir::Value x, mlir::Value y);
  mlir::Value Sub(mlir::Value x, mlir::Value y);
  mlir::Value Mul(mlir::Value x, mlir::Value y);
  mlir::Value Add(mlir::Value x, int64_t y) { return Add(x, Constant(y)); }
  mlir::Value Mul(mlir::Value x, int64_t y) { return Mul(x, Constant(y)); }
  // Of values >= 0, divisor > 0.
  mlir::Value Div(mlir::Value x, mlir::Value y);
  mlir::Value Rem(mlir::Value x, mlir::Value y);
  mlir::Value Div(mlir::Value x, int64_t y) { return Div(x, Constant(y)); }
  mlir::Value Rem(mlir::Value x, int64_t y) { return Rem(x, Constant(y)); }
  mlir::Value CeilDiv(mlir::Value x, int64_t y) { return Div(Add(x, y - 1), y); }
  mlir::Value Min(mlir::Value x, mlir::Value y);
  mlir::Value Max(mlir::Value x, mlir::Value y);
  mlir::Value Less(mlir::Value x, mlir::Value y);
  mlir::Value Equal(mlir::Value x, mlir::Value y);

  // pointer + index elements of `element` (bool is a byte).
  mlir::Value At(mlir::Value pointer, mlir::Value index, mlir::Type element);
  mlir::Value At(mlir::Value pointer, int64_t index, mlir::Type element);
  mlir::Value Load(mlir::Value pointer, mlir::Type type, int64_t alignment);
  void Store(mlir::Value value, mlir::Value pointer, int64_t alignment);
  // Vectors whose lanes are read or written only where `mask` is set; others read as 0. Without a
  // mask (null), all lanes.
  mlir::Value LoadVector(mlir::Value pointer, mlir::VectorType type, mlir::Value mask);
  void StoreVector(mlir::Value value, mlir::Value pointer, mlir::Value mask);
  mlir::Value Splat(mlir::Value scalar, int64_t lanes);
  mlir::Value Zero(mlir::Type type);
  // Lane l is set where first + l < limit.
  mlir::Value Mask(mlir::Value first, mlir::Value limit, int64_t lanes);

  // for (i = 0; i < count; ++i), with values carried from one round to the next. Nothing is emitted
  // for a constant count of 0; the body goes in as it stands for a constant 1.
  using Values = llvm::SmallVector<mlir::Value>;
  Values For(mlir::Value count, llvm::ArrayRef<mlir::Value> carried,
             const std::function<Values(mlir::Value i, mlir::ValueRange carried)>& body);
  void For(mlir::Value count, const std::function<void(mlir::Value i)>& body);
  // A constant condition leaves one branch.
  Values If(mlir::Value condition, mlir::TypeRange types, const std::function<Values()>& then,
            const std::function<Values()>& otherwise);
  void If(mlir::Value condition, const std::function<void()>& then,
          const std::function<void()>& otherwise = {});

 private:
  mlir::Location location_;
};

// Bytes of one element in memory.
int64_t ElementBytes(mlir::Type element);

}  // namespace weft::cpu

#endif  // WEFT_KERNELS_CPU_BUILDER_H_
