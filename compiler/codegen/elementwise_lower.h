// The code of element-wise ops, from the expressions in graph/ops/elementwise.td.
#ifndef WEFT_COMPILER_CODEGEN_ELEMENTWISE_LOWER_H_
#define WEFT_COMPILER_CODEGEN_ELEMENTWISE_LOWER_H_

#include "absl/types/span.h"
#include "compiler/codegen/scalar_emitter.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Operation.h"

namespace weft {

// The code of an element-wise op on its operands; null where the op is not element-wise.
Element EmitElementwise(ScalarEmitter& e, mlir::Operation* op, absl::Span<const Element> operands);
// The number that all elements of a splat are, bit for bit.
Element EmitSplat(ScalarEmitter& e, mlir::DenseElementsAttr splat);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_ELEMENTWISE_LOWER_H_
