#include "graph/ir/op_call.h"

#include "absl/strings/str_cat.h"
#include "graph/ir/graph_impl.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace weft {
namespace ir {
namespace {

struct ToAttribute {
  mlir::MLIRContext* context;
  mlir::Attribute operator()(int64_t value) const {
    return mlir::Builder(context).getI64IntegerAttr(value);
  }
  mlir::Attribute operator()(bool value) const { return mlir::BoolAttr::get(context, value); }
  mlir::Attribute operator()(const std::string& value) const {
    return mlir::StringAttr::get(context, value);
  }
  mlir::Attribute operator()(DataType value) const {
    return mlir::TypeAttr::get(ElementTypeOf(context, value));
  }
  mlir::Attribute operator()(const DimExpr& value) const { return DimAttr(context, value); }
  mlir::Attribute operator()(const Shape& value) const { return DimArrayAttr(context, value); }
  mlir::Attribute operator()(const std::vector<int64_t>& value) const {
    return mlir::DenseI64ArrayAttr::get(context, value);
  }
};

bool IsCondition(const OpInfo& op, size_t operand) {
  return operand < op.operands.size() && op.operands[operand].name == "condition";
}

}  // namespace

void OpCall::TakeAll(const std::vector<Tensor>& tensors) {
  for (const Tensor& tensor : tensors) operands_.emplace_back(tensor, location_);
}

bool OpCall::FindGraph() {
  bool valid = true;
  for (const Operand& operand : operands_) {
    if (operand.is_number()) continue;
    if (graph_ == nullptr) graph_ = operand.tensor().graph();
    valid &= operand.tensor().valid();
  }
  if (!valid || graph_ == nullptr) return false;
  for (const Operand& operand : operands_) {
    if (operand.is_number() || operand.tensor().graph() == graph_) continue;
    graph_->Fail(
        absl::StrCat(std::string(op_.name), ": expected operands of one graph, got tensors of two"),
        location_);
    return false;
  }
  return true;
}

bool OpCall::MakeConstants() {
  DataType dtype = DataType::kInvalid;
  for (size_t i = 0; i < operands_.size() && dtype == DataType::kInvalid; ++i) {
    if (!operands_[i].is_number() && !IsCondition(op_, i)) dtype = operands_[i].tensor().dtype();
  }
  for (size_t i = 0; i < operands_.size(); ++i) {
    Operand& operand = operands_[i];
    if (!operand.is_number()) continue;
    DataType wanted = IsCondition(op_, i) ? DataType::kBool : dtype;
    if (wanted == DataType::kInvalid) {
      graph_->Fail(absl::StrCat(std::string(op_.name),
                                ": expected a tensor among the operands, got numbers alone"),
                   location_);
      return false;
    }
    mlir::Value scalar = graph_->MakeScalar(op_.name, wanted, operand.number(), location_);
    if (!scalar) return false;
    operand = Operand(graph_->Wrap(scalar), operand.location());
  }
  return true;
}

// NumPy's rule: shapes aligned at the end, dimensions of size 1 repeated.
bool OpCall::BroadcastOperands() {
  Shape shape;
  for (const Operand& operand : operands_) {
    Shape other = operand.tensor().shape();
    if (other.size() > shape.size()) {
      shape.insert(shape.begin(), other.size() - shape.size(), DimExpr(1));
    }
    for (size_t i = 1; i <= other.size(); ++i) {
      DimExpr& size = shape[shape.size() - i];
      const DimExpr& from = other[other.size() - i];
      if (size == DimExpr(1)) {
        size = from;
      } else if (from != DimExpr(1) && from != size) {
        std::string got;
        for (const Operand& each : operands_) {
          absl::StrAppend(&got, got.empty() ? "" : " and ",
                          TypeString(each.tensor().dtype(), each.tensor().shape()));
        }
        graph_->Fail(absl::StrCat(std::string(op_.name),
                                  ": expected shapes that are equal or can be repeated along "
                                  "dimensions of size 1, got ",
                                  got, ", at node '", graph_->prefix, std::string(op_.name), "'"),
                     location_);
        return false;
      }
    }
  }
  for (Operand& operand : operands_) {
    if (operand.tensor().shape() == shape) continue;
    mlir::Value value = graph_->Localize(ValueOf(operand.tensor()));
    if (!value) return false;
    mlir::NamedAttribute attribute(mlir::StringAttr::get(&graph_->context, "shape"),
                                   DimArrayAttr(&graph_->context, shape));
    mlir::Operation* op =
        graph_->CreateNode(*FindOp("broadcast"), "broadcast", {value}, {attribute}, location_);
    if (op == nullptr) return false;
    operand = Operand(graph_->Wrap(op->getResult(0)), operand.location());
  }
  return true;
}

std::vector<Tensor> OpCall::Build() {
  std::vector<Tensor> results(op_.results.size());
  if (!operands_.empty()) location_ = operands_[0].location();
  if (!FindGraph() || !MakeConstants()) return results;
  if (op_.elementwise && operands_.size() > 1 && !BroadcastOperands()) return results;

  llvm::SmallVector<mlir::Value> operands;
  for (const Operand& operand : operands_) {
    mlir::Value value = graph_->Localize(ValueOf(operand.tensor()));
    if (!value) {
      graph_->Fail(absl::StrCat(std::string(op_.name),
                                ": expected operands from here or from around the body, got one "
                                "from inside another body"),
                   location_);
      return results;
    }
    operands.push_back(value);
  }
  mlir::NamedAttrList attributes;
  for (const auto& [name, value] : attributes_) {
    attributes.append(name, std::visit(ToAttribute{&graph_->context}, value));
  }
  mlir::Operation* op =
      graph_->CreateNode(op_, op_.name, operands, attributes.getAttrs(), location_);
  if (op == nullptr) return results;
  for (size_t i = 0; i < results.size(); ++i) results[i] = graph_->Wrap(op->getResult(i));
  return results;
}

}  // namespace ir

#include "graph/ops/builder_definitions.inc"

}  // namespace weft
