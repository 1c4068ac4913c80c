// Graph to GraphDef.
#include <algorithm>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "graph/graph_def/format.h"
#include "graph/ir/create.h"
#include "graph/ir/device.h"
#include "graph/ir/recompute.h"
#include "graph/ir/types.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace weft::graph_def {
namespace {

class Exporter {
 public:
  explicit Exporter(Weights* weights) : weights_(weights) {}

  absl::StatusOr<proto::GraphDef> Run(ir::GraphImpl& graph) {
    if (!graph.status.ok()) return graph.status;
    def_.set_name(graph.graph->getAttrOfType<mlir::StringAttr>("name").str());
    def_.mutable_versions()->set_producer(kVersion);
    def_.mutable_versions()->set_min_consumer(kMinConsumer);
    def_.mutable_versions()->set_producer_name(kProducerName);
    std::unordered_map<std::string, proto::VariableDef*> variables;
    for (mlir::Operation& op : *graph.graph_block()) {
      if (ir::IsOp(&op, "variable")) {
        proto::VariableDef* variable = AddVariable(&op);
        variables[variable->name()] = variable;
      }
    }
    for (mlir::Operation& op : *graph.graph_block()) {
      if (ir::IsOp(&op, "variable")) continue;
      if (ir::IsOp(&op, "initializer")) {
        std::string name = op.getAttrOfType<mlir::FlatSymbolRefAttr>("variable").getValue().str();
        variables.at(name)->set_initializer(Reference(op.getOperand(0)));
      } else if (ir::IsOp(&op, "signature")) {
        AddSignature(&op);
      } else if (absl::Status s = AddNode(&op, "", def_.add_nodes()); !s.ok()) {
        return s;
      }
    }
    return std::move(def_);
  }

 private:
  // "node", "node:1", or "%arg0".
  static std::string Reference(mlir::Value value) {
    if (auto argument = llvm::dyn_cast<mlir::BlockArgument>(value)) {
      return absl::StrCat("%arg", argument.getArgNumber());
    }
    auto result = llvm::cast<mlir::OpResult>(value);
    std::string node(ir::NodeNameOf(result.getOwner()));
    if (result.getResultNumber() == 0) return node;
    return absl::StrCat(node, ":", result.getResultNumber());
  }

  static void SetShape(const Shape& shape, proto::ShapeProto* proto) {
    for (const DimExpr& dim : shape) {
      proto::DimProto* out = proto->add_dims();
      if (std::optional<int64_t> size = dim.Constant()) {
        out->set_size(*size);
      } else {
        out->set_expr(dim.Text());
      }
    }
  }
  static proto::DType DTypeOf(DataType dtype) { return static_cast<proto::DType>(dtype); }

  template <typename Locations>
  void AddLocations(mlir::Location location, Locations* locations) {
    for (const ir::SourceLine& line : ir::SourceLinesOf(location)) {
      auto [it, fresh] = files_.try_emplace(line.file, def_.source_files_size());
      if (fresh) def_.add_source_files(line.file);
      proto::SourceLocation* out = locations->Add();
      out->set_file(it->second);
      out->set_line(line.line);
      out->set_function(line.function);
    }
  }

  proto::VariableDef* AddVariable(mlir::Operation* op) {
    proto::VariableDef* variable = def_.add_variables();
    mlir::Type type = op->getAttrOfType<mlir::TypeAttr>("type").getValue();
    variable->set_name(op->getAttrOfType<mlir::StringAttr>("sym_name").str());
    variable->set_dtype(DTypeOf(ir::DataTypeOf(type)));
    SetShape(ir::ShapeOf(type), variable->mutable_shape());
    variable->set_trainable(op->getAttrOfType<mlir::BoolAttr>("trainable").getValue());
    AddLocations(op->getLoc(), variable->mutable_locations());
    variable->set_device(std::string(ir::DeviceOf(op)));
    return variable;
  }

  void AddSignature(mlir::Operation* op) {
    proto::SignatureDef* signature = def_.add_signatures();
    signature->set_name(op->getAttrOfType<mlir::StringAttr>("name").str());
    unsigned at = 0;
    unsigned inputs =
        static_cast<unsigned>(op->getAttrOfType<mlir::IntegerAttr>("num_inputs").getInt());
    while (at < inputs) signature->add_inputs(Reference(op->getOperand(at++)));
    for (mlir::Attribute name : op->getAttrOfType<mlir::ArrayAttr>("output_names")) {
      proto::SignatureDef::Output* output = signature->add_outputs();
      output->set_name(llvm::cast<mlir::StringAttr>(name).str());
      output->set_value(Reference(op->getOperand(at++)));
    }
    while (at < op->getNumOperands()) signature->add_targets(Reference(op->getOperand(at++)));
    AddLocations(op->getLoc(), signature->mutable_locations());
  }

  // `path` of the body that the op is in: "" for the graph, else "<function>/".
  absl::Status AddNode(mlir::Operation* op, const std::string& path, proto::NodeDef* node) {
    const OpInfo* info = ir::InfoOf(op);
    if (info == nullptr) return absl::InternalError("an op of another dialect in a graph");
    std::string name(ir::NodeNameOf(op));
    node->set_name(name);
    node->set_op(std::string(info->name));
    node->set_op_version(info->version);
    for (mlir::Value value : op->getOperands()) node->add_inputs(Reference(value));
    AddLocations(op->getLoc(), node->mutable_locations());

    // Attributes and bodies together, by name.
    std::vector<std::pair<std::string_view, const AttrInfo*>> names;
    for (const AttrInfo& attribute : info->attributes) {
      names.emplace_back(attribute.name, &attribute);
    }
    for (std::string_view region : info->regions) names.emplace_back(region, nullptr);
    const std::optional<ir::RecomputeMark> recompute = ir::RecomputeMarkOf(op);
    if (recompute) names.emplace_back(ir::kRecomputeAttr, nullptr);
    const std::string_view device = ir::DeviceOf(op);
    if (!device.empty()) names.emplace_back(ir::kDeviceAttr, nullptr);
    std::sort(names.begin(), names.end());
    for (auto [attribute, attribute_info] : names) {
      proto::NamedAttr* out = node->add_attrs();
      out->set_name(std::string(attribute));
      if (attribute == ir::kRecomputeAttr) {
        out->mutable_value()->set_s(recompute->Text());
        continue;
      }
      if (attribute == ir::kDeviceAttr) {
        out->mutable_value()->set_s(std::string(device));
        continue;
      }
      if (attribute_info != nullptr) {
        mlir::Attribute value = op->getAttr(llvm::StringRef(attribute.data(), attribute.size()));
        SetAttribute(*attribute_info, value, path + name, out->mutable_value());
        continue;
      }
      size_t region =
          std::find(info->regions.begin(), info->regions.end(), attribute) - info->regions.begin();
      std::string function = UniqueFunction(absl::StrCat(path, name, ".", std::string(attribute)));
      out->mutable_value()->set_function(function);
      if (absl::Status s = AddFunction(op->getRegion(region), function); !s.ok()) return s;
    }
    return absl::OkStatus();
  }

  std::string UniqueFunction(const std::string& name) {
    std::string unique = name;
    for (int i = 1; !functions_.insert(unique).second; ++i) unique = absl::StrCat(name, "_", i);
    return unique;
  }

  // Bodies nest at most kMaxNesting deep, so recursion is fine here.
  absl::Status AddFunction(mlir::Region& region, const std::string& name) {
    int index = def_.functions_size();
    def_.add_functions()->set_name(name);
    mlir::Block& block = region.front();
    for (mlir::BlockArgument argument : block.getArguments()) {
      proto::FunctionDef::Argument* out = def_.mutable_functions(index)->add_arguments();
      out->set_name(absl::StrCat("arg", argument.getArgNumber()));
      out->set_dtype(DTypeOf(ir::DataTypeOf(argument)));
      SetShape(ir::ShapeOf(argument), out->mutable_shape());
    }
    for (mlir::Operation& op : block.without_terminator()) {
      // Not by pointer into the list: inner functions are appended meanwhile.
      proto::NodeDef node;
      if (absl::Status s = AddNode(&op, name + "/", &node); !s.ok()) return s;
      *def_.mutable_functions(index)->add_nodes() = std::move(node);
    }
    for (mlir::Value value : block.back().getOperands()) {
      def_.mutable_functions(index)->add_results(Reference(value));
    }
    return absl::OkStatus();
  }

  void SetAttribute(const AttrInfo& info, mlir::Attribute value, const std::string& path,
                    proto::AttrValue* out) {
    switch (info.kind) {
      case AttrKind::kInt:
        out->set_i(llvm::cast<mlir::IntegerAttr>(value).getInt());
        break;
      case AttrKind::kBool:
        out->set_b(llvm::cast<mlir::BoolAttr>(value).getValue());
        break;
      case AttrKind::kString:
      case AttrKind::kDim:
        out->set_s(llvm::cast<mlir::StringAttr>(value).str());
        break;
      case AttrKind::kSymbol:
        out->set_s(llvm::cast<mlir::FlatSymbolRefAttr>(value).getValue().str());
        break;
      case AttrKind::kDType:
        out->set_dtype(
            DTypeOf(ir::DataTypeOfElement(llvm::cast<mlir::TypeAttr>(value).getValue())));
        break;
      case AttrKind::kDims:
        SetShape(*ir::DimsFromAttr(value), out->mutable_shape());
        break;
      case AttrKind::kInts:
        out->mutable_ints();  // present even when empty
        for (int64_t number : llvm::cast<mlir::DenseI64ArrayAttr>(value).asArrayRef()) {
          out->mutable_ints()->add_values(number);
        }
        break;
      case AttrKind::kStrings:
        out->mutable_strings();
        for (mlir::Attribute text : llvm::cast<mlir::ArrayAttr>(value)) {
          out->mutable_strings()->add_values(llvm::cast<mlir::StringAttr>(text).str());
        }
        break;
      case AttrKind::kElements:
        SetTensor(llvm::cast<mlir::DenseElementsAttr>(value), path, out->mutable_tensor());
        break;
      case AttrKind::kType:
        break;  // of variables, which are no nodes
    }
    if (info.kind == AttrKind::kDims) out->mutable_shape();
  }

  void SetTensor(mlir::DenseElementsAttr value, const std::string& path, proto::TensorProto* out) {
    DataType dtype = ir::DataTypeOf(value.getType());
    out->set_dtype(DTypeOf(dtype));
    for (int64_t size : value.getType().getShape()) out->add_shape(size);
    if (value.isSplat()) {
      // One element stands for all of them.
      if (dtype == DataType::kBool) {
        out->set_raw(std::string(1, value.getSplatValue<bool>() ? 1 : 0));
      } else {
        out->set_raw(value.getRawData().data(), SizeOf(dtype));
      }
      return;
    }
    // Cannot fail: the elements are in memory, and a copy of bool takes no more than they do.
    HostTensor tensor = *ir::HostTensorOf(value);
    if (weights_ != nullptr && static_cast<int64_t>(tensor.size_bytes()) > kInlineBytes) {
      out->set_weight(path);
      (*weights_)[path] = tensor;
    } else {
      out->set_raw(tensor.data(), tensor.size_bytes());
    }
  }

  Weights* weights_;
  proto::GraphDef def_;
  std::unordered_map<std::string, int> files_;
  std::unordered_set<std::string> functions_;
};

}  // namespace

absl::StatusOr<proto::GraphDef> Export(ir::GraphImpl& graph, Weights* weights) {
  return Exporter(weights).Run(graph);
}

}  // namespace weft::graph_def
