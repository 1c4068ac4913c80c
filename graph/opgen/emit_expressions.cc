// What is made from the C++ expressions in the table: gradient rules, and the evaluation and
// lowering of element-wise ops.
#include <map>

#include "graph/opgen/op_def.h"

namespace weft::opgen {
namespace {

// The C++ type of the elements.
std::string ElementType(const std::string& dtype) {
  static const std::map<std::string, std::string> types = {
      {"bool", "bool"}, {"i8", "int8_t"}, {"u8", "uint8_t"}, {"i32", "int32_t"}, {"i64", "int64_t"},
      {"f16", "F16"},   {"bf16", "BF16"}, {"f32", "float"},  {"f64", "double"}};
  return types.at(dtype);
}

}  // namespace

void EmitGradientRules(const std::vector<OpDef>& ops, llvm::raw_ostream& out) {
  EmitBanner(out, "Gradient functions by rules over the builder's functions.");
  for (const OpDef& op : ops) {
    if (op.gradient != "rules") continue;
    out << "absl::Status Gradient" << op.class_name << "(GradientContext& c) {\n";
    for (size_t i = 0; i < op.operands.size(); ++i) {
      out << "  [[maybe_unused]] Tensor " << op.operands[i].name << " = c.operand(" << i << ");\n";
    }
    for (size_t i = 0; i < op.results.size(); ++i) {
      out << "  [[maybe_unused]] Tensor " << op.results[i].name << " = c.result(" << i << ");\n";
    }
    for (const Attribute& attribute : op.attributes) {
      out << "  [[maybe_unused]] auto " << attribute.name << " = c.attributes()." << attribute.kind
          << "(" << Quote(attribute.name) << ");\n";
    }
    out << "  [[maybe_unused]] Tensor dy = c.dy(0);\n";
    for (size_t i = 0; i < op.gradient_rules.size(); ++i) {
      if (op.gradient_rules[i].empty()) continue;
      out << "  if (c.needs(" << i << ")) c.SetGradient(" << i << ", " << op.gradient_rules[i]
          << ");\n";
    }
    out << "  return absl::OkStatus();\n}\n\n";
  }
}

void EmitElementwiseEvaluate(const std::vector<OpDef>& ops, llvm::raw_ostream& out) {
  EmitBanner(out,
             "Element-wise evaluation. For the including file: EvaluateElementwise<Types, "
             "operands, whether the first is a condition>(c, function), and "
             "ConvertElementwise(c) where the result has another type.");
  for (const OpDef& op : ops) {
    if (!op.elementwise) continue;
    out << "absl::Status Evaluate" << op.class_name << "(EvaluateContext& c) {\n";
    if (op.result_dtype == "attribute") {
      out << "  return ConvertElementwise(c);\n}\n\n";
      continue;
    }
    // The types are in the code, so that an expression is compiled only where it makes sense.
    out << "  using Types = reference::Types<";
    const char* separator = "";
    for (const std::string& dtype : op.dtypes) {
      out << separator << ElementType(dtype);
      separator = ", ";
    }
    const bool condition = op.operands[0].name == "condition";
    out << ">;\n  return EvaluateElementwise<Types, " << op.operands.size() << ", "
        << (condition ? "true" : "false") << ">(c, [](";
    for (size_t i = 0; i < op.operands.size(); ++i) {
      out << (i == 0 ? "" : ", ") << "auto " << op.operands[i].name;
    }
    out << ") { return " << op.evaluate << "; });\n}\n\n";
  }
}

void EmitElementwiseLower(const std::vector<OpDef>& ops, llvm::raw_ostream& out) {
  EmitBanner(out,
             "Cases of a switch over OpInfo::index that return the code of an element-wise op. In "
             "scope: the emitter `e`, `operands` (indexable), and `dtype`, the result's type.");
  int index = 0;
  for (const OpDef& op : ops) {
    int number = index++;
    if (!op.elementwise) continue;
    out << "case " << number << ": {  // " << op.name << "\n";
    for (size_t i = 0; i < op.operands.size(); ++i) {
      out << "  [[maybe_unused]] const auto& " << op.operands[i].name << " = operands[" << i
          << "];\n";
    }
    out << "  return " << op.lower << ";\n}\n";
  }
}

}  // namespace weft::opgen
