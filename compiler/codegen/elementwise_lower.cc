#include "compiler/codegen/elementwise_lower.h"

#include "graph/ir/types.h"
#include "graph/ops/op_info.h"

namespace weft {

Element EmitElementwise(ScalarEmitter& e, mlir::Operation* op, absl::Span<const Element> operands) {
  const OpInfo* info = FindOp(std::string_view(op->getName().getStringRef()));
  [[maybe_unused]] const DataType dtype = ir::DataTypeOf(op->getResult(0));
  switch (info->index) {
#include "graph/ops/elementwise_lower.inc"
    default:
      return {};
  }
}

Element EmitSplat(ScalarEmitter& e, mlir::DenseElementsAttr splat) {
  const DataType dtype = ir::DataTypeOf(splat.getType());
  auto element = splat.getSplatValue<mlir::Attribute>();
  if (auto number = mlir::dyn_cast<mlir::FloatAttr>(element)) {
    return e.Constant(dtype, number.getValueAsDouble());
  }
  const llvm::APInt bits = mlir::cast<mlir::IntegerAttr>(element).getValue();
  return e.IntegerConstant(dtype, dtype == DataType::kBool || dtype == DataType::kU8
                                      ? static_cast<int64_t>(bits.getZExtValue())
                                      : bits.getSExtValue());
}

}  // namespace weft
