// Sizes for open dimensions, values for variables.
#include "absl/strings/str_cat.h"
#include "compiler/passes/diagnostics.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/signature.h"
#include "compiler/passes/weight_table.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "graph/ops/op_info.h"
#include "mlir/IR/Verifier.h"

namespace weft {
namespace {

using Sizes = std::map<std::string, DimExpr>;

mlir::Type Substituted(mlir::Type type, const Sizes& sizes) {
  if (!ir::IsTensorType(type)) return type;
  Shape shape = ir::ShapeOf(type);
  for (DimExpr& dim : shape) dim = dim.Substitute(sizes);
  return ir::MakeTensorType(type.getContext(), ir::DataTypeOf(type), shape);
}

bool Substitute(mlir::Value value, const Sizes& sizes) {
  mlir::Type type = Substituted(value.getType(), sizes);
  if (type == value.getType()) return false;
  value.setType(type);
  return true;
}

// Dimension expressions among the attributes, as the op table names them.
void SubstituteAttributes(mlir::Operation* op, const Sizes& sizes) {
  const OpInfo* info = FindOp(std::string_view(op->getName().getStringRef()));
  if (info == nullptr) return;
  for (const AttrInfo& attribute : info->attributes) {
    const llvm::StringRef name(attribute.name.data(), attribute.name.size());
    if (attribute.kind == AttrKind::kDim) {
      op->setAttr(name, ir::DimAttr(op->getContext(),
                                    ir::DimFromAttr(op->getAttr(name))->Substitute(sizes)));
    } else if (attribute.kind == AttrKind::kDims) {
      Shape dims = *ir::DimsFromAttr(op->getAttr(name));
      for (DimExpr& dim : dims) dim = dim.Substitute(sizes);
      op->setAttr(name, ir::DimArrayAttr(op->getContext(), dims));
    }
  }
}

}  // namespace

absl::StatusOr<bool> SpecializeDims(mlir::func::FuncOp function,
                                    const std::map<std::string, int64_t>& sizes) {
  Sizes dims;
  for (auto& [name, size] : sizes) dims.emplace(name, DimExpr(size));
  bool changed = false;
  for (mlir::Value argument : function.getArguments()) changed |= Substitute(argument, dims);
  function.walk([&](mlir::Operation* op) {
    if (op == function) return;
    for (mlir::Value result : op->getResults()) changed |= Substitute(result, dims);
    for (mlir::Region& region : op->getRegions()) {
      for (mlir::Value argument : region.getArguments()) changed |= Substitute(argument, dims);
    }
    SubstituteAttributes(op, dims);
  });
  std::vector<mlir::Type> results;
  for (mlir::Type type : function.getResultTypes()) results.push_back(Substituted(type, dims));
  function.setType(mlir::FunctionType::get(function.getContext(),
                                           function.getBody().getArgumentTypes(), results));
  // What holds for open dimensions need not hold for these sizes.
  const FirstError error(function.getContext());
  if (llvm::succeeded(mlir::verify(function))) return changed;
  std::string given;
  for (auto& [name, size] : sizes) {
    absl::StrAppend(&given, given.empty() ? "" : ", ", name, "=", size);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the sizes ", given, " of '", function.getSymName().str(), "' do not fit: ", error.text()));
}

absl::StatusOr<bool> FreezeVariables(mlir::func::FuncOp function,
                                     const std::map<std::string, HostTensor>& values,
                                     WeightTable& weights, bool required) {
  const std::vector<std::string> variables = NamesIn(function, kVariablesAttr);
  const std::vector<std::string> assigned = NamesIn(function, kAssignedAttr);
  if (required && !assigned.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "signature '", function.getSymName().str(), "' assigns the variable '", assigned[0],
        "', so that its variables cannot be frozen; compile it without freezing"));
  }
  if (!assigned.empty() || variables.empty()) return false;
  const size_t num_inputs = NamesIn(function, kInputsAttr).size();
  mlir::OpBuilder builder = mlir::OpBuilder::atBlockBegin(&function.getBody().front());
  for (size_t i = 0; i < variables.size(); ++i) {
    mlir::Value argument = function.getArgument(static_cast<unsigned>(num_inputs + i));
    auto value = values.find(variables[i]);
    if (value == values.end()) {
      return absl::FailedPreconditionError(absl::StrCat("variable '", variables[i],
                                                        "' has no value to freeze; give one, or do "
                                                        "not freeze"));
    }
    Shape shape;
    for (int64_t size : value->second.shape()) shape.push_back(size);
    if (value->second.dtype() != ir::DataTypeOf(argument) || shape != ir::ShapeOf(argument)) {
      return absl::FailedPreconditionError(
          absl::StrCat("variable '", variables[i], "': expected a value of type ",
                       ir::TypeString(argument.getType()), ", got ", value->second.TypeString()));
    }
    argument.replaceAllUsesWith(MakeConstant(builder, argument.getLoc(), value->second, weights));
  }
  llvm::BitVector erased(function.getNumArguments());
  erased.set(static_cast<unsigned>(num_inputs), function.getNumArguments());
  if (llvm::failed(function.eraseArguments(erased))) {
    return absl::InternalError(absl::StrCat(
        "the variables' arguments of '", function.getSymName().str(), "' could not be removed, at ",
        ir::Describe(function.getLoc()), "; compile it without freezing"));
  }
  function->setAttr(kVariablesAttr, builder.getArrayAttr({}));
  return true;
}

}  // namespace weft
