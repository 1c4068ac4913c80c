// conv2d_input_grad by convolutions that kernels have.
#ifndef WEFT_COMPILER_PASSES_CONV_INPUT_GRAD_H_
#define WEFT_COMPILER_PASSES_CONV_INPUT_GRAD_H_

#include "absl/status/statusor.h"
#include "compiler/passes/build_ops.h"
#include "mlir/IR/Operation.h"

namespace weft {

// The value of a conv2d_input_grad, made by `make`. Error: InvalidArgument, naming the node, where
// the filter may be empty.
absl::StatusOr<mlir::Value> DecomposeConvInputGrad(mlir::Operation* op, OpMaker make);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_CONV_INPUT_GRAD_H_
