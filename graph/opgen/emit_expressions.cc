// What is made from the C++ expressions in the table: gradient rules, and the evaluation and
// lowering of element-wise ops.
#include "graph/opgen/op_def.h"

namespace weft::opgen {

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
             "Element-wise evaluation. For the including file: EvaluateElementwise<Scalar>(c) (and "
             "ConvertElementwise, whose Scalar takes the result type first).");
  for (const OpDef& op : ops) {
    if (!op.elementwise) continue;
    bool converts = op.result_dtype == "attribute";
    out << "struct " << op.class_name << "Scalar {\n  template <"
        << (converts ? "typename To, " : "");
    for (size_t i = 0; i < op.operands.size(); ++i) {
      out << (i == 0 ? "" : ", ") << "typename T" << i;
    }
    out << ">\n  static auto Run(";
    for (size_t i = 0; i < op.operands.size(); ++i) {
      out << (i == 0 ? "" : ", ") << "T" << i << " " << op.operands[i].name;
    }
    out << ") {\n    return " << op.evaluate << ";\n  }\n};\nabsl::Status Evaluate" << op.class_name
        << "(EvaluateContext& c) {\n  return "
        << (converts ? "ConvertElementwise<" : "EvaluateElementwise<") << op.class_name
        << "Scalar>(c);\n}\n\n";
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
