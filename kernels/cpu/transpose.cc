#include "kernels/cpu/transpose.h"

#include "llvm/ADT/SmallVector.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace weft::cpu {

void TransposeSquare(mlir::ImplicitLocOpBuilder& b, llvm::MutableArrayRef<mlir::Value> rows) {
  const size_t n = rows.size();
  // The off-diagonal halves of ever smaller squares change places.
  for (size_t distance = n / 2; distance > 0; distance /= 2) {
    llvm::SmallVector<int64_t> low, high;
    for (size_t l = 0; l < n; ++l) {
      const bool in_high = (l & distance) != 0;
      low.push_back(static_cast<int64_t>(in_high ? n + l - distance : l));
      high.push_back(static_cast<int64_t>(in_high ? n + l : l + distance));
    }
    for (size_t i = 0; i < n; ++i) {
      if (i & distance) continue;
      mlir::Value upper = rows[i], lower = rows[i + distance];
      rows[i] = mlir::vector::ShuffleOp::create(b, upper, lower, low);
      rows[i + distance] = mlir::vector::ShuffleOp::create(b, upper, lower, high);
    }
  }
}

}  // namespace weft::cpu
