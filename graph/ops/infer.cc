#include "graph/ops/infer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft {

std::string TensorType::ToString() const {
  return std::string(NameOf(dtype)) + weft::ToString(shape);
}

absl::Status CheckSizes(const TensorType& type) {
  constexpr int64_t kMaxBytes = int64_t{1} << 48;
  auto error = [](const std::string& expected, const std::string& got) {
    return absl::InvalidArgumentError(absl::StrCat("expected ", expected, ", got ", got));
  };
  // The product of what is known; 0 is no factor of it, since another 0 is no excuse for a size
  // that cannot be.
  DimExpr known(SizeOf(type.dtype));
  for (const DimExpr& dim : type.shape) {
    if (dim.IsOverflow()) return error("dimensions of at most 64 bits", ToString(type.shape));
    if (dim.LowerBound().value_or(-1) < 0) {
      return error(
          "dimensions that are known to be >= 0 (write max(0, ...) around one that may "
          "not be)",
          type.ToString());
    }
    if (dim.IsConstant() && dim != DimExpr(0)) known = known * dim;
  }
  if (known.IsOverflow() || *known.Constant() > kMaxBytes || NumElements(type.shape).IsOverflow()) {
    return error("a tensor of at most 2^48 bytes", type.ToString());
  }
  return absl::OkStatus();
}

DimExpr NonNegative(const DimExpr& e) {
  return e.LowerBound().value_or(-1) >= 0 ? e : DimExpr::Max(e, 0);
}

void InferContext::SetInts(std::string_view name, std::vector<int64_t> value) {
  new_attributes_.push_back({std::string(name), std::move(value)});
}
void InferContext::SetInt(std::string_view name, int64_t value) {
  new_attributes_.push_back({std::string(name), value});
}
void InferContext::SetDims(std::string_view name, Shape value) {
  new_attributes_.push_back({std::string(name), std::move(value)});
}

absl::Status InferContext::Error(int constraint, const std::string& expected,
                                 const std::string& got) const {
  std::string text = absl::StrCat(std::string(op_.name), ": expected ", expected, ", got ", got);
  if (constraint > 0) absl::StrAppend(&text, " (C", constraint, ")");
  return absl::InvalidArgumentError(text);
}

absl::Status InferContext::CheckAccepts(DataType dtype) const {
  if (op_.accepts(dtype)) return absl::OkStatus();
  std::string names;
  for (DataType accepted : op_.dtypes) {
    absl::StrAppend(&names, names.empty() ? "" : " or ", std::string(NameOf(accepted)));
  }
  return Error(0, absl::StrCat("dtype ", names), std::string(NameOf(dtype)));
}

absl::Status InferContext::CheckSameDType(int constraint, int first) const {
  for (int i = first; i < num_operands(); ++i) {
    if (dtype(i) != dtype(first)) {
      return Error(constraint, "operands of one dtype",
                   absl::StrCat(operand(first).ToString(), " and ", operand(i).ToString()));
    }
  }
  return first < num_operands() ? CheckDType(first) : absl::OkStatus();
}

absl::StatusOr<int64_t> InferContext::Axis(int constraint, int64_t axis, int64_t rank) const {
  if (axis >= -rank && axis < rank) return axis < 0 ? axis + rank : axis;
  return Error(constraint, absl::StrCat("an axis in [", -rank, ", ", rank, ")"),
               absl::StrCat(axis));
}

absl::StatusOr<int64_t> InferContext::AxisAttribute(int constraint, int64_t rank) {
  absl::StatusOr<int64_t> axis = Axis(constraint, attributes_.Int("axis"), rank);
  if (axis.ok()) SetInt("axis", *axis);
  return axis;
}

absl::StatusOr<std::vector<int64_t>> InferContext::AxesAttribute(int range, int twice,
                                                                 int64_t rank) {
  std::vector<int64_t> given = attributes_.Ints("axes"), axes;
  for (int64_t axis : given) {
    absl::StatusOr<int64_t> positive = Axis(range, axis, rank);
    if (!positive.ok()) return positive.status();
    axes.push_back(*positive);
  }
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) {
    return Error(twice, "each axis once", absl::StrCat("[", absl::StrJoin(given, ", "), "]"));
  }
  SetInts("axes", axes);
  return axes;
}

}  // namespace weft
