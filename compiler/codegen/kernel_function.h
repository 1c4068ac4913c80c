// The frame of a kernel: its function, its arguments, and typed access to buffers.
#ifndef WEFT_COMPILER_CODEGEN_KERNEL_FUNCTION_H_
#define WEFT_COMPILER_CODEGEN_KERNEL_FUNCTION_H_

#include <functional>
#include <string>
#include <vector>

#include "compiler/codegen/emit.h"
#include "compiler/plan_dialect/plan.h"
#include "kernels/cpu/builder.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "proto/dim_expr.h"
#include "proto/dtype.h"

namespace weft {

// Opens a kernel in a module and leaves the insertion point in its body; Finish closes it.
class KernelFunction {
 public:
  // `stem` starts the symbol's name, which a number makes unique in the module. `sizes` become the
  // kernel's size arguments, in this order.
  KernelFunction(plan::FusionOp fusion, mlir::ModuleOp kernels, const std::string& stem,
                 std::vector<DimExpr> sizes);

  cpu::KernelBuilder& builder() { return kb_; }
  // Pointer of operand or result `index` of the fusion: operands first.
  mlir::Value Buffer(int index);
  // The pointer of the buffer that a value of the body is read from: a block argument's.
  mlir::Value BufferOf(mlir::Value argument);
  // The pointer of the result that the body yields `value` as; null where it does not.
  mlir::Value ResultBufferOf(mlir::Value value);
  // Value of sizes[index]; a constant where the expression is one.
  mlir::Value Size(int index);
  // Value of any expression: a constant, or a size argument, which is added where there is none
  // yet. May be asked for anywhere in the function.
  mlir::Value Size(const DimExpr& expression);
  mlir::Value begin() { return function_.getArgument(2); }
  mlir::Value end() { return function_.getArgument(3); }
  mlir::Value scratch() { return function_.getArgument(4); }

  // for tile in [begin, end).
  void ForTiles(const std::function<void(mlir::Value tile)>& body);
  // Ends the function; `spec.symbol` and `spec.sizes` are filled in.
  void Finish(KernelSpec& spec);

 private:
  plan::FusionOp fusion_;
  std::vector<DimExpr> sizes_;
  mlir::OpBuilder ops_;
  cpu::KernelBuilder kb_;
  mlir::func::FuncOp function_;
};

// The type in memory of one element, and the one that arithmetic is done in: f32 for bf16 and f16.
mlir::Type StoredType(mlir::MLIRContext* context, DataType dtype);
mlir::Type ComputeType(mlir::MLIRContext* context, DataType dtype);

// `lanes` elements of `dtype` from `pointer` + `index` elements as a vector of the compute type,
// and back. Lanes that the mask (if not null) leaves out read as 0 and are not written.
mlir::Value LoadElements(cpu::KernelBuilder& kb, mlir::Value pointer, mlir::Value index,
                         DataType dtype, int64_t lanes, mlir::Value mask);
void StoreElements(cpu::KernelBuilder& kb, mlir::Value value, mlir::Value pointer,
                   mlir::Value index, DataType dtype, mlir::Value mask);

// Calls body(first, mask) for blocks of `lanes` of [begin, end): whole blocks with a null mask,
// then the rest, if any, with a mask.
void ForLanes(cpu::KernelBuilder& kb, mlir::Value begin, mlir::Value end, int64_t lanes,
              const std::function<void(mlir::Value first, mlir::Value mask)>& body);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_KERNEL_FUNCTION_H_
