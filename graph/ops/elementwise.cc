#include "graph/ops/infer.h"

namespace weft {

// All element-wise ops: operands of one shape, which is the result's. An operand named `condition`
// is bool; then the rules about the others have numbers one higher.
absl::Status InferElementwise(InferContext& c) {
  int first = c.op().operands[0].name == "condition" ? 1 : 0;
  if (first == 1 && c.dtype(0) != DataType::kBool) {
    return c.Error(1, "a bool condition", c.operand(0).ToString());
  }
  if (absl::Status s = c.CheckSameDType(first + 1, first); !s.ok()) return s;
  for (int i = 1; i < c.num_operands(); ++i) {
    if (c.shape(i) != c.shape(0)) {
      return c.Error(first + 2, "operands of one shape",
                     c.operand(0).ToString() + " and " + c.operand(i).ToString());
    }
  }
  DataType dtype = c.dtype(first);
  if (c.op().result_dtype == "bool") dtype = DataType::kBool;
  if (c.op().result_dtype == "attribute") dtype = c.attributes().DType("dtype");
  c.AddResult(dtype, c.shape(0));
  return absl::OkStatus();
}

}  // namespace weft
