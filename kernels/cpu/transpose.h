// Squares of elements turned in registers.
#ifndef WEFT_KERNELS_CPU_TRANSPOSE_H_
#define WEFT_KERNELS_CPU_TRANSPOSE_H_

#include "llvm/ADT/ArrayRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Value.h"

namespace weft::cpu {

// Exchanges lane j of rows[i] with lane i of rows[j], for n vectors of n lanes, n a power of two:
// n log2 n shuffles.
void TransposeSquare(mlir::ImplicitLocOpBuilder& b, llvm::MutableArrayRef<mlir::Value> rows);

}  // namespace weft::cpu

#endif  // WEFT_KERNELS_CPU_TRANSPOSE_H_
