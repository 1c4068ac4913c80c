// Makes from the op table (graph/ops/*.td) what mlir-tblgen does not: registry, builder functions,
// element-wise evaluation and lowering, gradients by rules, and the reference for people.
#include "graph/opgen/op_def.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/TableGen/Main.h"
#include "llvm/TableGen/Record.h"

namespace {

using weft::opgen::OpDef;
using Emitter = void (*)(const std::vector<OpDef>&, llvm::raw_ostream&);

constexpr struct {
  const char* name;
  Emitter emit;
  const char* what;
} kOutputs[] = {
    {"op-infos", weft::opgen::EmitOpInfos, "table of ops for graph/ops/op_info.cc"},
    {"evaluate-table", weft::opgen::EmitEvaluateTable, "table of evaluation functions"},
    {"gradient-table", weft::opgen::EmitGradientTable, "table of gradient functions"},
    {"gradient-rules", weft::opgen::EmitGradientRules, "gradient functions given as rules"},
    {"elementwise-evaluate", weft::opgen::EmitElementwiseEvaluate,
     "evaluation functions of element-wise ops"},
    {"elementwise-lower", weft::opgen::EmitElementwiseLower, "lowering of element-wise ops"},
    {"builder-declarations", weft::opgen::EmitBuilderDeclarations, "builder functions"},
    {"builder-definitions", weft::opgen::EmitBuilderDefinitions, "definitions of those"},
    {"reference", weft::opgen::EmitReference, "reference documentation"},
};

llvm::cl::opt<std::string> output_kind("emit", llvm::cl::desc("what to write"), llvm::cl::Required);

bool Run(llvm::raw_ostream& out, const llvm::RecordKeeper& records) {
  for (const auto& output : kOutputs) {
    if (output_kind != output.name) continue;
    output.emit(weft::opgen::ReadOps(records), out);
    return false;
  }
  llvm::errs() << "opgen: unknown --emit=" << output_kind << "; expected one of\n";
  for (const auto& output : kOutputs) llvm::errs() << "  " << output.name << "\n";
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  llvm::InitLLVM init(argc, argv);
  llvm::cl::ParseCommandLineOptions(argc, argv);
  return llvm::TableGenMain(argv[0], Run);
}
