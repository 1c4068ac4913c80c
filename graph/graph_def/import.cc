// GraphDef to graph.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "graph/graph_def/check.h"
#include "graph/graph_def/format.h"
#include "graph/ir/create.h"
#include "graph/ir/device.h"
#include "graph/ir/recompute.h"
#include "graph/ir/types.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace weft::graph_def {
namespace {

class Importer {
 public:
  Importer(const proto::GraphDef& def, const Weights& weights, const CheckedGraph& checked)
      : def_(def),
        weights_(weights),
        checked_(checked),
        graph_(std::make_unique<ir::GraphImpl>(def.name())),
        context_(&graph_->context) {}

  absl::StatusOr<std::unique_ptr<ir::GraphImpl>> Run() {
    for (int i = 0; i < def_.variables_size(); ++i) {
      const proto::VariableDef& variable = def_.variables(i);
      absl::Status s =
          graph_->AddVariableOp(variable.name(), checked_.variables[i], variable.trainable(),
                                LocationOf(variable.name(), variable.locations()));
      if (!s.ok()) return s;
      ir::SetDevice(graph_->variables.find(variable.name())->second, variable.device());
    }
    Values values;
    if (absl::Status s = BuildNodes(checked_.graph, {}, values); !s.ok()) return s;
    for (int i = 0; i < def_.variables_size(); ++i) {
      const proto::VariableDef& variable = def_.variables(i);
      absl::StatusOr<mlir::Value> value = Find(checked_.initializers[i], {}, values);
      if (!value.ok()) return value.status();
      absl::Status s = graph_->AddInitializer(
          variable.name(), *value, LocationOf(variable.name(), variable.locations()), true);
      if (!s.ok()) return s;
    }
    if (absl::Status s = AddSignatures(values); !s.ok()) return s;
    return std::move(graph_);
  }

 private:
  // The nodes made so far, by their place in the body.
  using Values = std::vector<mlir::Operation*>;

  template <typename Locations>
  mlir::Location LocationOf(std::string_view name, const Locations& locations) {
    std::vector<ir::SourceLine> lines;
    for (const proto::SourceLocation& location : locations) {
      if (location.file() < 0 || location.file() >= def_.source_files_size()) continue;
      lines.push_back({def_.source_files(location.file()), location.line(), location.function()});
    }
    return ir::MakeLocation(context_, name, lines);
  }

  static absl::StatusOr<mlir::Value> Find(const Reference& reference,
                                          llvm::ArrayRef<mlir::Value> arguments,
                                          const Values& values) {
    if (reference.node < 0) return arguments[reference.result];
    mlir::Operation* op = values[reference.node];
    if (reference.result < static_cast<int>(op->getNumResults())) {
      return mlir::Value(op->getResult(reference.result));
    }
    return absl::InvalidArgumentError(
        absl::StrCat("expected a result ", reference.result, " of ", ir::Describe(op->getLoc())));
  }

  absl::Status BuildNodes(const CheckedBody& body, llvm::ArrayRef<mlir::Value> arguments,
                          Values& values) {
    values.assign(body.nodes.size(), nullptr);
    for (int index : body.order) {
      const CheckedNode& node = body.nodes[index];
      llvm::SmallVector<mlir::Value> operands;
      for (const Reference& input : node.inputs) {
        absl::StatusOr<mlir::Value> value = Find(input, arguments, values);
        if (!value.ok()) return value.status();
        operands.push_back(*value);
      }
      llvm::SmallVector<std::unique_ptr<mlir::Region>> regions;
      for (int function : node.functions) {
        absl::StatusOr<std::unique_ptr<mlir::Region>> region =
            BuildBody(checked_.functions[function]);
        if (!region.ok()) return region.status();
        regions.push_back(*std::move(region));
      }
      llvm::SmallVector<mlir::NamedAttribute> attributes;
      std::string recompute, device;
      for (const proto::NamedAttr& attr : node.def->attrs()) {
        if (attr.name() == ir::kRecomputeAttr) {
          recompute = attr.value().s();
          // A scope that is opened later is another one.
          graph_->scope_names.Claim(ir::ParseRecomputeMark(recompute)->scope);
          continue;
        }
        if (attr.name() == ir::kDeviceAttr) {
          device = attr.value().s();
          continue;
        }
        if (attr.value().kind_case() == proto::AttrValue::kFunction) continue;
        const AttrInfo& info = *node.info->FindAttribute(attr.name());
        attributes.emplace_back(mlir::StringAttr::get(context_, attr.name()),
                                ToAttribute(info, attr.value()));
      }
      absl::StatusOr<mlir::Operation*> op =
          graph_->CreateNamedNode(*node.info, operands, attributes,
                                  LocationOf(node.def->name(), node.def->locations()), regions);
      if (!op.ok()) return op.status();
      ir::SetRecompute(*op, recompute);
      ir::SetDevice(*op, device);
      values[index] = *op;
      if (node.info->name == "read_variable") {
        graph_->reads.try_emplace(
            (*op)->getAttrOfType<mlir::FlatSymbolRefAttr>("variable").getValue().str(), *op);
      }
    }
    return absl::OkStatus();
  }

  // Bodies nest at most kMaxNesting deep, which the checks have seen to.
  absl::StatusOr<std::unique_ptr<mlir::Region>> BuildBody(const CheckedBody& function) {
    auto region = std::make_unique<mlir::Region>();
    auto body = std::make_unique<ir::GraphImpl::Body>();
    body->block = new mlir::Block;
    region->push_back(body->block);
    mlir::Block* block = body->block;
    for (const TensorType& type : function.arguments) {
      block->addArgument(ir::MakeTensorType(context_, type.dtype, type.shape),
                         mlir::UnknownLoc::get(context_));
    }
    llvm::SmallVector<mlir::Value> arguments(block->getArguments());
    graph_->bodies.push_back(std::move(body));
    Values values;
    absl::Status status = BuildNodes(function, arguments, values);
    graph_->bodies.pop_back();
    if (!status.ok()) return status;
    llvm::SmallVector<mlir::Value> results;
    for (const Reference& result : function.results) {
      absl::StatusOr<mlir::Value> value = Find(result, arguments, values);
      if (!value.ok()) return value.status();
      results.push_back(*value);
    }
    mlir::OpBuilder builder = ir::AtEnd(context_, block);
    mlir::OperationState state(ir::MakeLocation(context_, "yield", {}), "weft.yield");
    state.addOperands(results);
    builder.create(state);
    return region;
  }

  absl::Status AddSignatures(const Values& values) {
    for (int i = 0; i < def_.signatures_size(); ++i) {
      const proto::SignatureDef& signature = def_.signatures(i);
      const CheckedGraph::Signature& checked = checked_.signatures[i];
      std::vector<mlir::Value> lists[3];
      const std::vector<Reference>* references[3] = {&checked.inputs, &checked.outputs,
                                                     &checked.targets};
      for (int list = 0; list < 3; ++list) {
        for (const Reference& reference : *references[list]) {
          absl::StatusOr<mlir::Value> value = Find(reference, {}, values);
          if (!value.ok()) return value.status();
          lists[list].push_back(*value);
        }
      }
      std::vector<ir::GraphImpl::SignatureOutput> outputs;
      for (int j = 0; j < signature.outputs_size(); ++j) {
        outputs.push_back({signature.outputs(j).name(), lists[1][j]});
      }
      absl::Status s = graph_->AddSignatureOp(signature.name(), lists[0], outputs, lists[2],
                                              LocationOf(signature.name(), signature.locations()));
      if (!s.ok()) return s;
    }
    return absl::OkStatus();
  }

  mlir::Attribute ToAttribute(const AttrInfo& info, const proto::AttrValue& value) {
    mlir::Builder builder(context_);
    switch (info.kind) {
      case AttrKind::kInt:
        return builder.getI64IntegerAttr(value.i());
      case AttrKind::kBool:
        return builder.getBoolAttr(value.b());
      case AttrKind::kString:
        return builder.getStringAttr(value.s());
      case AttrKind::kSymbol:
        return mlir::FlatSymbolRefAttr::get(context_, value.s());
      case AttrKind::kDType:
        return mlir::TypeAttr::get(
            ir::ElementTypeOf(context_, static_cast<DataType>(value.dtype())));
      case AttrKind::kDim:
        return ir::DimAttr(context_, *DimExpr::Parse(value.s()));
      case AttrKind::kDims:
        return ir::DimArrayAttr(context_, *ParseShape(value.shape()));
      case AttrKind::kInts:
        return builder.getDenseI64ArrayAttr(
            {value.ints().values().data(), static_cast<size_t>(value.ints().values_size())});
      case AttrKind::kStrings: {
        llvm::SmallVector<llvm::StringRef> texts(value.strings().values().begin(),
                                                 value.strings().values().end());
        return builder.getStrArrayAttr(texts);
      }
      case AttrKind::kElements:
        return Elements(value.tensor());
      case AttrKind::kType:
        break;
    }
    return {};
  }

  mlir::Attribute Elements(const proto::TensorProto& tensor) {
    if (tensor.data_case() == proto::TensorProto::kWeight) {
      return ir::ElementsAttrOf(context_, weights_.at(tensor.weight()));
    }
    auto dtype = static_cast<DataType>(tensor.dtype());
    std::vector<int64_t> shape(tensor.shape().begin(), tensor.shape().end());
    const std::string& raw = tensor.raw();
    if (raw.size() == static_cast<size_t>(SizeOf(dtype))) {
      return ir::SplatAttrOf(context_, dtype, shape, raw.data());
    }
    return ir::ElementsAttrOf(context_, HostTensor::View(dtype, shape, raw.data()));
  }

  const proto::GraphDef& def_;
  const Weights& weights_;
  const CheckedGraph& checked_;
  std::unique_ptr<ir::GraphImpl> graph_;
  mlir::MLIRContext* context_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ir::GraphImpl>> Import(const proto::GraphDef& def,
                                                      const Weights& weights) {
  absl::StatusOr<CheckedGraph> checked = Check(def, weights);
  if (!checked.ok()) return InOneLine(checked.status());
  absl::StatusOr<std::unique_ptr<ir::GraphImpl>> graph = Importer(def, weights, *checked).Run();
  if (!graph.ok()) return InOneLine(graph.status());
  return graph;
}

}  // namespace weft::graph_def
