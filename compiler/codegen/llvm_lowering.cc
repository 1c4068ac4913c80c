#include "compiler/codegen/llvm_lowering.h"

#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "llvm/Analysis/CGSCCPassManager.h"
#include "llvm/Analysis/LoopAnalysisManager.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/InstCombine/InstCombine.h"
#include "llvm/Transforms/Scalar/EarlyCSE.h"
#include "llvm/Transforms/Scalar/SROA.h"
#include "llvm/Transforms/Scalar/SimplifyCFG.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/IndexToLLVM/IndexToLLVM.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Index/IR/IndexDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/DialectConversion.h"

namespace weft {
namespace {

// Collects what MLIR reports while it lives, for this thread and this context.
class Diagnostics {
 public:
  explicit Diagnostics(mlir::MLIRContext* context)
      : handler_(context, [this,
                           thread = std::this_thread::get_id()](mlir::Diagnostic& diagnostic) {
          if (std::this_thread::get_id() != thread) return mlir::failure();
          llvm::raw_string_ostream(text_) << diagnostic.getLocation() << ": " << diagnostic << "\n";
          return mlir::success();
        }) {}
  absl::Status Error(absl::string_view stage) const {
    return absl::InternalError(absl::StrCat("kernel does not compile (", stage, "): ", text_));
  }

 private:
  std::string text_;
  mlir::ScopedDiagnosticHandler handler_;
};

absl::Status LowerToLlvmDialect(mlir::ModuleOp module) {
  mlir::MLIRContext* context = module.getContext();
  Diagnostics diagnostics(context);

  // bf16 is rounded by integer arithmetic on every processor: vcvtneps2bf16 would flush denormals.
  // What this makes is legal for the second conversion.
  {
    mlir::RewritePatternSet patterns(context);
    mlir::populateSCFToControlFlowConversionPatterns(patterns);
    mlir::arith::populateExpandBFloat16Patterns(patterns);
    mlir::ConversionTarget conversion(*context);
    conversion.addIllegalDialect<mlir::scf::SCFDialect>();
    conversion.addDynamicallyLegalOp<mlir::arith::ExtFOp, mlir::arith::TruncFOp>(
        [](mlir::Operation* op) {
          return !mlir::getElementTypeOrSelf(op->getOperand(0).getType()).isBF16() &&
                 !mlir::getElementTypeOrSelf(op->getResult(0).getType()).isBF16();
        });
    conversion.markUnknownOpDynamicallyLegal([](mlir::Operation*) { return true; });
    mlir::ConversionConfig config;
    config.allowPatternRollback = false;
    if (mlir::failed(
            mlir::applyPartialConversion(module, conversion, std::move(patterns), config))) {
      return diagnostics.Error("control flow");
    }
  }

  mlir::LowerToLLVMOptions options(context);
  mlir::LLVMTypeConverter types(context, options);
  mlir::RewritePatternSet patterns(context);
  mlir::populateFuncToLLVMConversionPatterns(types, patterns);
  mlir::cf::populateControlFlowToLLVMConversionPatterns(types, patterns);
  mlir::arith::populateArithToLLVMConversionPatterns(types, patterns);
  mlir::populateMathToLLVMConversionPatterns(types, patterns);
  mlir::index::populateIndexToLLVMConversionPatterns(types, patterns);
  mlir::ub::populateUBToLLVMConversionPatterns(types, patterns);
  mlir::populateVectorToLLVMConversionPatterns(types, patterns);
  mlir::LLVMConversionTarget conversion(*context);
  conversion.addLegalOp<mlir::ModuleOp>();
  conversion.addLegalDialect<mlir::NVVM::NVVMDialect>();
  if (mlir::failed(mlir::applyFullConversion(module, conversion, std::move(patterns)))) {
    return diagnostics.Error("LLVM dialect");
  }
  return absl::OkStatus();
}

void Clean(llvm::Module& module, llvm::TargetMachine* machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  llvm::FunctionPassManager passes;
  passes.addPass(llvm::SROAPass(llvm::SROAOptions::ModifyCFG));
  passes.addPass(llvm::EarlyCSEPass(/*UseMemorySSA=*/true));
  passes.addPass(llvm::InstCombinePass());
  passes.addPass(llvm::SimplifyCFGPass());
  for (llvm::Function& function : module) {
    if (!function.isDeclaration()) passes.run(function, functions);
  }
}

}  // namespace

void PrepareContext(mlir::MLIRContext* context) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::func::FuncDialect, mlir::scf::SCFDialect, mlir::cf::ControlFlowDialect,
                  mlir::arith::ArithDialect, mlir::math::MathDialect, mlir::index::IndexDialect,
                  mlir::ub::UBDialect, mlir::vector::VectorDialect, mlir::LLVM::LLVMDialect,
                  mlir::NVVM::NVVMDialect>();
  mlir::registerBuiltinDialectTranslation(registry);
  mlir::registerLLVMDialectTranslation(registry);
  mlir::registerNVVMDialectTranslation(registry);
  context->appendDialectRegistry(registry);
  // NVVM is loaded when code for a GPU asks for it.
  context
      ->loadDialect<mlir::func::FuncDialect, mlir::scf::SCFDialect, mlir::cf::ControlFlowDialect,
                    mlir::arith::ArithDialect, mlir::math::MathDialect, mlir::index::IndexDialect,
                    mlir::ub::UBDialect, mlir::vector::VectorDialect, mlir::LLVM::LLVMDialect>();
}

LlvmModule::LlvmModule() = default;
LlvmModule::LlvmModule(LlvmModule&&) noexcept = default;
LlvmModule& LlvmModule::operator=(LlvmModule&&) noexcept = default;
LlvmModule::~LlvmModule() = default;

absl::StatusOr<LlvmModule> LowerToLlvm(mlir::ModuleOp kernels,
                                       std::unique_ptr<llvm::TargetMachine> machine,
                                       const std::function<void(llvm::Module&)>& prepare) {
  if (absl::Status lowered = LowerToLlvmDialect(kernels); !lowered.ok()) return lowered;
  Diagnostics diagnostics(kernels.getContext());
  LlvmModule result;
  result.context = std::make_unique<llvm::LLVMContext>();
  result.machine = std::move(machine);
  result.module = mlir::translateModuleToLLVMIR(kernels, *result.context, "weft",
                                                /*disableVerification=*/true);
  if (result.module == nullptr) return diagnostics.Error("LLVM IR");
  result.module->setTargetTriple(result.machine->getTargetTriple());
  result.module->setDataLayout(result.machine->createDataLayout());
  std::string problem;
  llvm::raw_string_ostream stream(problem);
  if (llvm::verifyModule(*result.module, &stream)) {
    return absl::InternalError(absl::StrCat("kernel makes invalid LLVM IR: ", problem));
  }
  prepare(*result.module);
  Clean(*result.module, result.machine.get());
  return result;
}

absl::StatusOr<std::string> GenerateCode(LlvmModule& module, llvm::CodeGenFileType type) {
  llvm::SmallString<0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (module.machine->addPassesToEmitFile(passes, stream, nullptr, type, /*DisableVerify=*/true)) {
    return absl::InternalError("LLVM cannot emit code for this target");
  }
  passes.run(*module.module);
  return std::string(bytes.data(), bytes.size());
}

std::string LlvmText(const LlvmModule& module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.module->print(stream, nullptr);
  return text;
}

}  // namespace weft
