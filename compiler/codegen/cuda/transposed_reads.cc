#include "compiler/codegen/cuda/transposed_reads.h"

#include <algorithm>
#include <vector>

#include "compiler/codegen/estimate.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"

namespace weft {
namespace {

constexpr double kSectorBytes = 32, kLaunchBytes = 1 << 22;

// Dimensions of a transpose's result that are not 1, in order.
struct Dimensions {
  std::vector<DimExpr> sizes;
  std::vector<size_t> sources;  // places among those of the operand

  // Elements of the neighbours that end with dimension `last` on both sides.
  bool IsWide(size_t last) const {
    DimExpr elements = sizes[last];
    for (size_t i = last; i > 0 && sources[i - 1] + 1 == sources[i]; --i) {
      elements = elements * sizes[i - 1];
    }
    return elements.Constant().value_or(kNarrowestTransposed) >= kNarrowestTransposed;
  }
};

Dimensions DimensionsOf(ir::TransposeOp transpose) {
  const Shape shape = ir::ShapeOf(transpose.getResult());
  Dimensions dimensions;
  std::vector<int64_t> order;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i].Constant() == 1) continue;
    dimensions.sizes.push_back(shape[i]);
    order.push_back(transpose.getPermutation()[i]);
  }
  for (const int64_t source : order) {
    dimensions.sources.push_back(
        static_cast<size_t>(llvm::count_if(order, [&](int64_t other) { return other < source; })));
  }
  return dimensions;
}

}  // namespace

bool BelongsInMemory(mlir::Operation* transpose) {
  const Dimensions dimensions = DimensionsOf(llvm::cast<ir::TransposeOp>(transpose));
  if (dimensions.sizes.empty()) return false;
  const size_t last = dimensions.sizes.size() - 1;
  const size_t crossing =
      static_cast<size_t>(std::find(dimensions.sources.begin(), dimensions.sources.end(), last) -
                          dimensions.sources.begin());
  if (crossing == last || !dimensions.IsWide(last) || !dimensions.IsWide(crossing)) return false;
  mlir::Value result = transpose->getResult(0);
  double elements = 1;
  for (const DimExpr& size : dimensions.sizes) elements *= static_cast<double>(Estimate(size));
  const double moved = 3.0 * SizeOf(ir::DataTypeOf(result));
  return (kSectorBytes - moved) * elements > kLaunchBytes;
}

}  // namespace weft
