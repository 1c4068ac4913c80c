// The reference of the ops, for people: Markdown.
#include <map>

#include "graph/opgen/op_def.h"

namespace weft::opgen {
namespace {

void EmitList(const std::vector<Value>& values, llvm::raw_ostream& out) {
  const char* separator = "";
  for (const Value& value : values) {
    out << separator << value.name << (value.variadic ? "..." : "");
    separator = ", ";
  }
}

void EmitOp(const OpDef& op, llvm::raw_ostream& out) {
  out << "### " << op.name << "\n\n" << op.summary << "\n\n```\n";
  EmitList(op.results, out);
  out << (op.results.empty() ? "" : " = ") << op.name << "(";
  EmitList(op.operands, out);
  out << ")\n```\n\n";
  if (!op.attributes.empty()) {
    out << "| attribute | kind | default |\n| --- | --- | --- |\n";
    for (const Attribute& attribute : op.attributes) {
      out << "| " << attribute.name << " | " << attribute.kind << " | "
          << attribute.default_value.value_or("") << " |\n";
    }
    out << "\n";
  }
  if (!op.regions.empty()) {
    out << "Bodies:";
    for (const std::string& region : op.regions) out << " " << region;
    out << ".\n\n";
  }
  for (const std::string& rule : op.constraints) out << "- " << rule << "\n";
  if (!op.constraints.empty()) out << "\n";
  out << "Element types:";
  for (const std::string& dtype : op.dtypes) out << " " << dtype;
  out << ". Version " << op.version << ". ";
  if (op.in_builder) out << "Builder: `" << op.class_name << "`. ";
  if (op.gradient == "none") {
    out << "Not differentiable: " << op.no_gradient_reason << ".";
  } else if (op.gradient == "function") {
    out << "Differentiable.";
  } else {
    out << "Gradient:";
    for (size_t i = 0; i < op.operands.size(); ++i) {
      const std::string& rule = op.gradient_rules[i];
      out << (i == 0 ? " " : "; ") << op.operands[i].name << ": "
          << (rule.empty() ? "none" : "`" + rule + "`");
    }
    out << ".";
  }
  if (op.test_ulps > 0) {
    out << " Compiled code is within " << op.test_ulps << " ulp of the reference";
    if (op.test_scale != "0") out << " (at a magnitude of at least " << op.test_scale << ")";
    out << ".";
  }
  out << "\n\n";
}

}  // namespace

void EmitReference(const std::vector<OpDef>& ops, llvm::raw_ostream& out) {
  std::map<std::string, std::vector<const OpDef*>> families;
  for (const OpDef& op : ops) families[op.family].push_back(&op);
  out << "# Weft's ops\n\nGenerated from `graph/ops/*.td`. " << ops.size() << " ops.\n\n";
  for (const auto& [family, members] : families) {
    out << "## " << family << "\n\n";
    for (const OpDef* op : members) EmitOp(*op, out);
  }
}

}  // namespace weft::opgen
