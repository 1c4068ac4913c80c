#include "absl/strings/str_cat.h"
#include "graph/graph_def/check.h"

namespace weft::graph_def {
namespace {

absl::Status Expected(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("expected ", what));
}

absl::Status CheckDType(int64_t number) {
  if (IsDataType(number)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("expected a dtype, got number ", number));
}

absl::Status CheckBools(DataType dtype, std::string_view bytes) {
  if (dtype != DataType::kBool) return absl::OkStatus();
  for (char c : bytes) {
    if (c != 0 && c != 1) return Expected("bools of 0 or 1");
  }
  return absl::OkStatus();
}

// That the tensor holds as many bytes as its type says.
absl::Status CheckTensor(const proto::TensorProto& tensor, const Weights& weights) {
  if (absl::Status s = CheckDType(tensor.dtype()); !s.ok()) return s;
  auto dtype = static_cast<DataType>(tensor.dtype());
  std::vector<int64_t> shape(tensor.shape().begin(), tensor.shape().end());
  absl::StatusOr<int64_t> count = CheckedNumElements(shape);
  if (!count.ok()) return count.status();
  if (*count > kMaxConstantBytes / SizeOf(dtype)) return Expected("a tensor of at most 2^48 bytes");
  switch (tensor.data_case()) {
    case proto::TensorProto::kRaw: {
      int64_t size = static_cast<int64_t>(tensor.raw().size());
      int64_t whole = *count * SizeOf(dtype);
      if (size != whole && !(size == SizeOf(dtype) && *count > 0)) {
        return absl::InvalidArgumentError(absl::StrCat("expected ", whole,
                                                       " bytes of elements (or one element of ",
                                                       SizeOf(dtype), " bytes), got ", size));
      }
      return CheckBools(dtype, tensor.raw());
    }
    case proto::TensorProto::kWeight: {
      auto it = weights.find(tensor.weight());
      if (it == weights.end()) {
        return Expected(absl::StrCat("a weight '", tensor.weight(), "' in the file"));
      }
      if (it->second.dtype() == dtype && it->second.shape() == shape) {
        return CheckBools(dtype,
                          {static_cast<const char*>(it->second.data()), it->second.size_bytes()});
      }
      return absl::InvalidArgumentError(absl::StrCat(
          "expected weight '", tensor.weight(), "' to be ",
          HostTensor::View(dtype, shape, nullptr).TypeString(), ", got ", it->second.TypeString()));
    }
    case proto::TensorProto::DATA_NOT_SET:
      break;
  }
  return Expected("the elements of a tensor");
}

}  // namespace

absl::StatusOr<Shape> ParseShape(const proto::ShapeProto& shape) {
  Shape dims;
  for (const proto::DimProto& dim : shape.dims()) {
    if (dim.kind_case() == proto::DimProto::kExpr) {
      absl::StatusOr<DimExpr> parsed = DimExpr::Parse(dim.expr());
      if (!parsed.ok()) return parsed.status();
      dims.push_back(*std::move(parsed));
    } else if (dim.kind_case() == proto::DimProto::kSize) {
      dims.emplace_back(dim.size());
    } else {
      return Expected("a size or an expression for each dimension");
    }
  }
  return dims;
}

absl::StatusOr<TensorType> ParseType(proto::DType dtype, const proto::ShapeProto& shape) {
  if (absl::Status s = CheckDType(dtype); !s.ok()) return s;
  absl::StatusOr<Shape> dims = ParseShape(shape);
  if (!dims.ok()) return dims.status();
  TensorType type{static_cast<DataType>(dtype), *std::move(dims)};
  if (absl::Status s = CheckSizes(type); !s.ok()) return s;
  return type;
}

absl::Status CheckAttribute(const AttrInfo& info, const proto::AttrValue& value,
                            const Weights& weights) {
  proto::AttrValue::KindCase kind = value.kind_case();
  switch (info.kind) {
    case AttrKind::kInt:
      return kind == proto::AttrValue::kI ? absl::OkStatus() : Expected("a whole number");
    case AttrKind::kBool:
      return kind == proto::AttrValue::kB ? absl::OkStatus() : Expected("a bool");
    case AttrKind::kString:
    case AttrKind::kSymbol:
      return kind == proto::AttrValue::kS ? absl::OkStatus() : Expected("a string");
    case AttrKind::kDim:
      if (kind != proto::AttrValue::kS) return Expected("a dimension");
      return DimExpr::Parse(value.s()).status();
    case AttrKind::kDType:
      if (kind != proto::AttrValue::kDtype) return Expected("a dtype");
      return CheckDType(value.dtype());
    case AttrKind::kDims:
      if (kind != proto::AttrValue::kShape) return Expected("dimensions");
      return ParseShape(value.shape()).status();
    case AttrKind::kInts:
      return kind == proto::AttrValue::kInts ? absl::OkStatus() : Expected("whole numbers");
    case AttrKind::kStrings:
      return kind == proto::AttrValue::kStrings ? absl::OkStatus() : Expected("strings");
    case AttrKind::kElements:
      if (kind != proto::AttrValue::kTensor) return Expected("a tensor");
      return CheckTensor(value.tensor(), weights);
    case AttrKind::kType:
      break;
  }
  return Expected("no such attribute in a file");
}

}  // namespace weft::graph_def
