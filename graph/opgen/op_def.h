// The op table as opgen reads it from TableGen's records.
#ifndef WEFT_GRAPH_OPGEN_OP_DEF_H_
#define WEFT_GRAPH_OPGEN_OP_DEF_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "llvm/Support/raw_ostream.h"

namespace llvm {
class RecordKeeper;
}

namespace weft::opgen {

struct Value {
  std::string name;
  bool variadic = false;
};

struct Attribute {
  std::string name;
  std::string kind;  // of weft::AttrKind, without the k: "Int", "Bool", "Dims"
  std::optional<std::string> default_value;  // as a C++ literal
};

struct OpDef {
  std::string name;        // "matmul"
  std::string class_name;  // "MatMul"
  std::string family, summary, infer, result_dtype, evaluate, lower;
  int64_t version = 1;
  std::vector<Value> operands, results;
  std::vector<Attribute> attributes;
  std::vector<std::string> regions, dtypes, constraints;
  std::string gradient;  // "none", "rules", "function"
  std::string no_gradient_reason;
  std::vector<std::string> gradient_rules;
  std::string test_low, test_high, test_scale;
  int64_t test_ulps = 0;
  bool elementwise = false, in_builder = true, has_evaluate = true, pure = false;
};

// All ops, sorted by name. Reports what is wrong with an entry at its place in the .td file and
// ends the program.
std::vector<OpDef> ReadOps(const llvm::RecordKeeper& records);

// C++ string literal.
std::string Quote(const std::string& text);
// A warning against editing, with what the file holds.
void EmitBanner(llvm::raw_ostream& out, const std::string& what);

// The outputs, one function each; opgen.cc says what they hold.
void EmitOpInfos(const std::vector<OpDef>& ops, llvm::raw_ostream& out);
void EmitEvaluateTable(const std::vector<OpDef>& ops, llvm::raw_ostream& out);
void EmitGradientTable(const std::vector<OpDef>& ops, llvm::raw_ostream& out);
void EmitGradientRules(const std::vector<OpDef>& ops, llvm::raw_ostream& out);
void EmitElementwiseEvaluate(const std::vector<OpDef>& ops, llvm::raw_ostream& out);
void EmitElementwiseLower(const std::vector<OpDef>& ops, llvm::raw_ostream& out);
void EmitBuilderDeclarations(const std::vector<OpDef>& ops, llvm::raw_ostream& out);
void EmitBuilderDefinitions(const std::vector<OpDef>& ops, llvm::raw_ostream& out);
void EmitReference(const std::vector<OpDef>& ops, llvm::raw_ostream& out);

}  // namespace weft::opgen

#endif  // WEFT_GRAPH_OPGEN_OP_DEF_H_
