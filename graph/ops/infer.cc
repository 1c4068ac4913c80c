#include "graph/ops/infer.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft {

std::string TensorType::ToString() const {
  return std::string(NameOf(dtype)) + weft::ToString(shape);
}

namespace {

// Whether it has several terms.
bool IsSum(const DimExpr& e) {
  char top = 0;  // what is combined last
  e.Emit([](int64_t) { return 0u; }, [](std::string_view) { return 0u; },
         [&](char op, uint32_t, uint32_t) {
           top = op;
           return 0u;
         });
  return top == '+' || top == '-';
}

// Whether the product of any neighbouring dimensions is an expression, from whichever end they are
// multiplied. That of all may be where that of some is not, since sums cancel: (a-b) * (a+b). 0 is
// no factor: another 0 is no excuse for a size that cannot be.
bool ProductsFit(const Shape& shape) {
  // Dimensions of one term are taken together: there may be many, but each makes a product longer.
  Shape factors = {1};
  bool is_sum = false;
  for (const DimExpr& dim : shape) {
    if (dim == DimExpr(0) || dim == DimExpr(1)) continue;
    const bool after_sum = std::exchange(is_sum, IsSum(dim));
    if (is_sum || after_sum) {
      factors.push_back(dim);
    } else {
      factors.back() = factors.back() * dim;
    }
  }
  for (size_t begin = 0; begin < factors.size(); ++begin) {
    const size_t last = factors.size() - 1 - begin;
    DimExpr forward = factors[begin], backward = factors[last];
    for (size_t i = begin + 1; i < factors.size(); ++i) forward = forward * factors[i];
    for (size_t i = last; i-- > 0;) backward = backward * factors[i];
    if (forward.IsOverflow() || backward.IsOverflow()) return false;
  }
  return true;
}

}  // namespace

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
  if (known.IsOverflow() || *known.Constant() > kMaxBytes) {
    return error("a tensor of at most 2^48 bytes", type.ToString());
  }
  // Kernels go over neighbouring dimensions by one loop, and compare such products.
  if (!ProductsFit(type.shape)) {
    return error(
        "dimensions whose products, of all and of any neighbours, are expressions of at most 4096 "
        "characters and numbers of 64 bits (give open dimensions shorter names)",
        type.ToString());
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
