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

}  // namespace weft
