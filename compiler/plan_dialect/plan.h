// The plan dialect: op classes that mlir-tblgen makes from plan.td.
#ifndef WEFT_COMPILER_PLAN_DIALECT_PLAN_H_
#define WEFT_COMPILER_PLAN_DIALECT_PLAN_H_

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "proto/dim_expr.h"

// Generated:
#include "compiler/plan_dialect/plan_dialect.h.inc"

#define GET_OP_CLASSES
#include "compiler/plan_dialect/plan_ops.h.inc"
#undef GET_OP_CLASSES

namespace weft::plan {

// Kinds of fusion; see compiler/codegen/emit.h for what each may hold.
inline constexpr char kLoop[] = "loop";
inline constexpr char kRow[] = "row";
inline constexpr char kColumn[] = "column";
inline constexpr char kContraction[] = "contraction";
inline constexpr char kWindow[] = "window";
inline constexpr char kScatter[] = "scatter";
inline constexpr char kScan[] = "scan";
inline constexpr char kPack[] = "pack";

// The type of plan.pack's result for an operand of type `x`.
mlir::RankedTensorType PackedType(mlir::RankedTensorType x, int64_t panel, int64_t k_dims,
                                  int64_t groups, bool transpose);

}  // namespace weft::plan

#endif  // WEFT_COMPILER_PLAN_DIALECT_PLAN_H_
