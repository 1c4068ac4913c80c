// The registry: op table, and the tables of evaluation and gradient functions.
#include <set>

#include "graph/opgen/op_def.h"

namespace weft::opgen {
namespace {

std::string DTypeName(const std::string& name) {
  std::string constant = name == "bool" ? "Bool" : name;
  for (char& c : constant) {
    if (constant != "Bool") c = static_cast<char>(toupper(c));
  }
  return "DataType::k" + constant;
}

void EmitValues(const std::string& array, const std::vector<Value>& values,
                llvm::raw_ostream& out) {
  if (values.empty()) return;
  out << "constexpr OperandInfo " << array << "[] = {";
  for (const Value& value : values) {
    out << "{" << Quote(value.name) << ", " << (value.variadic ? "true" : "false") << "}, ";
  }
  out << "};\n";
}

void EmitStrings(const std::string& array, const std::vector<std::string>& strings,
                 llvm::raw_ostream& out) {
  if (strings.empty()) return;
  out << "constexpr std::string_view " << array << "[] = {\n";
  for (const std::string& text : strings) out << "    " << Quote(text) << ",\n";
  out << "};\n";
}

void EmitAttributes(const OpDef& op, llvm::raw_ostream& out) {
  if (op.attributes.empty()) return;
  out << "constexpr AttrInfo k" << op.class_name << "Attributes[] = {\n";
  for (const Attribute& attribute : op.attributes) {
    out << "    {.name = " << Quote(attribute.name) << ", .kind = AttrKind::k" << attribute.kind;
    if (attribute.default_value) {
      out << ", .has_default = true, ."
          << (attribute.kind == "String" ? "default_string" : "default_int") << " = "
          << *attribute.default_value;
    }
    out << "},\n";
  }
  out << "};\n";
}

std::string Span(bool there, const std::string& array) { return there ? array : "{}"; }

void EmitFunctionTable(const std::vector<OpDef>& ops, const std::string& prefix,
                       const std::string& signature, const std::string& table,
                       bool (*has)(const OpDef&), llvm::raw_ostream& out) {
  for (const OpDef& op : ops) {
    if (has(op)) out << "absl::Status " << prefix << op.class_name << signature << ";\n";
  }
  out << "\nconstexpr " << prefix << "Function " << table << "[] = {\n";
  for (const OpDef& op : ops) {
    out << "    " << (has(op) ? prefix + op.class_name : "nullptr") << ",  // " << op.name << "\n";
  }
  out << "};\n";
}

}  // namespace

void EmitOpInfos(const std::vector<OpDef>& ops, llvm::raw_ostream& out) {
  EmitBanner(out, "The op table as data, and the declarations of the inference functions.");
  std::set<std::string> functions;
  for (const OpDef& op : ops) functions.insert(op.infer);
  for (const std::string& function : functions) {
    out << "absl::Status " << function << "(InferContext&);\n";
  }
  out << "\nnamespace {\n\n";
  for (const OpDef& op : ops) {
    std::string k = "k" + op.class_name;
    EmitValues(k + "Operands", op.operands, out);
    EmitValues(k + "Results", op.results, out);
    EmitAttributes(op, out);
    EmitStrings(k + "Regions", op.regions, out);
    out << "constexpr DataType " << k << "DTypes[] = {";
    for (const std::string& dtype : op.dtypes) out << DTypeName(dtype) << ", ";
    out << "};\n";
    EmitStrings(k + "Constraints", op.constraints, out);
  }
  out << "\nconst OpInfo kOps[] = {\n";
  int index = 0;
  for (const OpDef& op : ops) {
    std::string k = "k" + op.class_name;
    auto flag = [](bool value) { return value ? "true" : "false"; };
    out << "    {.index = " << index++ << ",\n     .name = " << Quote(op.name)
        << ",\n     .class_name = " << Quote(op.class_name) << ",\n     .version = " << op.version
        << ",\n     .family = " << Quote(op.family) << ",\n     .summary = " << Quote(op.summary)
        << ",\n     .operands = " << Span(!op.operands.empty(), k + "Operands")
        << ",\n     .attributes = " << Span(!op.attributes.empty(), k + "Attributes")
        << ",\n     .results = " << Span(!op.results.empty(), k + "Results")
        << ",\n     .regions = " << Span(!op.regions.empty(), k + "Regions")
        << ",\n     .dtypes = " << k
        << "DTypes,\n     .constraints = " << Span(!op.constraints.empty(), k + "Constraints")
        << ",\n     .gradient = GradientKind::k"
        << (op.gradient == "none"    ? "None"
            : op.gradient == "rules" ? "Rules"
                                     : "Function")
        << ",\n     .no_gradient_reason = " << Quote(op.no_gradient_reason)
        << ",\n     .elementwise = " << flag(op.elementwise)
        << ",\n     .in_builder = " << flag(op.in_builder)
        << ",\n     .has_evaluate = " << flag(op.has_evaluate)
        << ",\n     .pure = " << flag(op.pure)
        << ",\n     .result_dtype = " << Quote(op.result_dtype)
        << ",\n     .test = {.low = " << op.test_low << ", .high = " << op.test_high
        << ", .ulps = " << op.test_ulps << ", .scale = " << op.test_scale
        << "},\n     .infer = " << op.infer << "},\n";
  }
  out << "};\n\n}  // namespace\n";
}

void EmitEvaluateTable(const std::vector<OpDef>& ops, llvm::raw_ostream& out) {
  EmitBanner(out, "The evaluation functions, by OpInfo::index.");
  EmitFunctionTable(
      ops, "Evaluate", "(EvaluateContext&)", "kEvaluateFunctions",
      [](const OpDef& op) { return op.has_evaluate; }, out);
}

void EmitGradientTable(const std::vector<OpDef>& ops, llvm::raw_ostream& out) {
  EmitBanner(out, "The gradient functions, by OpInfo::index.");
  EmitFunctionTable(
      ops, "Gradient", "(GradientContext&)", "kGradientFunctions",
      [](const OpDef& op) { return op.gradient != "none"; }, out);
}

}  // namespace weft::opgen
