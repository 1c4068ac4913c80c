#include "graph/ops/infer.h"

namespace weft {
namespace {

absl::Status CheckIndices(const InferContext& c, int operand, bool also_u8) {
  DataType dtype = c.dtype(operand);
  if (dtype == DataType::kI32 || dtype == DataType::kI64 || (also_u8 && dtype == DataType::kU8)) {
    return absl::OkStatus();
  }
  return c.Error(1, also_u8 ? "indices of dtype i32, i64 or u8" : "indices of dtype i32 or i64",
                 c.operand(operand).ToString());
}

}  // namespace

absl::Status InferGather(InferContext& c) {
  if (absl::Status s = CheckIndices(c, 1, false); !s.ok()) return s;
  absl::StatusOr<int64_t> axis = c.AxisAttribute(2, c.rank(0));
  if (!axis.ok()) return axis.status();
  const Shape& x = c.shape(0);
  Shape shape(x.begin(), x.begin() + *axis);
  shape.insert(shape.end(), c.shape(1).begin(), c.shape(1).end());
  shape.insert(shape.end(), x.begin() + *axis + 1, x.end());
  c.AddResult(c.dtype(0), std::move(shape));
  return absl::OkStatus();
}

absl::Status InferScatterAdd(InferContext& c) {
  if (absl::Status s = c.CheckDType(0); !s.ok()) return s;
  if (absl::Status s = CheckIndices(c, 1, false); !s.ok()) return s;
  if (c.rank(0) == 0) return c.Error(2, "x of rank >= 1", c.operand(0).ToString());
  Shape updates = c.shape(1);
  updates.insert(updates.end(), c.shape(0).begin() + 1, c.shape(0).end());
  TensorType expected{c.dtype(0), updates};
  if (c.operand(2) != expected) {
    return c.Error(2, "updates of type " + expected.ToString(), c.operand(2).ToString());
  }
  c.AddResult(c.dtype(0), c.shape(0));
  return absl::OkStatus();
}

absl::Status InferOneHot(InferContext& c) {
  if (absl::Status s = CheckIndices(c, 0, true); !s.ok()) return s;
  DimExpr depth = c.attributes().Dim("depth");
  if (depth.LowerBound().value_or(-1) < 0) {
    return c.Error(2, "a depth known to be >= 0", depth.Text());
  }
  Shape shape = c.shape(0);
  shape.push_back(depth);
  c.AddResult(c.attributes().DType("dtype"), std::move(shape));
  return absl::OkStatus();
}

}  // namespace weft
