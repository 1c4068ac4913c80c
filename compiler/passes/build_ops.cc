#include "compiler/passes/build_ops.h"

#include "absl/strings/str_cat.h"
#include "graph/ir/create.h"
#include "graph/ir/device.h"
#include "graph/ir/dialect.h"
#include "graph/ir/recompute.h"
#include "graph/ir/types.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "proto/host_tensor.h"

namespace weft {
namespace {

llvm::StringRef Ref(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

OpMaker::OpMaker(mlir::OpBuilder& builder, mlir::Operation* replaced)
    : builder_(builder),
      loc_(replaced->getLoc()),
      recompute_(replaced->getAttr(ir::kRecomputeAttr)),
      device_(replaced->getAttr(ir::kDeviceAttr)) {}

mlir::Value OpMaker::Make(std::string_view op, mlir::ValueRange operands) {
  return Make(op, operands, {});
}

mlir::Value OpMaker::Make(std::string_view op, mlir::ValueRange operands,
                          llvm::ArrayRef<mlir::NamedAttribute> attributes) {
  absl::StatusOr<mlir::Operation*> made =
      absl::NotFoundError(absl::StrCat("there is no op '", std::string(op), "'"));
  if (const OpInfo* info = FindOp(op)) {
    made = ir::DeriveOp(builder_, *info, operands, attributes, loc_);
  }
  if (made.ok()) {
    if (recompute_ && ir::MayRecompute(*ir::InfoOf(*made))) {
      (*made)->setAttr(ir::kRecomputeAttr, recompute_);
    }
    if (device_) (*made)->setAttr(ir::kDeviceAttr, device_);
    return (*made)->getResult(0);
  }
  mlir::emitError(loc_) << std::string(made.status().message());
  // Stands in for the result until the pass is given up.
  mlir::Type type = operands.empty() ? ir::MakeTensorType(builder_.getContext(), DataType::kF32, {})
                                     : operands.front().getType();
  return mlir::UnrealizedConversionCastOp::create(builder_, loc_, type, mlir::ValueRange())
      .getResult(0);
}

mlir::Value OpMaker::Reshape(mlir::Value x, const Shape& shape) {
  if (ir::ShapeOf(x) == shape) return x;
  return Make("reshape", x, Dims("shape", shape));
}

mlir::Value OpMaker::Broadcast(mlir::Value x, const Shape& shape) {
  if (ir::ShapeOf(x) == shape) return x;
  return Make("broadcast", x, Dims("shape", shape));
}

mlir::Value OpMaker::Cast(mlir::Value x, DataType dtype) {
  if (ir::DataTypeOf(x) == dtype) return x;
  return Make("cast", x,
              builder_.getNamedAttr(
                  "dtype", mlir::TypeAttr::get(ir::ElementTypeOf(builder_.getContext(), dtype))));
}

mlir::Value OpMaker::Transpose(mlir::Value x, llvm::ArrayRef<int64_t> permutation) {
  return Make("transpose", x, Ints("permutation", permutation));
}

mlir::Value OpMaker::Reduce(std::string_view op, mlir::Value x, llvm::ArrayRef<int64_t> axes,
                            bool keep_dims) {
  return Make(op, x, {Ints("axes", axes), Bool("keep_dims", keep_dims)});
}

mlir::Value OpMaker::Scalar(DataType dtype, double value) {
  const mlir::Attribute attribute = WithType(dtype, [&](auto zero) -> mlir::Attribute {
    using T = decltype(zero);
    T element;
    if constexpr (std::is_same_v<T, BF16>) {
      element = BF16(static_cast<float>(value));
    } else {
      element = static_cast<T>(value);
    }
    return ir::SplatAttrOf(builder_.getContext(), dtype, {}, &element);
  });
  return Make("constant", {}, builder_.getNamedAttr("value", attribute));
}

mlir::Value OpMaker::Full(DataType dtype, const Shape& shape, double value) {
  return Broadcast(Scalar(dtype, value), shape);
}

mlir::Value OpMaker::Pad(mlir::Value x, double value, const Shape& low, const Shape& high,
                         llvm::ArrayRef<int64_t> interior) {
  return Make("pad", {x, Scalar(ir::DataTypeOf(x), value)},
              {Dims("low", low), Dims("high", high), Ints("interior", interior)});
}

mlir::NamedAttribute OpMaker::Ints(std::string_view name, llvm::ArrayRef<int64_t> value) {
  return builder_.getNamedAttr(Ref(name), builder_.getDenseI64ArrayAttr(value));
}
mlir::NamedAttribute OpMaker::Int(std::string_view name, int64_t value) {
  return builder_.getNamedAttr(Ref(name), builder_.getI64IntegerAttr(value));
}
mlir::NamedAttribute OpMaker::Bool(std::string_view name, bool value) {
  return builder_.getNamedAttr(Ref(name), builder_.getBoolAttr(value));
}
mlir::NamedAttribute OpMaker::Dims(std::string_view name, const Shape& value) {
  return builder_.getNamedAttr(Ref(name), ir::DimArrayAttr(builder_.getContext(), value));
}

}  // namespace weft
