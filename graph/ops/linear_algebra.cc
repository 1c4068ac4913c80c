#include "graph/ops/infer.h"

namespace weft {

absl::Status InferMatMul(InferContext& c) {
  if (absl::Status s = c.CheckSameDType(1); !s.ok()) return s;
  const Shape &a = c.shape(0), &b = c.shape(1);
  std::string got = c.operand(0).ToString() + " and " + c.operand(1).ToString();
  int64_t rank = c.rank(0);
  if (rank < 2 || (c.rank(1) != rank && c.rank(1) != 2)) {
    return c.Error(2, "operands of one rank >= 2, or b of rank 2", got);
  }
  if (c.rank(1) == rank) {
    for (int64_t i = 0; i < rank - 2; ++i) {
      if (a[i] != b[i]) return c.Error(3, "equal batch dimensions", got);
    }
  }
  bool transpose_a = c.attributes().Bool("transpose_a");
  bool transpose_b = c.attributes().Bool("transpose_b");
  // Dimensions counted from the end: [m, k] x [k, n].
  const DimExpr& m = a[rank - (transpose_a ? 1 : 2)];
  const DimExpr& k = a[rank - (transpose_a ? 2 : 1)];
  const DimExpr& b_k = b[b.size() - (transpose_b ? 1 : 2)];
  const DimExpr& n = b[b.size() - (transpose_b ? 2 : 1)];
  if (k != b_k) {
    return c.Error(4, "equal contracted dimensions",
                   k.Text() + " and " + b_k.Text() + " of " + got +
                       (transpose_a ? ", a transposed" : "") +
                       (transpose_b ? ", b transposed" : ""));
  }
  Shape shape(a.begin(), a.end() - 2);
  shape.push_back(m);
  shape.push_back(n);
  c.AddResult(c.dtype(0), std::move(shape));
  return absl::OkStatus();
}

}  // namespace weft
