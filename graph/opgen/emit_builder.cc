// The builder's functions.
#include "graph/opgen/op_def.h"

namespace weft::opgen {
namespace {

std::string ParameterType(const std::string& kind) {
  if (kind == "Int") return "int64_t";
  if (kind == "Bool") return "bool";
  if (kind == "String") return "std::string_view";
  if (kind == "DType") return "DataType";
  if (kind == "Dim") return "const DimExpr&";
  if (kind == "Dims") return "const Shape&";
  if (kind == "Ints") return "const std::vector<int64_t>&";
  return "const std::vector<std::string>&";
}

std::string ResultType(const OpDef& op) {
  return op.results.size() == 1 ? "Tensor" : op.class_name + "Result";
}

// Operands carry the source line of the call; a function that may have none takes it separately.
bool TakesLocation(const OpDef& op) { return op.operands.empty() || op.operands[0].variadic; }

void EmitSignature(const OpDef& op, bool defaults, llvm::raw_ostream& out) {
  out << ResultType(op) << " " << op.class_name << "(";
  const char* separator = "";
  auto parameter = [&](const std::string& text) {
    out << separator << text;
    separator = ", ";
  };
  if (op.operands.empty()) parameter("Graph& graph");
  for (const Value& operand : op.operands) {
    parameter((operand.variadic ? "const std::vector<Tensor>& " : "Operand ") + operand.name);
  }
  // Those with a default last, as C++ wants them.
  for (bool with_default : {false, true}) {
    for (const Attribute& attribute : op.attributes) {
      if (attribute.default_value.has_value() != with_default) continue;
      parameter(ParameterType(attribute.kind) + " " + attribute.name +
                (with_default && defaults ? " = " + *attribute.default_value : ""));
    }
  }
  if (TakesLocation(op)) {
    parameter(std::string("SourceLocation location") +
              (defaults ? " = SourceLocation::current()" : ""));
  }
  out << ")";
}

}  // namespace

void EmitBuilderDeclarations(const std::vector<OpDef>& ops, llvm::raw_ostream& out) {
  EmitBanner(out, "One function per op, for graph/graph.h.");
  out << "namespace weft {\n\n";
  for (const OpDef& op : ops) {
    if (!op.in_builder) continue;
    if (op.results.size() != 1) {
      out << "struct " << ResultType(op) << " {\n  Tensor ";
      for (size_t i = 0; i < op.results.size(); ++i) {
        out << (i == 0 ? "" : ", ") << op.results[i].name;
      }
      out << ";\n};\n";
    }
    out << "// " << op.summary << "\n";
    EmitSignature(op, true, out);
    out << ";\n";
  }
  out << "\n}  // namespace weft\n";
}

void EmitBuilderDefinitions(const std::vector<OpDef>& ops, llvm::raw_ostream& out) {
  EmitBanner(out, "Definitions of the functions that graph/ops/builder_functions.inc declares.");
  int index = 0;
  for (const OpDef& op : ops) {
    int number = index++;
    if (!op.in_builder) continue;
    EmitSignature(op, false, out);
    out << " {\n  ir::OpCall call(" << number << ");\n";
    if (op.operands.empty()) out << "  call.In(graph);\n";
    if (TakesLocation(op)) out << "  call.At(location);\n";
    for (const Value& operand : op.operands) {
      out << "  call." << (operand.variadic ? "TakeAll(" : "Take(") << operand.name << ");\n";
    }
    for (const Attribute& attribute : op.attributes) {
      out << "  call." << attribute.kind << "(" << Quote(attribute.name) << ", " << attribute.name
          << ");\n";
    }
    if (op.results.size() == 1) {
      out << "  return call.Build()[0];\n}\n\n";
      continue;
    }
    out << "  std::vector<Tensor> results = call.Build();\n  return {";
    for (size_t i = 0; i < op.results.size(); ++i)
      out << (i == 0 ? "" : ", ") << "results[" << i << "]";
    out << "};\n}\n\n";
  }
}

}  // namespace weft::opgen
