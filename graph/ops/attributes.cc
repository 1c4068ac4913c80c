#include "graph/ops/attributes.h"

#include "graph/ir/types.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace weft {
namespace {

mlir::Attribute Find(const void* dictionary, std::string_view name) {
  auto attributes =
      llvm::cast<mlir::DictionaryAttr>(mlir::Attribute::getFromOpaquePointer(dictionary));
  mlir::Attribute value = attributes.get(llvm::StringRef(name.data(), name.size()));
  if (!value) __builtin_trap();
  return value;
}

template <typename T>
T Get(const void* dictionary, std::string_view name) {
  auto value = llvm::dyn_cast<T>(Find(dictionary, name));
  if (!value) __builtin_trap();
  return value;
}

}  // namespace

int64_t Attributes::Int(std::string_view name) const {
  return Get<mlir::IntegerAttr>(dictionary_, name).getInt();
}
bool Attributes::Bool(std::string_view name) const {
  return Get<mlir::BoolAttr>(dictionary_, name).getValue();
}
std::string Attributes::String(std::string_view name) const {
  return Get<mlir::StringAttr>(dictionary_, name).str();
}
std::string Attributes::Symbol(std::string_view name) const {
  mlir::Attribute value = Find(dictionary_, name);
  // Declared as a string, referred to as a symbol.
  if (auto text = llvm::dyn_cast<mlir::StringAttr>(value)) return text.str();
  return Get<mlir::FlatSymbolRefAttr>(dictionary_, name).getValue().str();
}
DataType Attributes::DType(std::string_view name) const {
  return ir::DataTypeOfElement(Get<mlir::TypeAttr>(dictionary_, name).getValue());
}
DimExpr Attributes::Dim(std::string_view name) const {
  return ir::DimFromAttr(Get<mlir::StringAttr>(dictionary_, name)).value();
}
Shape Attributes::Dims(std::string_view name) const {
  return ir::DimsFromAttr(Get<mlir::ArrayAttr>(dictionary_, name)).value();
}
std::vector<int64_t> Attributes::Ints(std::string_view name) const {
  return Get<mlir::DenseI64ArrayAttr>(dictionary_, name).asArrayRef().vec();
}
std::vector<std::string> Attributes::Strings(std::string_view name) const {
  std::vector<std::string> strings;
  for (mlir::Attribute element : Get<mlir::ArrayAttr>(dictionary_, name)) {
    strings.push_back(llvm::cast<mlir::StringAttr>(element).str());
  }
  return strings;
}
absl::StatusOr<HostTensor> Attributes::Elements(std::string_view name) const {
  return ir::HostTensorOf(Get<mlir::DenseElementsAttr>(dictionary_, name));
}
DataType Attributes::ElementsDType(std::string_view name) const {
  return ir::DataTypeOf(Get<mlir::DenseElementsAttr>(dictionary_, name).getType());
}
std::vector<int64_t> Attributes::ElementsShape(std::string_view name) const {
  return Get<mlir::DenseElementsAttr>(dictionary_, name).getType().getShape().vec();
}

}  // namespace weft
