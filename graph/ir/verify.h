// The trait by which every op of the dialect is verified against its entry in the op table.
#ifndef WEFT_GRAPH_IR_VERIFY_H_
#define WEFT_GRAPH_IR_VERIFY_H_

#include "mlir/IR/OpDefinition.h"

namespace weft::ir {

// Checks operands, attributes, and that the result types are those that shape inference gives.
// Emits a located error where they are not. For a graph, the rules about it as a whole as well.
llvm::LogicalResult VerifyByTable(mlir::Operation* op);

template <typename ConcreteType>
class VerifiedByTable : public mlir::OpTrait::TraitBase<ConcreteType, VerifiedByTable> {
 public:
  // After the regions, since those of control flow hold the types to compare with.
  static llvm::LogicalResult verifyRegionTrait(mlir::Operation* op) { return VerifyByTable(op); }
};

}  // namespace weft::ir

#endif  // WEFT_GRAPH_IR_VERIFY_H_
