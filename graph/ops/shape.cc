#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "graph/ops/infer.h"

namespace weft {
namespace {

std::string Text(const std::vector<int64_t>& values) {
  return absl::StrCat("[", absl::StrJoin(values, ", "), "]");
}

bool KnownNonNegative(const DimExpr& e) { return e.LowerBound().value_or(-1) >= 0; }

}  // namespace

absl::Status InferReshape(InferContext& c) {
  Shape shape = c.attributes().Dims("shape");
  DimExpr total = NumElements(c.shape(0));
  auto open = std::find(shape.begin(), shape.end(), DimExpr(-1));
  if (open != shape.end()) {
    if (std::find(open + 1, shape.end(), DimExpr(-1)) != shape.end()) {
      return c.Error(2, "at most one dimension of -1", ToString(shape));
    }
    *open = 1;
    std::optional<DimExpr> size = DimExpr::DivideExactly(total, NumElements(shape));
    if (!size) {
      return c.Error(1, "sizes whose product divides " + total.Text(), NumElements(shape).Text());
    }
    *open = *size;
  }
  if (NumElements(shape) != total) {
    return c.Error(
        1, absl::StrCat("a shape of ", total.Text(), " elements, for ", c.operand(0).ToString()),
        absl::StrCat(ToString(shape), " of ", NumElements(shape).Text()));
  }
  c.SetDims("shape", shape);
  c.AddResult(c.dtype(0), std::move(shape));
  return absl::OkStatus();
}

absl::Status InferTranspose(InferContext& c) {
  std::vector<int64_t> permutation = c.attributes().Ints("permutation"), sorted = permutation;
  std::sort(sorted.begin(), sorted.end());
  bool good = static_cast<int64_t>(permutation.size()) == c.rank(0);
  for (size_t i = 0; i < sorted.size(); ++i) good &= sorted[i] == static_cast<int64_t>(i);
  if (!good) {
    return c.Error(1,
                   absl::StrCat("a permutation of the ", c.rank(0), " dimensions of ",
                                c.operand(0).ToString()),
                   Text(permutation));
  }
  Shape shape;
  for (int64_t i : permutation) shape.push_back(c.shape(0)[i]);
  c.AddResult(c.dtype(0), std::move(shape));
  return absl::OkStatus();
}

absl::Status InferBroadcast(InferContext& c) {
  Shape shape = c.attributes().Dims("shape");
  int64_t added = static_cast<int64_t>(shape.size()) - c.rank(0);
  if (added < 0) {
    return c.Error(1, absl::StrCat("a shape of rank >= ", c.rank(0)), ToString(shape));
  }
  for (int64_t i = 0; i < c.rank(0); ++i) {
    const DimExpr& from = c.shape(0)[i];
    if (from != DimExpr(1) && from != shape[added + i]) {
      return c.Error(2, "a shape that " + c.operand(0).ToString() + " can be repeated to",
                     ToString(shape));
    }
  }
  c.AddResult(c.dtype(0), std::move(shape));
  return absl::OkStatus();
}

absl::Status InferConcat(InferContext& c) {
  if (c.num_operands() == 0) return c.Error(1, "at least one operand", "none");
  if (absl::Status s = c.CheckSameDType(2); !s.ok()) return s;
  for (int i = 1; i < c.num_operands(); ++i) {
    if (c.rank(i) != c.rank(0)) {
      return c.Error(2, "operands of one rank",
                     c.operand(0).ToString() + " and " + c.operand(i).ToString());
    }
  }
  absl::StatusOr<int64_t> axis = c.AxisAttribute(3, c.rank(0));
  if (!axis.ok()) return axis.status();
  Shape shape = c.shape(0);
  for (int i = 1; i < c.num_operands(); ++i) {
    for (int64_t d = 0; d < c.rank(0); ++d) {
      if (d == *axis) {
        shape[d] = shape[d] + c.shape(i)[d];
      } else if (c.shape(i)[d] != shape[d]) {
        return c.Error(4, absl::StrCat("equal dimensions but for axis ", *axis),
                       c.operand(0).ToString() + " and " + c.operand(i).ToString());
      }
    }
  }
  c.AddResult(c.dtype(0), std::move(shape));
  return absl::OkStatus();
}

absl::Status InferSlice(InferContext& c) {
  Shape starts = c.attributes().Dims("starts"), limits = c.attributes().Dims("limits");
  std::vector<int64_t> steps = c.attributes().Ints("steps");
  size_t rank = c.shape(0).size();
  if (starts.size() != rank || limits.size() != rank || steps.size() != rank) {
    return c.Error(1, absl::StrCat(rank, " starts, limits and steps"),
                   absl::StrCat(starts.size(), ", ", limits.size(), " and ", steps.size()));
  }
  Shape shape;
  for (size_t i = 0; i < rank; ++i) {
    DimExpr length = limits[i] - starts[i];
    if (!KnownNonNegative(starts[i]) || !KnownNonNegative(c.shape(0)[i] - limits[i]) ||
        (c.declares() && length.Constant().value_or(0) < 0)) {
      return c.Error(
          2,
          absl::StrCat("0 <= start <= limit <= ", c.shape(0)[i].Text(), " in dimension ", i,
                       ", known without the open dimensions "
                       "(bound a limit by min)"),
          absl::StrCat("start ", starts[i].Text(), " and limit ", limits[i].Text()));
    }
    if (steps[i] < 1) return c.Error(3, "steps >= 1", Text(steps));
    shape.push_back(DimExpr::CeilDiv(NonNegative(length), steps[i]));
  }
  c.AddResult(c.dtype(0), std::move(shape));
  return absl::OkStatus();
}

absl::Status InferPad(InferContext& c) {
  if (c.rank(1) != 0 || c.dtype(1) != c.dtype(0)) {
    return c.Error(1, "a scalar value of dtype " + std::string(NameOf(c.dtype(0))),
                   c.operand(1).ToString());
  }
  Shape low = c.attributes().Dims("low"), high = c.attributes().Dims("high");
  std::vector<int64_t> interior = c.attributes().Ints("interior");
  size_t rank = c.shape(0).size();
  bool good = low.size() == rank && high.size() == rank && interior.size() == rank;
  for (size_t i = 0; good && i < rank; ++i) {
    good = KnownNonNegative(low[i]) && KnownNonNegative(high[i]) && interior[i] >= 0;
  }
  if (!good) {
    return c.Error(2,
                   absl::StrCat(rank, " numbers known to be >= 0 each for low, high and interior"),
                   absl::StrCat(ToString(low), ", ", ToString(high), " and ", Text(interior)));
  }
  Shape shape;
  for (size_t i = 0; i < rank; ++i) {
    const DimExpr& size = c.shape(0)[i];
    DimExpr gaps = interior[i] == 0 ? DimExpr(0) : NonNegative(size - DimExpr(1));
    shape.push_back(low[i] + size + gaps * DimExpr(interior[i]) + high[i]);
  }
  c.AddResult(c.dtype(0), std::move(shape));
  return absl::OkStatus();
}

absl::Status InferReverse(InferContext& c) {
  absl::StatusOr<std::vector<int64_t>> axes = c.AxesAttribute(1, 1, c.rank(0));
  if (!axes.ok()) return axes.status();
  c.AddResult(c.dtype(0), c.shape(0));
  return absl::OkStatus();
}

absl::Status InferIota(InferContext& c) {
  DataType dtype = c.attributes().DType("dtype");
  if (absl::Status s = c.CheckAccepts(dtype); !s.ok()) return s;
  Shape shape = c.attributes().Dims("shape");
  absl::StatusOr<int64_t> axis = c.AxisAttribute(1, static_cast<int64_t>(shape.size()));
  if (!axis.ok()) return axis.status();
  c.AddResult(dtype, std::move(shape));
  return absl::OkStatus();
}

absl::Status InferDimSize(InferContext& c) {
  DataType dtype = c.attributes().DType("dtype");
  if (absl::Status s = c.CheckAccepts(dtype); !s.ok()) return s;
  c.AddResult(dtype, {});
  return absl::OkStatus();
}

absl::Status InferConstant(InferContext& c) {
  Shape shape;
  for (int64_t size : c.attributes().ElementsShape("value")) shape.emplace_back(size);
  c.AddResult(c.attributes().ElementsDType("value"), std::move(shape));
  return absl::OkStatus();
}

}  // namespace weft
