#include "compiler/aot/object.h"

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "compiler/aot/entry_points.h"
#include "compiler/aot/model_tables.h"
#include "compiler/aot/support/embedded_main.h"
#include "compiler/aot/support/embedded_model.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/GlobalVariable.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Linker/Linker.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/IPO/GlobalDCE.h"
#include "llvm/Transforms/IPO/Internalize.h"

namespace weft {
namespace {

constexpr char kTriple[] = "x86_64-unknown-linux-gnu";
// The small code model reaches 2 GiB; the rest is for code, tables and what else is in the program.
constexpr uint64_t kMaxDataBytes = uint64_t{3} << 29;

absl::StatusOr<std::unique_ptr<llvm::TargetMachine>> MakeTargetMachine() {
  static const bool initialized = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    return true;
  }();
  (void)initialized;
  std::string error;
  const llvm::Triple triple(kTriple);
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (target == nullptr) return absl::InternalError(error);
  llvm::TargetOptions options;
  // So that a linker can leave out what a program does not call.
  options.FunctionSections = true;
  options.DataSections = true;
  return std::unique_ptr<llvm::TargetMachine>(
      target->createTargetMachine(triple, "x86-64", "", options, llvm::Reloc::PIC_,
                                  llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
}

// Keeps what LLVM reports instead of printing it.
class Diagnostics : public llvm::DiagnosticHandler {
 public:
  explicit Diagnostics(std::string* text) : text_(text) {}
  bool handleDiagnostics(const llvm::DiagnosticInfo& info) override {
    if (info.getSeverity() == llvm::DS_Error) {
      llvm::raw_string_ostream stream(*text_);
      llvm::DiagnosticPrinterRawOStream printer(stream);
      info.print(printer);
    }
    return true;
  }

 private:
  std::string* text_;
};

// A target's image of code as assembly: bytes, with a local symbol at its start and one for each
// kernel, which profilers and debuggers show.
std::string CodeAssembly(const PackageModel::Target& target, const std::string& symbol) {
  std::string text = absl::StrCat(".section .text.", symbol, ",\"ax\",@progbits\n.balign 64\n",
                                  ".type ", symbol, ",@object\n", symbol, ":\n");
  // The last word is padded with a byte that traps.
  for (size_t i = 0; i < target.code.size(); i += 8) {
    uint64_t word = 0;
    for (size_t j = 8; j-- > 0;) {
      const size_t at = i + j;
      word = word << 8 | (at < target.code.size() ? static_cast<uint8_t>(target.code[at]) : 0xcc);
    }
    absl::StrAppend(&text, i % 64 == 0 ? (i == 0 ? ".quad " : "\n.quad ") : ",", "0x",
                    absl::Hex(word));
  }
  absl::StrAppend(&text, "\n");
  std::set<uint64_t> seen;
  for (const std::vector<PackageModel::Plan>& plans : target.signatures) {
    for (const PackageModel::Plan& plan : plans) {
      const std::vector<uint64_t>& offsets = plan.tables->code_offsets();
      for (size_t i = 0; i < offsets.size(); ++i) {
        if (!seen.insert(offsets[i]).second) continue;
        std::string name = absl::StrCat(symbol, ".");
        for (const char c : plan.tables->kernel_names()[i]) {
          const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '_' || c == '.';
          name += plain ? c : '_';
        }
        absl::StrAppend(&name, ".", offsets[i]);
        absl::StrAppend(&text, ".type ", name, ",@function\n.set ", name, ", ", symbol, " + ",
                        offsets[i], "\n");
      }
    }
  }
  return text;
}

absl::Status LinkBitcode(std::string_view bitcode, llvm::Module& module, std::string* problem) {
  auto part = llvm::parseBitcodeFile(
      llvm::MemoryBufferRef(llvm::StringRef(bitcode.data(), bitcode.size()), "support"),
      module.getContext());
  if (!part) {
    return absl::InternalError(
        absl::StrCat("built-in bitcode is malformed: ", llvm::toString(part.takeError())));
  }
  if (llvm::Linker::linkModules(module, std::move(*part))) {
    return absl::InternalError(absl::StrCat("built-in bitcode does not link: ", *problem));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> MakeObject(const PackageModel& model, ObjectKind kind) {
  uint64_t data_bytes = model.constants.size();
  for (const auto& [name, value] : model.values) data_bytes += value.size_bytes();
  if (data_bytes > kMaxDataBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the model holds ", data_bytes, " bytes of constants and weights, more than ",
                     kMaxDataBytes,
                     ", which an object can; emit a package, or leave the weights out and load "
                     "them from a file"));
  }
  auto machine = MakeTargetMachine();
  if (!machine.ok()) return machine.status();
  llvm::LLVMContext context;
  std::string problem;
  context.setDiagnosticHandler(std::make_unique<Diagnostics>(&problem));
  llvm::Module module(model.interface.prefix, context);
  module.setTargetTriple((*machine)->getTargetTriple());
  module.setDataLayout((*machine)->createDataLayout());

  absl::Status linked = LinkBitcode(AotModelBitcode(), module, &problem);
  if (linked.ok() && kind == ObjectKind::kProgram) {
    linked = LinkBitcode(AotMainBitcode(), module, &problem);
  }
  if (!linked.ok()) return linked;
  std::vector<llvm::Constant*> code;
  for (size_t i = 0; i < model.targets.size(); ++i) {
    const std::string symbol = absl::StrCat("weft_code_", i);
    module.appendModuleInlineAsm(CodeAssembly(model.targets[i], symbol));
    auto* start = new llvm::GlobalVariable(module, llvm::Type::getInt8Ty(context), true,
                                           llvm::GlobalValue::ExternalLinkage, nullptr, symbol);
    start->setVisibility(llvm::GlobalValue::HiddenVisibility);
    start->setDSOLocal(true);
    code.push_back(start);
  }
  DefineModelTables(model, code, module);
  std::set<std::string> exported;
  if (kind == ObjectKind::kLibrary) {
    exported = DefineEntryPoints(model.interface, module);
  } else {
    exported.insert("weft_main");  // _start, which is assembly, calls it
  }

  // Everything else is nobody's business, so that other objects of Weft may stand beside this one.
  llvm::internalizeModule(module, [&](const llvm::GlobalValue& value) {
    return exported.count(value.getName().str()) > 0;
  });
  llvm::ModuleAnalysisManager analyses;
  llvm::GlobalDCEPass().run(module, analyses);
  llvm::raw_string_ostream stream(problem);
  if (llvm::verifyModule(module, &stream)) {
    return absl::InternalError(absl::StrCat("artifact makes invalid LLVM IR: ", problem));
  }
  llvm::SmallString<0> bytes;
  llvm::raw_svector_ostream object(bytes);
  llvm::legacy::PassManager passes;
  if ((*machine)->addPassesToEmitFile(passes, object, nullptr, llvm::CodeGenFileType::ObjectFile,
                                      /*DisableVerify=*/true)) {
    return absl::InternalError("LLVM cannot emit objects");
  }
  passes.run(module);
  if (!problem.empty()) return absl::InternalError(absl::StrCat("artifact: ", problem));
  return std::string(bytes.data(), bytes.size());
}

}  // namespace weft
