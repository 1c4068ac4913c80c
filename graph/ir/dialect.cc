#include "graph/ir/dialect.h"

#include "graph/ir/dialect.cc.inc"
#include "graph/ir/load_dialect.h"

void weft::ir::LoadDialect(mlir::MLIRContext* context) { context->loadDialect<WeftDialect>(); }

void weft::ir::WeftDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "graph/ir/ops.cc.inc"
#undef GET_OP_LIST
      >();
}

#define GET_OP_CLASSES
#include "graph/ir/ops.cc.inc"
#undef GET_OP_CLASSES
