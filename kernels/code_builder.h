// Emitting code: arithmetic on sizes that folds constants, loops and branches, and vectors in raw
// memory. Nothing here depends on the kind of device.
#ifndef WEFT_KERNELS_CODE_BUILDER_H_
#define WEFT_KERNELS_CODE_BUILDER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Value.h"

namespace weft {

// Emits arith, scf, vector and llvm ops. Sizes, indices and conditions are scalars (i64, i1); where
// their operands are constants, so are results, so that one schedule serves known and open sizes.
class CodeBuilder {
 public:
  using Values = std::vector<mlir::Value>;

  // Starts at the end of `entry`, a function's first block, at whose beginning constants go.
  CodeBuilder(mlir::Location location, mlir::Block* entry);

  mlir::ImplicitLocOpBuilder& b() { return b_; }

  mlir::Value I64(int64_t value);
  static std::optional<int64_t> ConstantOf(mlir::Value value);
  static bool IsConstant(mlir::Value value, int64_t expected) {
    return ConstantOf(value) == expected;
  }

  mlir::Value Add(mlir::Value x, mlir::Value y);
  mlir::Value Sub(mlir::Value x, mlir::Value y);
  mlir::Value Mul(mlir::Value x, mlir::Value y);
  // Of values >= 0, divisor > 0.
  mlir::Value Div(mlir::Value x, mlir::Value y);
  mlir::Value Rem(mlir::Value x, mlir::Value y);
  mlir::Value CeilDiv(mlir::Value x, mlir::Value y);
  mlir::Value Min(mlir::Value x, mlir::Value y);
  mlir::Value Max(mlir::Value x, mlir::Value y);
  mlir::Value Add(mlir::Value x, int64_t y) { return Add(x, I64(y)); }
  mlir::Value Sub(mlir::Value x, int64_t y) { return Sub(x, I64(y)); }
  mlir::Value Mul(mlir::Value x, int64_t y) { return Mul(x, I64(y)); }
  mlir::Value Div(mlir::Value x, int64_t y) { return Div(x, I64(y)); }
  mlir::Value Rem(mlir::Value x, int64_t y) { return Rem(x, I64(y)); }
  mlir::Value CeilDiv(mlir::Value x, int64_t y) { return CeilDiv(x, I64(y)); }
  mlir::Value Min(mlir::Value x, int64_t y) { return Min(x, I64(y)); }
  mlir::Value Max(mlir::Value x, int64_t y) { return Max(x, I64(y)); }
  mlir::Value Less(mlir::Value x, mlir::Value y);
  mlir::Value Equal(mlir::Value x, mlir::Value y);
  mlir::Value Select(mlir::Value condition, mlir::Value x, mlir::Value y);

  // for (i = begin; i < end; i += step): `body` gets i and the carried values, and returns their
  // next ones. Nothing is emitted where there is known to be no round, no loop where there is one.
  using LoopBody = std::function<Values(mlir::Value i, mlir::ValueRange carried)>;
  Values For(mlir::Value begin, mlir::Value end, mlir::Value step, Values carried,
             const LoopBody& body);
  Values For(mlir::Value begin, mlir::Value end, int64_t step, Values carried,
             const LoopBody& body) {
    return For(begin, end, I64(step), std::move(carried), body);
  }
  void For(mlir::Value begin, mlir::Value end, int64_t step,
           const std::function<void(mlir::Value i)>& body);
  // for (i = 0; i < count; ++i).
  Values For(mlir::Value count, Values carried, const LoopBody& body) {
    return For(I64(0), count, 1, std::move(carried), body);
  }
  void For(mlir::Value count, const std::function<void(mlir::Value i)>& body) {
    For(I64(0), count, 1, body);
  }

  // Like For in steps of `lanes`, with a last incomplete step: `body` gets i, the mask of lanes
  // before `end` (null where all are), and the carried values. `extent` = end - begin where known.
  // With `lanes` 0, elements one by one.
  using VectorBody = std::function<Values(mlir::Value i, mlir::Value mask, mlir::ValueRange)>;
  Values VectorFor(mlir::Value begin, mlir::Value end, std::optional<int64_t> extent, int64_t lanes,
                   Values carried, const VectorBody& body);
  void VectorFor(mlir::Value begin, mlir::Value end, int64_t lanes,
                 const std::function<void(mlir::Value i, mlir::Value mask)>& body);

  // The values of one branch or the other, of `types`. A known condition leaves one branch.
  Values If(mlir::Value condition, mlir::TypeRange types, const std::function<Values()>& then,
            const std::function<Values()>& otherwise);
  // `otherwise` stands for the results where the condition does not hold.
  Values If(mlir::Value condition, Values otherwise, const std::function<Values()>& then);
  void If(mlir::Value condition, const std::function<void()>& then,
          const std::function<void()>& otherwise = {});

  // Lanes [0, count) of a mask; no lane where count < 0.
  mlir::Value Mask(mlir::Value count, int64_t lanes);
  mlir::Value Splat(mlir::Value scalar, int64_t lanes);
  mlir::Value Zero(mlir::Type type);

  // pointer + index elements of `element`.
  mlir::Value At(mlir::Value pointer, mlir::Value index, mlir::Type element);
  mlir::Value At(mlir::Value pointer, int64_t index, mlir::Type element);
  // Scalars and vectors, aligned as one element is. Lanes outside of `mask` (null: none) read as 0
  // and are not written. `invariant`: nothing in this function writes there.
  mlir::Value LoadAt(mlir::Value pointer, mlir::Type type, mlir::Value mask = nullptr,
                     bool invariant = false);
  void StoreAt(mlir::Value value, mlir::Value pointer, mlir::Value mask = nullptr);

 protected:
  // Emits one op at the start of the function, after those that came before in this way.
  mlir::Value InPrologue(const std::function<mlir::Value()>& emit);

 private:
  mlir::ImplicitLocOpBuilder b_;
  mlir::Block* entry_;
  mlir::Operation* prologue_end_ = nullptr;
  std::map<int64_t, mlir::Value> constants_;
};

// Bytes of one element in memory; bool (i1) is a byte, a pointer 8.
int64_t ElementBytes(mlir::Type element);

}  // namespace weft

#endif  // WEFT_KERNELS_CODE_BUILDER_H_
