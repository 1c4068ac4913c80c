// Short ways to make ops in passes, each at the builder's place, with the location `loc` or that of
// the op that they replace. Types are inferred. Wrong operands are bugs of the pass: they are
// reported as an error diagnostic at that location, and a value of the first operand's type stands
// for the result; the pass looks for such an error (diagnostics.h) after each rewrite, and gives
// up.
#ifndef WEFT_COMPILER_PASSES_BUILD_OPS_H_
#define WEFT_COMPILER_PASSES_BUILD_OPS_H_

#include <cstdint>
#include <string_view>

#include "llvm/ADT/ArrayRef.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Operation.h"
#include "proto/dim_expr.h"
#include "proto/dtype.h"

namespace weft {

class OpMaker {
 public:
  OpMaker(mlir::OpBuilder& builder, mlir::Location loc) : builder_(builder), loc_(loc) {}
  // What is made is marked to be computed again (graph/ir/recompute.h) where `replaced` is, and on
  // its device.
  OpMaker(mlir::OpBuilder& builder, mlir::Operation* replaced);

  // An op without attributes but those with defaults.
  mlir::Value Make(std::string_view op, mlir::ValueRange operands);
  // Any op; the attributes in any order.
  mlir::Value Make(std::string_view op, mlir::ValueRange operands,
                   llvm::ArrayRef<mlir::NamedAttribute> attributes);

  // x itself where it has that shape or type already.
  mlir::Value Reshape(mlir::Value x, const Shape& shape);
  mlir::Value Broadcast(mlir::Value x, const Shape& shape);
  mlir::Value Cast(mlir::Value x, DataType dtype);
  mlir::Value Transpose(mlir::Value x, llvm::ArrayRef<int64_t> permutation);
  // reduce_*.
  mlir::Value Reduce(std::string_view op, mlir::Value x, llvm::ArrayRef<int64_t> axes,
                     bool keep_dims = false);
  mlir::Value Scalar(DataType dtype, double value);
  mlir::Value Full(DataType dtype, const Shape& shape, double value);
  mlir::Value Pad(mlir::Value x, double value, const Shape& low, const Shape& high,
                  llvm::ArrayRef<int64_t> interior);

  mlir::NamedAttribute Ints(std::string_view name, llvm::ArrayRef<int64_t> value);
  mlir::NamedAttribute Int(std::string_view name, int64_t value);
  mlir::NamedAttribute Bool(std::string_view name, bool value);
  mlir::NamedAttribute Dims(std::string_view name, const Shape& value);

 private:
  mlir::OpBuilder& builder_;
  mlir::Location loc_;
  mlir::Attribute recompute_, device_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_BUILD_OPS_H_
