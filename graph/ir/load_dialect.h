// Loads the dialect without including its op classes, which take seconds to compile.
#ifndef WEFT_GRAPH_IR_LOAD_DIALECT_H_
#define WEFT_GRAPH_IR_LOAD_DIALECT_H_

namespace mlir {
class MLIRContext;
}

namespace weft::ir {

// Before the first op or module of the dialect is made in a context.
void LoadDialect(mlir::MLIRContext* context);

}  // namespace weft::ir

#endif  // WEFT_GRAPH_IR_LOAD_DIALECT_H_
