#include "compiler/codegen/cpu/backend.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "llvm/Analysis/CGSCCPassManager.h"
#include "llvm/Analysis/LoopAnalysisManager.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
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
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/DialectConversion.h"

namespace weft {
namespace {

constexpr char kTriple[] = "x86_64-unknown-linux-gnu";

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

absl::Status LowerToLlvmDialect(mlir::ModuleOp module, const Target& target) {
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
  if (mlir::failed(mlir::applyFullConversion(module, conversion, std::move(patterns)))) {
    return diagnostics.Error("LLVM dialect");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<llvm::TargetMachine>> MakeTargetMachine(const Target& target) {
  static const bool initialized = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    return true;
  }();
  (void)initialized;
  std::string error;
  const llvm::Triple triple(kTriple);
  const llvm::Target* llvm_target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (llvm_target == nullptr) return absl::InternalError(error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  options.UniqueSectionNames = false;
  return std::unique_ptr<llvm::TargetMachine>(llvm_target->createTargetMachine(
      triple, target.cpu, target.features, options, llvm::Reloc::PIC_, llvm::CodeModel::Small,
      llvm::CodeGenOptLevel::Default));
}

void SetAttributes(llvm::Module& module, const Target& target) {
  for (llvm::Function& function : module) {
    if (function.isDeclaration()) continue;
    function.addFnAttr("no-builtins");
    function.addFnAttr(llvm::Attribute::NoUnwind);
    function.addFnAttr("target-cpu", target.cpu);
    function.addFnAttr("target-features", target.features);
    function.addFnAttr("prefer-vector-width", std::to_string(target.vector_bits));
    function.addFnAttr("min-legal-vector-width", std::to_string(target.vector_bits));
    // Resolved inside the image: no indirection through tables that a loader would have to fill.
    function.setDSOLocal(true);
    if (function.hasLocalLinkage()) continue;
    function.setVisibility(llvm::GlobalValue::HiddenVisibility);
    // The lists of buffers and sizes are nobody's output, and scratch is the thread's own.
    if (function.arg_size() != 5) continue;
    for (unsigned i : {0u, 1u, 4u}) {
      if (function.getArg(i)->getType()->isPointerTy()) {
        function.addParamAttr(i, llvm::Attribute::NoAlias);
      }
    }
  }
}

// LLVM 22 stores too many bytes where a truncated vector is stored under a mask that is known to
// have one lane (llvm/llvm-project#179489): such lanes are stored as scalars instead.
void StoreSingleLanes(llvm::Function& function) {
  for (llvm::Instruction& instruction : llvm::make_early_inc_range(llvm::instructions(function))) {
    auto* store = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction);
    if (store == nullptr || store->getIntrinsicID() != llvm::Intrinsic::masked_store) continue;
    llvm::Value* value = store->getArgOperand(0);
    auto* mask = llvm::dyn_cast<llvm::Constant>(store->getArgOperand(2));
    auto* type = llvm::dyn_cast<llvm::FixedVectorType>(value->getType());
    if (mask == nullptr || type == nullptr) continue;
    std::optional<unsigned> lane;
    unsigned lanes = 0;
    for (unsigned i = 0; i < type->getNumElements(); ++i) {
      llvm::Constant* bit = mask->getAggregateElement(i);
      if (bit != nullptr && bit->isNullValue()) continue;
      lane = i;
      ++lanes;
    }
    if (lanes != 1) continue;
    llvm::IRBuilder<> b(store);
    llvm::Value* element = b.CreateExtractElement(value, *lane);
    llvm::Value* place =
        b.CreateConstInBoundsGEP1_64(type->getElementType(), store->getArgOperand(1), *lane);
    b.CreateAlignedStore(element, place, store->getParamAlign(1).valueOrOne());
    store->eraseFromParent();
  }
}

// Kernels are tiled and vectorised when they are made, so a mid-end would cost most of the compile
// time and gain nothing: this only cleans up.
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
    if (function.isDeclaration()) continue;
    passes.run(function, functions);
    StoreSingleLanes(function);
  }
}

// While it lives, several threads may use the context: it takes its locks, which one that is used
// by one thread at a time does without.
class SharedContext {
 public:
  explicit SharedContext(mlir::MLIRContext* context)
      : context_(context), was_enabled_(context->isMultithreadingEnabled()) {
    if (!was_enabled_) context_->enableMultithreading();
  }
  SharedContext(const SharedContext&) = delete;
  SharedContext& operator=(const SharedContext&) = delete;
  ~SharedContext() {
    if (!was_enabled_) context_->disableMultithreading();
  }

 private:
  mlir::MLIRContext* context_;
  bool was_enabled_;
};

struct Translated {
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::TargetMachine> machine;
  std::unique_ptr<llvm::Module> module;
};

absl::StatusOr<Translated> Translate(mlir::ModuleOp module, const Target& target) {
  absl::Status lowered = LowerToLlvmDialect(module, target);
  if (!lowered.ok()) return lowered;
  Diagnostics diagnostics(module.getContext());
  Translated result;
  result.context = std::make_unique<llvm::LLVMContext>();
  auto machine = MakeTargetMachine(target);
  if (!machine.ok()) return machine.status();
  result.machine = *std::move(machine);
  result.module = mlir::translateModuleToLLVMIR(module, *result.context, "weft",
                                                /*disableVerification=*/true);
  if (result.module == nullptr) return diagnostics.Error("LLVM IR");
  result.module->setTargetTriple(result.machine->getTargetTriple());
  result.module->setDataLayout(result.machine->createDataLayout());
  result.module->setPICLevel(llvm::PICLevel::BigPIC);
  std::string problem;
  llvm::raw_string_ostream stream(problem);
  if (llvm::verifyModule(*result.module, &stream)) {
    return absl::InternalError(absl::StrCat("kernel makes invalid LLVM IR: ", problem));
  }
  SetAttributes(*result.module, target);
  Clean(*result.module, result.machine.get());
  return result;
}

absl::StatusOr<std::string> Emit(mlir::ModuleOp module, const Target& target,
                                 llvm::CodeGenFileType type) {
  auto translated = Translate(module, target);
  if (!translated.ok()) return translated.status();
  llvm::SmallString<0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (translated->machine->addPassesToEmitFile(passes, stream, nullptr, type,
                                               /*DisableVerify=*/true)) {
    return absl::InternalError("LLVM cannot emit code for this target");
  }
  passes.run(*translated->module);
  return std::string(bytes.data(), bytes.size());
}

}  // namespace

void PrepareContext(mlir::MLIRContext* context) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::func::FuncDialect, mlir::scf::SCFDialect, mlir::cf::ControlFlowDialect,
                  mlir::arith::ArithDialect, mlir::math::MathDialect, mlir::index::IndexDialect,
                  mlir::ub::UBDialect, mlir::vector::VectorDialect, mlir::LLVM::LLVMDialect>();
  mlir::registerBuiltinDialectTranslation(registry);
  mlir::registerLLVMDialectTranslation(registry);
  context->appendDialectRegistry(registry);
  context
      ->loadDialect<mlir::func::FuncDialect, mlir::scf::SCFDialect, mlir::cf::ControlFlowDialect,
                    mlir::arith::ArithDialect, mlir::math::MathDialect, mlir::index::IndexDialect,
                    mlir::ub::UBDialect, mlir::vector::VectorDialect, mlir::LLVM::LLVMDialect>();
}

absl::StatusOr<std::string> CompileToObject(mlir::ModuleOp module, const Target& target) {
  return Emit(module, target, llvm::CodeGenFileType::ObjectFile);
}

absl::StatusOr<std::string> CompileToAssembly(mlir::ModuleOp module, const Target& target) {
  return Emit(module, target, llvm::CodeGenFileType::AssemblyFile);
}

absl::StatusOr<std::string> CompileToLlvmText(mlir::ModuleOp module, const Target& target) {
  auto translated = Translate(module, target);
  if (!translated.ok()) return translated.status();
  std::string text;
  llvm::raw_string_ostream stream(text);
  translated->module->print(stream, nullptr);
  return text;
}

absl::StatusOr<std::vector<std::string>> CompileToObjects(absl::Span<mlir::ModuleOp const> modules,
                                                          const Target& target, int threads) {
  std::vector<absl::StatusOr<std::string>> objects(modules.size());
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i; (i = next++) < modules.size();) objects[i] = CompileToObject(modules[i], target);
  };
  const size_t workers =
      std::min<size_t>(static_cast<size_t>(std::max(threads, 1)), modules.size());
  std::vector<std::unique_ptr<SharedContext>> shared;
  if (workers > 1) {
    for (mlir::ModuleOp module : modules) {
      shared.push_back(std::make_unique<SharedContext>(module.getContext()));
    }
  }
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < workers; ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  std::vector<std::string> result;
  for (auto& object : objects) {
    if (!object.ok()) return object.status();
    result.push_back(*std::move(object));
  }
  return result;
}

}  // namespace weft
