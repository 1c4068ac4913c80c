#include "graph/ir/create.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "graph/ir/device.h"
#include "graph/ir/graph_rules.h"
#include "graph/ir/recompute.h"
#include "graph/ir/types.h"
#include "graph/ir/verify.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "proto/core/json.h"
#include "proto/suggest.h"

namespace weft::ir {
namespace {

std::string_view View(llvm::StringRef text) { return {text.data(), text.size()}; }
llvm::StringRef Ref(std::string_view text) { return {text.data(), text.size()}; }

std::string Prefix(const OpInfo& op) { return absl::StrCat(std::string(op.name), ": "); }

// What a file can hold.
bool IsText(mlir::Attribute value) {
  auto text = llvm::dyn_cast<mlir::StringAttr>(value);
  return text && IsUtf8(View(text.getValue()));
}

// "" where the attribute is of the kind, else what was expected.
std::string KindMismatch(AttrKind kind, mlir::Attribute value) {
  switch (kind) {
    case AttrKind::kInt: {
      auto number = llvm::dyn_cast<mlir::IntegerAttr>(value);
      return number && number.getType().isSignlessInteger(64) ? "" : "a whole number";
    }
    case AttrKind::kBool:
      return llvm::isa<mlir::BoolAttr>(value) ? "" : "a bool";
    case AttrKind::kString:
      return IsText(value) ? "" : "a string in UTF-8";
    case AttrKind::kDType: {
      auto type = llvm::dyn_cast<mlir::TypeAttr>(value);
      return type && DataTypeOfElement(type.getValue()) != DataType::kInvalid ? "" : "a dtype";
    }
    case AttrKind::kDim: {
      std::optional<DimExpr> dim = DimFromAttr(value);
      return dim && dim->Text() == View(llvm::cast<mlir::StringAttr>(value).getValue())
                 ? ""
                 : "a dimension expression in canonical form";
    }
    case AttrKind::kDims: {
      std::optional<Shape> dims = DimsFromAttr(value);
      return dims && DimArrayAttr(value.getContext(), *dims) == value
                 ? ""
                 : "dimension expressions in canonical form";
    }
    case AttrKind::kInts:
      return llvm::isa<mlir::DenseI64ArrayAttr>(value) ? "" : "a list of whole numbers";
    case AttrKind::kStrings: {
      auto array = llvm::dyn_cast<mlir::ArrayAttr>(value);
      return array && llvm::all_of(array, IsText) ? "" : "a list of strings in UTF-8";
    }
    case AttrKind::kElements: {
      auto elements = llvm::dyn_cast<mlir::DenseElementsAttr>(value);
      return elements && IsTensorType(elements.getType()) ? "" : "a tensor";
    }
    case AttrKind::kSymbol:
      return llvm::isa<mlir::FlatSymbolRefAttr, mlir::StringAttr>(value) ? "" : "a variable's name";
    case AttrKind::kType: {
      auto type = llvm::dyn_cast<mlir::TypeAttr>(value);
      return type && IsTensorType(type.getValue()) ? "" : "a tensor type";
    }
  }
  return "an attribute";
}

mlir::Attribute DefaultOf(mlir::MLIRContext* context, const AttrInfo& info) {
  mlir::Builder builder(context);
  if (info.kind == AttrKind::kBool) return builder.getBoolAttr(info.default_int != 0);
  if (info.kind == AttrKind::kString) return builder.getStringAttr(Ref(info.default_string));
  return builder.getI64IntegerAttr(info.default_int);
}

absl::Status UnknownAttribute(const OpInfo& op, std::string_view name) {
  std::vector<std::string> known;
  for (const AttrInfo& info : op.attributes) known.emplace_back(info.name);
  return absl::InvalidArgumentError(absl::StrCat(Prefix(op), "expected no attribute '",
                                                 std::string(name), "'", DidYouMean(name, known)));
}

std::vector<InferContext::Body> BodiesOf(llvm::ArrayRef<mlir::Region*> regions) {
  std::vector<InferContext::Body> bodies;
  for (mlir::Region* region : regions) {
    InferContext::Body body;
    if (!region->empty()) {
      body.arguments = TensorTypesOf(region->front().getArgumentTypes());
      if (!region->front().empty()) {
        body.results = TensorTypesOf(region->front().back().getOperandTypes());
      }
    }
    bodies.push_back(std::move(body));
  }
  return bodies;
}

absl::Status Infer(InferContext& c, const OpInfo& op) {
  if (absl::Status s = op.infer(c); !s.ok()) return s;
  for (const TensorType& type : c.results()) {
    absl::Status s = CheckSizes(type);
    if (!s.ok()) return absl::InvalidArgumentError(absl::StrCat(Prefix(op), s.message()));
  }
  return absl::OkStatus();
}

// The result type of the commonest case, without a look at the shape: an element-wise op without
// attributes whose operands have one type and whose result has it too. Null for any other.
mlir::Type SameTypeResult(const OpInfo& op, mlir::TypeRange operands) {
  if (!op.elementwise || !op.attributes.empty() || !op.result_dtype.empty() || operands.empty() ||
      op.operands.size() != operands.size() || op.operands[0].name == "condition" ||
      !llvm::all_equal(operands) || !op.accepts(DataTypeOf(operands[0]))) {
    return {};
  }
  return operands[0];
}

// Puts the canonical values that inference found in place of those given.
mlir::DictionaryAttr WithNewAttributes(mlir::DictionaryAttr attributes, const InferContext& c) {
  if (c.new_attributes().empty()) return attributes;
  mlir::Builder builder(attributes.getContext());
  mlir::NamedAttrList list(attributes);
  for (const InferContext::NewAttribute& attribute : c.new_attributes()) {
    mlir::Attribute value;
    if (auto* number = std::get_if<int64_t>(&attribute.value)) {
      value = builder.getI64IntegerAttr(*number);
    } else if (auto* numbers = std::get_if<std::vector<int64_t>>(&attribute.value)) {
      value = builder.getDenseI64ArrayAttr(*numbers);
    } else {
      value = DimArrayAttr(attributes.getContext(), std::get<Shape>(attribute.value));
    }
    list.set(attribute.name, value);
  }
  return list.getDictionary(attributes.getContext());
}

absl::Status At(const absl::Status& status, mlir::Location location) {
  return absl::Status(status.code(), absl::StrCat(status.message(), ", at ", Describe(location)));
}

// CreateOp, which `declares` the op, or what a pass makes of ops that were declared.
absl::StatusOr<mlir::Operation*> Create(
    mlir::OpBuilder& builder, const OpInfo& op, mlir::ValueRange operands,
    llvm::ArrayRef<mlir::NamedAttribute> attributes, mlir::Location location, bool declares,
    llvm::MutableArrayRef<std::unique_ptr<mlir::Region>> regions,
    std::optional<VariableTypes> variables) {
  mlir::MLIRContext* context = builder.getContext();
  if (mlir::Type type = SameTypeResult(op, operands.getTypes()); type && attributes.empty()) {
    mlir::OperationState state(location, absl::StrCat("weft.", std::string(op.name)));
    state.addOperands(operands);
    state.addTypes(type);
    return builder.create(state);
  }
  absl::Status arity = CheckArity(op, operands.size());
  if (!arity.ok()) return At(arity, location);
  absl::StatusOr<mlir::DictionaryAttr> checked = CheckAttributes(context, op, attributes);
  if (!checked.ok()) return At(checked.status(), location);
  if (regions.size() != op.regions.size()) {
    return At(absl::InvalidArgumentError(absl::StrCat(Prefix(op), "expected ", op.regions.size(),
                                                      " bodies, got ", regions.size())),
              location);
  }

  InferContext c(op, TensorTypesOf(operands.getTypes()), Attributes(checked->getAsOpaquePointer()));
  llvm::SmallVector<mlir::Region*> region_pointers;
  for (auto& region : regions) region_pointers.push_back(region.get());
  c.set_bodies(BodiesOf(region_pointers));
  if (declares) c.set_declares();
  if (variables && op.FindAttribute("variable") != nullptr) {
    std::string name = c.attributes().Symbol("variable");
    if (std::optional<TensorType> type = (*variables)(name)) c.set_variable(*std::move(type));
  }
  if (absl::Status s = Infer(c, op); !s.ok()) return At(s, location);

  mlir::OperationState state(location, absl::StrCat("weft.", std::string(op.name)));
  state.addOperands(operands);
  state.addAttributes(WithNewAttributes(*checked, c).getValue());
  for (const TensorType& type : c.results()) {
    state.addTypes(MakeTensorType(context, type.dtype, type.shape));
  }
  for (auto& region : regions) state.addRegion(std::move(region));
  return builder.create(state);
}

}  // namespace

absl::Status CheckArity(const OpInfo& op, size_t num_operands) {
  bool variadic = !op.operands.empty() && op.operands.back().variadic;
  size_t fixed = op.operands.size() - (variadic ? 1 : 0);
  if (variadic ? num_operands >= fixed : num_operands == fixed) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(Prefix(op), "expected ", variadic ? "at least " : "", fixed,
                   fixed == 1 ? " operand" : " operands", ", got ", num_operands));
}

absl::StatusOr<mlir::DictionaryAttr> CheckAttributes(
    mlir::MLIRContext* context, const OpInfo& op, llvm::ArrayRef<mlir::NamedAttribute> attributes) {
  mlir::NamedAttrList list;
  for (const mlir::NamedAttribute& attribute : attributes) {
    llvm::StringRef name = attribute.getName().getValue();
    const AttrInfo* info = op.FindAttribute(View(name));
    if (info == nullptr) {
      if (name.contains('.')) continue;
      return UnknownAttribute(op, View(name));
    }
    std::string expected = KindMismatch(info->kind, attribute.getValue());
    if (!expected.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(Prefix(op), "expected attribute '", name.str(), "' to be ", expected));
    }
    list.push_back(attribute);
  }
  for (const AttrInfo& info : op.attributes) {
    if (list.get(Ref(info.name))) continue;
    if (!info.has_default) {
      return absl::InvalidArgumentError(
          absl::StrCat(Prefix(op), "expected an attribute '", std::string(info.name), "'"));
    }
    list.append(Ref(info.name), DefaultOf(context, info));
  }
  return list.getDictionary(context);
}

TensorType TensorTypeOf(mlir::Type type) { return {DataTypeOf(type), ShapeOf(type)}; }

std::vector<TensorType> TensorTypesOf(mlir::TypeRange types) {
  std::vector<TensorType> result;
  result.reserve(types.size());
  for (mlir::Type type : types) result.push_back(TensorTypeOf(type));
  return result;
}

bool IsOp(mlir::Operation* op, std::string_view mnemonic) {
  llvm::StringRef name = op->getName().getStringRef();
  return name.consume_front("weft.") && name == Ref(mnemonic);
}

const OpInfo* InfoOf(mlir::Operation* op) {
  llvm::StringRef name = op->getName().getStringRef();
  return name.starts_with("weft.") ? FindOp(View(name)) : nullptr;
}

absl::StatusOr<mlir::Operation*> CreateOp(
    mlir::OpBuilder& builder, const OpInfo& op, mlir::ValueRange operands,
    llvm::ArrayRef<mlir::NamedAttribute> attributes, mlir::Location location,
    llvm::MutableArrayRef<std::unique_ptr<mlir::Region>> regions,
    std::optional<VariableTypes> variables) {
  return Create(builder, op, operands, attributes, location, /*declares=*/true, regions, variables);
}

absl::StatusOr<mlir::Operation*> DeriveOp(mlir::OpBuilder& builder, const OpInfo& op,
                                          mlir::ValueRange operands,
                                          llvm::ArrayRef<mlir::NamedAttribute> attributes,
                                          mlir::Location location) {
  return Create(builder, op, operands, attributes, location, /*declares=*/false, {}, std::nullopt);
}

llvm::LogicalResult VerifyByTable(mlir::Operation* op) {
  const OpInfo* info = InfoOf(op);
  if (info == nullptr) return op->emitOpError("is not in the op table");
  for (mlir::Type type : llvm::concat<mlir::Type>(op->getOperandTypes(), op->getResultTypes())) {
    if (!IsTensorType(type)) {
      return op->emitOpError("expected tensors whose open dimensions are named, got ") << type;
    }
  }
  absl::Status status = CheckArity(*info, op->getNumOperands());
  absl::StatusOr<mlir::DictionaryAttr> attributes =
      CheckAttributes(op->getContext(), *info, op->getAttrs());
  if (status.ok()) status = attributes.status();
  if (!status.ok()) return op->emitOpError(std::string(status.message()));

  InferContext c(*info, TensorTypesOf(op->getOperandTypes()),
                 Attributes(attributes->getAsOpaquePointer()));
  llvm::SmallVector<mlir::Region*> regions;
  for (mlir::Region& region : op->getRegions()) regions.push_back(&region);
  // The body of a graph is no body of control flow: it yields nothing.
  if (!IsOp(op, "graph")) c.set_bodies(BodiesOf(regions));
  // That the variable has this type is a rule about the graph (graph_rules.h).
  if (IsOp(op, "read_variable")) c.set_variable(TensorTypeOf(op->getResult(0).getType()));
  status = Infer(c, *info);
  if (!status.ok()) return op->emitOpError(std::string(status.message()));
  std::vector<TensorType> types = TensorTypesOf(op->getResultTypes());
  if (types != c.results()) {
    return op->emitOpError("has other result types than its operands and attributes give");
  }
  if (mlir::Attribute mark = op->getAttr(kRecomputeAttr)) {
    if (!RecomputeMarkOf(op)) {
      return op->emitOpError("expected the name of a scope as ")
             << kRecomputeAttr << ", got " << mark;
    }
    if (!MayRecompute(*info)) return op->emitOpError("cannot be marked with ") << kRecomputeAttr;
  }
  if (mlir::Attribute device = op->getAttr(kDeviceAttr)) {
    const std::string problem = DeviceProblem(DeviceOf(op));
    if (!problem.empty()) {
      return op->emitOpError("expected ") << problem << " as " << kDeviceAttr << ", got " << device;
    }
    if (!MayPlace(*info)) return op->emitOpError("cannot be placed with ") << kDeviceAttr;
  }
  if (IsOp(op, "graph")) status = CheckGraph(op);
  if (!status.ok()) return op->emitOpError(std::string(status.message()));
  return mlir::success();
}

}  // namespace weft::ir
