// Putting ops into a fusion.
#ifndef WEFT_COMPILER_PASSES_MAKE_FUSION_H_
#define WEFT_COMPILER_PASSES_MAKE_FUSION_H_

#include <string_view>

#include "compiler/plan_dialect/plan.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace weft {

// What a fusion is made of.
struct FusionParts {
  mlir::Location location;
  llvm::StringRef kind;     // plan.h's
  std::string_view device;  // as ir::SetDevice takes it
  // Operands of the ops that others make, and those that the fusion has in their places.
  llvm::ArrayRef<mlir::Value> inputs, operands;
  llvm::ArrayRef<mlir::Operation*> ops;  // in order
  llvm::ArrayRef<mlir::Value> outputs;   // of the ops: the fusion's results
};

// A fusion where the builder stands, of copies of the ops.
plan::FusionOp MakeFusion(mlir::OpBuilder& builder, const FusionParts& parts);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_MAKE_FUSION_H_
