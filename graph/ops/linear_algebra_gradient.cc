#include "graph/ops/gradient_support.h"

namespace weft {
namespace {

// All but the last dimension as one.
Tensor Flatten(Tensor x) {
  Shape shape = x.shape();
  const DimExpr last = shape.back();
  shape.pop_back();
  return Reshape(x, {NumElements(shape), last});
}

}  // namespace

// With A and B the operands as they are multiplied (transposed or not): Y = A B, dA = dY B^T,
// dB = A^T dY, written so that nothing is transposed in memory.
absl::Status GradientMatMul(GradientContext& c) {
  const bool ta = c.attributes().Bool("transpose_a"), tb = c.attributes().Bool("transpose_b");
  Tensor a = c.operand(0), b = c.operand(1), dy = c.dy(0);
  const bool shared = b.rank() < a.rank();  // one matrix b for the whole batch
  if (c.needs(0)) {
    if (!ta) {
      c.SetGradient(0, MatMul(dy, b, false, !tb));
    } else if (!shared) {
      c.SetGradient(0, MatMul(b, dy, tb, true));
    } else {
      c.SetGradient(0, TransposeLastTwo(MatMul(dy, b, false, !tb)));
    }
  }
  if (c.needs(1)) {
    bool a_transposed = ta;
    if (shared) {  // the batch is summed over, like rows
      a = Flatten(ta ? TransposeLastTwo(a) : a);
      dy = Flatten(dy);
      a_transposed = false;
    }
    c.SetGradient(1, tb ? MatMul(dy, a, true, a_transposed) : MatMul(a, dy, !a_transposed, false));
  }
  return absl::OkStatus();
}

}  // namespace weft
