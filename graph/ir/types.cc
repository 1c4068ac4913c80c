#include "graph/ir/types.h"

#include <cstring>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "mlir/IR/Operation.h"

namespace weft::ir {
namespace {

llvm::StringRef Ref(std::string_view text) { return {text.data(), text.size()}; }
std::string_view View(llvm::StringRef text) { return {text.data(), text.size()}; }

// Types spell their open dimensions out, and a graph has few different ones: they are parsed once.
std::optional<DimExpr> ParseDim(llvm::StringRef text) {
  constexpr size_t kMaxEntries = 1024;
  thread_local std::unordered_map<std::string, std::optional<DimExpr>> cache;
  auto it = cache.find(text.str());
  if (it != cache.end()) return it->second;
  absl::StatusOr<DimExpr> parsed = DimExpr::Parse(View(text));
  std::optional<DimExpr> dim;
  if (parsed.ok()) dim = *std::move(parsed);
  if (cache.size() == kMaxEntries) cache.clear();
  cache.emplace(text.str(), dim);
  return dim;
}

mlir::RankedTensorType StaticType(mlir::MLIRContext* context, DataType dtype,
                                  llvm::ArrayRef<int64_t> shape) {
  return mlir::RankedTensorType::get(shape, ElementTypeOf(context, dtype));
}

}  // namespace

mlir::Type ElementTypeOf(mlir::MLIRContext* context, DataType dtype) {
  switch (dtype) {
    case DataType::kBool:
      return mlir::IntegerType::get(context, 1);
    case DataType::kI8:
      return mlir::IntegerType::get(context, 8);
    case DataType::kU8:
      return mlir::IntegerType::get(context, 8, mlir::IntegerType::Unsigned);
    case DataType::kI32:
      return mlir::IntegerType::get(context, 32);
    case DataType::kI64:
      return mlir::IntegerType::get(context, 64);
    case DataType::kF16:
      return mlir::Float16Type::get(context);
    case DataType::kBF16:
      return mlir::BFloat16Type::get(context);
    case DataType::kF64:
      return mlir::Float64Type::get(context);
    case DataType::kF32:
    case DataType::kInvalid:
      break;
  }
  return mlir::Float32Type::get(context);
}

DataType DataTypeOfElement(mlir::Type element) {
  if (element.isF32()) return DataType::kF32;
  if (element.isF64()) return DataType::kF64;
  if (element.isF16()) return DataType::kF16;
  if (element.isBF16()) return DataType::kBF16;
  if (element.isSignlessInteger(1)) return DataType::kBool;
  if (element.isSignlessInteger(8)) return DataType::kI8;
  if (element.isUnsignedInteger(8)) return DataType::kU8;
  if (element.isSignlessInteger(32)) return DataType::kI32;
  if (element.isSignlessInteger(64)) return DataType::kI64;
  return DataType::kInvalid;
}

bool IsTensorType(mlir::Type type) {
  auto tensor = llvm::dyn_cast<mlir::RankedTensorType>(type);
  if (!tensor || DataTypeOfElement(tensor.getElementType()) == DataType::kInvalid) return false;
  if (tensor.hasStaticShape()) return !tensor.getEncoding();
  auto dims = llvm::dyn_cast_or_null<mlir::ArrayAttr>(tensor.getEncoding());
  if (!dims || static_cast<int64_t>(dims.size()) != tensor.getRank()) return false;
  for (int64_t i = 0; i < tensor.getRank(); ++i) {
    auto text = llvm::dyn_cast<mlir::StringAttr>(dims[i]);
    if (!text || text.empty() == tensor.isDynamicDim(i)) return false;
    if (!tensor.isDynamicDim(i)) continue;
    std::optional<DimExpr> dim = ParseDim(text.getValue());
    if (!dim || dim->IsConstant() || dim->Text() != View(text)) return false;
  }
  return true;
}

DataType DataTypeOf(mlir::Type type) {
  auto tensor = llvm::dyn_cast<mlir::RankedTensorType>(type);
  return tensor ? DataTypeOfElement(tensor.getElementType()) : DataType::kInvalid;
}
DataType DataTypeOf(mlir::Value value) { return DataTypeOf(value.getType()); }

Shape ShapeOf(mlir::Type type) {
  auto tensor = llvm::dyn_cast<mlir::RankedTensorType>(type);
  if (!tensor) __builtin_trap();
  Shape shape;
  shape.reserve(tensor.getRank());
  auto dims = llvm::dyn_cast_or_null<mlir::ArrayAttr>(tensor.getEncoding());
  for (int64_t i = 0; i < tensor.getRank(); ++i) {
    if (!tensor.isDynamicDim(i)) {
      shape.emplace_back(tensor.getDimSize(i));
      continue;
    }
    if (!dims) __builtin_trap();
    std::optional<DimExpr> dim = ParseDim(llvm::cast<mlir::StringAttr>(dims[i]).getValue());
    if (!dim) __builtin_trap();
    shape.push_back(*std::move(dim));
  }
  return shape;
}
Shape ShapeOf(mlir::Value value) { return ShapeOf(value.getType()); }

mlir::RankedTensorType MakeTensorType(mlir::MLIRContext* context, DataType dtype,
                                      const Shape& shape) {
  llvm::SmallVector<int64_t> sizes;
  llvm::SmallVector<mlir::Attribute> texts;
  bool open = false;
  for (const DimExpr& dim : shape) {
    std::optional<int64_t> size = dim.Constant();
    open |= !size;
    sizes.push_back(size.value_or(mlir::ShapedType::kDynamic));
    texts.push_back(mlir::StringAttr::get(context, size ? std::string() : dim.Text()));
  }
  return mlir::RankedTensorType::get(
      sizes, ElementTypeOf(context, dtype),
      open ? mlir::Attribute(mlir::ArrayAttr::get(context, texts)) : mlir::Attribute());
}

std::string TypeString(DataType dtype, const Shape& shape) {
  return std::string(NameOf(dtype)) + ToString(shape);
}
std::string TypeString(mlir::Type type) { return TypeString(DataTypeOf(type), ShapeOf(type)); }

mlir::StringAttr DimAttr(mlir::MLIRContext* context, const DimExpr& dim) {
  return mlir::StringAttr::get(context, dim.Text());
}

mlir::ArrayAttr DimArrayAttr(mlir::MLIRContext* context, const Shape& dims) {
  llvm::SmallVector<mlir::Attribute> texts;
  for (const DimExpr& dim : dims) texts.push_back(DimAttr(context, dim));
  return mlir::ArrayAttr::get(context, texts);
}

std::optional<DimExpr> DimFromAttr(mlir::Attribute attribute) {
  auto text = llvm::dyn_cast_or_null<mlir::StringAttr>(attribute);
  if (!text) return std::nullopt;
  return ParseDim(text.getValue());
}

std::optional<Shape> DimsFromAttr(mlir::Attribute attribute) {
  auto array = llvm::dyn_cast_or_null<mlir::ArrayAttr>(attribute);
  if (!array) return std::nullopt;
  Shape dims;
  for (mlir::Attribute element : array) {
    std::optional<DimExpr> dim = DimFromAttr(element);
    if (!dim) return std::nullopt;
    dims.push_back(*std::move(dim));
  }
  return dims;
}

mlir::DenseElementsAttr SplatAttrOf(mlir::MLIRContext* context, DataType dtype,
                                    const std::vector<int64_t>& shape, const void* element) {
  mlir::RankedTensorType type = StaticType(context, dtype, shape);
  if (dtype == DataType::kBool) {
    return mlir::DenseElementsAttr::get(type, *static_cast<const bool*>(element));
  }
  return mlir::DenseElementsAttr::getFromRawBuffer(
      type, {static_cast<const char*>(element), static_cast<size_t>(SizeOf(dtype))});
}

mlir::DenseElementsAttr ElementsAttrOf(mlir::MLIRContext* context, const HostTensor& tensor) {
  mlir::RankedTensorType type = StaticType(context, tensor.dtype(), tensor.shape());
  const char* data = static_cast<const char*>(tensor.data());
  size_t bytes = tensor.size_bytes(), size = SizeOf(tensor.dtype());
  // Equal elements are kept once, so that the attribute does not depend on how it was made.
  if (bytes > 0 && std::memcmp(data, data + size, bytes - size) == 0) {
    return SplatAttrOf(context, tensor.dtype(), tensor.shape(), data);
  }
  if (tensor.dtype() == DataType::kBool) {
    absl::Span<const bool> values = tensor.values<bool>();
    return mlir::DenseElementsAttr::get(type, llvm::ArrayRef<bool>(values.data(), values.size()));
  }
  return mlir::DenseElementsAttr::getFromRawBuffer(type, {data, bytes});
}

absl::StatusOr<HostTensor> HostTensorOf(mlir::DenseElementsAttr attribute) {
  DataType dtype = DataTypeOf(attribute.getType());
  std::vector<int64_t> shape = attribute.getType().getShape().vec();
  if (!attribute.isSplat() && dtype != DataType::kBool) {
    return HostTensor::View(dtype, shape, attribute.getRawData().data());
  }
  absl::StatusOr<HostTensor> tensor = HostTensor::Create(dtype, shape);
  if (!tensor.ok()) return tensor;
  if (dtype == DataType::kBool) {
    bool* out = static_cast<bool*>(tensor->mutable_data());
    for (bool value : attribute.getValues<bool>()) *out++ = value;
    return tensor;
  }
  size_t size = SizeOf(dtype), bytes = tensor->size_bytes();
  char* out = static_cast<char*>(tensor->mutable_data());
  if (bytes == 0) return tensor;
  std::memcpy(out, attribute.getRawData().data(), size);
  for (size_t done = size; done < bytes; done *= 2) {
    std::memcpy(out + done, out, std::min(done, bytes - done));
  }
  return tensor;
}

std::optional<double> SplatValueOf(mlir::Attribute attribute) {
  auto elements = llvm::dyn_cast_or_null<mlir::DenseElementsAttr>(attribute);
  if (!elements || !elements.isSplat()) return std::nullopt;
  DataType dtype = DataTypeOf(elements.getType());
  if (dtype == DataType::kBool) return elements.getSplatValue<bool>() ? 1 : 0;
  return WithType(dtype, [&](auto zero) -> double {
    using T = decltype(zero);
    T value;
    std::memcpy(static_cast<void*>(&value), elements.getRawData().data(), sizeof(T));
    if constexpr (std::is_same_v<T, BF16>)
      return static_cast<float>(value);
    else
      return static_cast<double>(value);
  });
}

mlir::Location MakeLocation(mlir::MLIRContext* context, std::string_view name,
                            const std::vector<SourceLine>& lines) {
  llvm::SmallVector<mlir::Location> locations;
  for (const SourceLine& line : lines) {
    mlir::Location at = mlir::FileLineColLoc::get(context, line.file, std::max(line.line, 0), 0);
    if (!line.function.empty()) {
      at = mlir::NameLoc::get(mlir::StringAttr::get(context, line.function), at);
    }
    locations.push_back(at);
  }
  mlir::Location at = mlir::UnknownLoc::get(context);
  if (!locations.empty()) at = mlir::FusedLoc::get(context, locations);
  return mlir::NameLoc::get(mlir::StringAttr::get(context, Ref(name)), at);
}

std::string_view NodeNameOf(mlir::Location location) {
  auto name = llvm::dyn_cast<mlir::NameLoc>(location);
  return name ? View(name.getName().getValue()) : std::string_view();
}
std::string_view NodeNameOf(mlir::Operation* op) { return NodeNameOf(op->getLoc()); }

std::vector<SourceLine> SourceLinesOf(mlir::Location location) {
  auto name = llvm::dyn_cast<mlir::NameLoc>(location);
  if (!name) return {};
  mlir::Location inner = name.getChildLoc();
  llvm::SmallVector<mlir::Location> parts = {inner};
  if (auto fused = llvm::dyn_cast<mlir::FusedLoc>(inner)) {
    parts.assign(fused.getLocations().begin(), fused.getLocations().end());
  }
  std::vector<SourceLine> lines;
  for (mlir::Location part : parts) {
    SourceLine line;
    if (auto function = llvm::dyn_cast<mlir::NameLoc>(part)) {
      line.function = function.getName().str();
      part = function.getChildLoc();
    }
    auto file = llvm::dyn_cast<mlir::FileLineColLoc>(part);
    if (!file) continue;
    line.file = file.getFilename().str();
    line.line = static_cast<int>(file.getLine());
    lines.push_back(std::move(line));
  }
  return lines;
}

mlir::Location WithName(mlir::Location location, std::string_view name) {
  mlir::Location inner = location;
  if (auto old = llvm::dyn_cast<mlir::NameLoc>(location)) inner = old.getChildLoc();
  return mlir::NameLoc::get(mlir::StringAttr::get(location.getContext(), Ref(name)), inner);
}

std::string Describe(mlir::Location location) {
  std::string text = absl::StrCat("node '", std::string(NodeNameOf(location)), "'");
  std::vector<SourceLine> lines = SourceLinesOf(location);
  if (lines.empty()) return text;
  absl::StrAppend(&text, " (", lines[0].file, ":", lines[0].line);
  if (lines.size() > 1) absl::StrAppend(&text, " for ", lines[1].file, ":", lines[1].line);
  return text + ")";
}

}  // namespace weft::ir
