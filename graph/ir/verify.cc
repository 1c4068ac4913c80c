#include "graph/ir/verify.h"

#include "graph/ir/types.h"

llvm::LogicalResult weft::ir::VerifyByTable(mlir::Operation* op) {
  for (mlir::Type type : op->getResultTypes()) {
    if (!IsTensorType(type)) {
      return op->emitOpError("expected tensors whose open dimensions are named, got ") << type;
    }
  }
  return mlir::success();
}
