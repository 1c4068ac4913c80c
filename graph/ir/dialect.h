// The weft dialect: op classes that mlir-tblgen makes from graph/ops/ops.td.
#ifndef WEFT_GRAPH_IR_DIALECT_H_
#define WEFT_GRAPH_IR_DIALECT_H_

#include "graph/ir/types.h"
#include "graph/ir/verify.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

// Generated:
#include "graph/ir/dialect.h.inc"

#define GET_OP_CLASSES
#include "graph/ir/control_flow/ops.h.inc"
#define GET_OP_CLASSES
#include "graph/ir/convolution/ops.h.inc"
#define GET_OP_CLASSES
#include "graph/ir/elementwise/ops.h.inc"
#define GET_OP_CLASSES
#include "graph/ir/indexing/ops.h.inc"
#define GET_OP_CLASSES
#include "graph/ir/linear_algebra/ops.h.inc"
#define GET_OP_CLASSES
#include "graph/ir/random/ops.h.inc"
#define GET_OP_CLASSES
#include "graph/ir/reduction/ops.h.inc"
#define GET_OP_CLASSES
#include "graph/ir/shape/ops.h.inc"
#define GET_OP_CLASSES
#include "graph/ir/state/ops.h.inc"

#endif  // WEFT_GRAPH_IR_DIALECT_H_
