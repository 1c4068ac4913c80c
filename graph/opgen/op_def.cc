#include "graph/opgen/op_def.h"

#include <algorithm>
#include <map>

#include "llvm/ADT/StringExtras.h"
#include "llvm/TableGen/Error.h"
#include "llvm/TableGen/Record.h"

namespace weft::opgen {
namespace {

// The dag `(ins Type:$name, ...)`.
template <typename F>
void ForEachArgument(const llvm::Record& op, llvm::StringRef field, F f) {
  const llvm::DagInit* dag = op.getValueAsDag(field);
  for (unsigned i = 0; i < dag->getNumArgs(); ++i) {
    f(*llvm::cast<llvm::DefInit>(dag->getArg(i))->getDef(), dag->getArgNameStr(i).str());
  }
}

std::string KindOf(const llvm::Record& op, const llvm::Record& attribute) {
  static const std::map<llvm::StringRef, const char*> kKinds = {{"I64Attr", "Int"},
                                                                {"BoolAttr", "Bool"},
                                                                {"StrAttr", "String"},
                                                                {"Weft_DType", "DType"},
                                                                {"Weft_Dim", "Dim"},
                                                                {"Weft_Dims", "Dims"},
                                                                {"DenseI64ArrayAttr", "Ints"},
                                                                {"StrArrayAttr", "Strings"},
                                                                {"ElementsAttr", "Elements"},
                                                                {"FlatSymbolRefAttr", "Symbol"},
                                                                {"SymbolNameAttr", "Symbol"},
                                                                {"TypeAttr", "Type"}};
  auto it = kKinds.find(attribute.getName());
  if (it == kKinds.end()) {
    llvm::PrintFatalError(&op, "attribute " + attribute.getName() +
                                   " has no kind of the op table (graph/opgen/op_def.cc)");
  }
  return it->second;
}

void ReadArguments(const llvm::Record& record, OpDef& op) {
  ForEachArgument(record, "arguments", [&](const llvm::Record& type, std::string name) {
    if (type.isSubClassOf("TypeConstraint")) {
      op.operands.push_back({name, type.isSubClassOf("Variadic")});
      return;
    }
    Attribute attribute{name, "", std::nullopt};
    const llvm::Record* base = &type;
    if (type.isSubClassOf("DefaultValuedAttr")) {
      base = type.getValueAsDef("baseAttr");
      attribute.default_value = type.getValueAsString("defaultValue").str();
    }
    attribute.kind = KindOf(record, *base);
    if (attribute.default_value && attribute.kind != "Int" && attribute.kind != "Bool" &&
        attribute.kind != "String") {
      llvm::PrintFatalError(&record, "only numbers, bools and strings may have a default");
    }
    op.attributes.push_back(attribute);
  });
  for (size_t i = 0; i + 1 < op.operands.size(); ++i) {
    if (op.operands[i].variadic) {
      llvm::PrintFatalError(&record, "only the last operand may be variadic");
    }
  }
}

void Check(const llvm::Record& record, const OpDef& op) {
  if (op.summary.empty()) llvm::PrintFatalError(&record, "an op needs a summary");
  if (op.gradient == "rules" && op.gradient_rules.size() != op.operands.size()) {
    llvm::PrintFatalError(&record, "expected one gradient rule for each operand");
  }
  if (op.gradient == "none" && op.no_gradient_reason.empty()) {
    llvm::PrintFatalError(&record, "an op without gradient needs a reason");
  }
  if (op.elementwise && (op.evaluate.empty() || op.lower.empty())) {
    llvm::PrintFatalError(&record, "an element-wise op needs `evaluate` and `lower`");
  }
  for (size_t i = 0; i < op.constraints.size(); ++i) {
    if (!llvm::StringRef(op.constraints[i]).starts_with("C" + std::to_string(i + 1) + ": ")) {
      llvm::PrintFatalError(&record, "constraints are numbered C1, C2, ... in order");
    }
  }
}

}  // namespace

std::vector<OpDef> ReadOps(const llvm::RecordKeeper& records) {
  std::vector<OpDef> ops;
  for (const llvm::Record* record : records.getAllDerivedDefinitions("Weft_Op")) {
    OpDef op;
    op.name = record->getValueAsString("opName").str();
    llvm::StringRef class_name = record->getName();
    if (!class_name.consume_front("Weft_") || !class_name.consume_back("Op")) {
      llvm::PrintFatalError(record, "expected a record named Weft_<Name>Op");
    }
    op.class_name = class_name.str();
    auto text = [&](const char* field) { return record->getValueAsString(field).str(); };
    op.family = text("family");
    op.summary = text("summary");
    op.infer = text("infer").empty() ? "Infer" + op.class_name : text("infer");
    op.result_dtype = text("result_dtype");
    op.evaluate = text("evaluate");
    op.lower = text("lower");
    op.version = record->getValueAsInt("version");
    op.elementwise = record->getValueAsBit("elementwise");
    op.in_builder = record->getValueAsBit("in_builder");
    op.has_evaluate = record->getValueAsBit("has_evaluate");
    for (const llvm::Record* trait : record->getValueAsListOfDefs("traits")) {
      op.pure |= trait->getName() == "Pure";
    }
    ReadArguments(*record, op);
    ForEachArgument(*record, "results", [&](const llvm::Record& type, std::string name) {
      op.results.push_back({name, type.isSubClassOf("Variadic")});
    });
    ForEachArgument(*record, "regions",
                    [&](const llvm::Record&, std::string name) { op.regions.push_back(name); });
    for (llvm::StringRef name : record->getValueAsDef("dtypes")->getValueAsListOfStrings("names")) {
      op.dtypes.push_back(name.str());
    }
    for (llvm::StringRef rule : record->getValueAsListOfStrings("constraints")) {
      op.constraints.push_back(rule.str());
    }
    const llvm::Record* gradient = record->getValueAsDef("gradient");
    op.gradient = gradient->getValueAsString("kind").str();
    op.no_gradient_reason = gradient->getValueAsString("reason").str();
    for (llvm::StringRef rule : gradient->getValueAsListOfStrings("rules")) {
      op.gradient_rules.push_back(rule.str());
    }
    const llvm::Record* test = record->getValueAsDef("test");
    op.test_low = test->getValueAsString("low").str();
    op.test_high = test->getValueAsString("high").str();
    op.test_scale = test->getValueAsString("scale").str();
    op.test_ulps = test->getValueAsInt("ulps");
    Check(*record, op);
    ops.push_back(std::move(op));
  }
  std::sort(ops.begin(), ops.end(), [](auto& a, auto& b) { return a.name < b.name; });
  return ops;
}

std::string Quote(const std::string& text) {
  std::string quoted;
  llvm::raw_string_ostream out(quoted);
  out << '"';
  llvm::printEscapedString(text, out);
  out << '"';
  return quoted;
}

void EmitBanner(llvm::raw_ostream& out, const std::string& what) {
  out << "// " << what << "\n// Generated from graph/ops/*.td by graph/opgen: edit those.\n\n";
}

}  // namespace weft::opgen
