#include "compiler/codegen/cuda/backend.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "compiler/codegen/llvm_lowering.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "mlir/IR/BuiltinOps.h"

namespace weft {
namespace {

absl::StatusOr<std::unique_ptr<llvm::TargetMachine>> MakeTargetMachine(const Target& target) {
  static const bool initialized = [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    return true;
  }();
  (void)initialized;
  std::string error;
  const llvm::Triple triple("nvptx64-nvidia-cuda");
  const llvm::Target* llvm_target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (llvm_target == nullptr) return absl::InternalError(error);
  llvm::TargetOptions options;
  // Only what the kernels say is fused: a product and a sum are two roundings, as on the CPU.
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  return std::unique_ptr<llvm::TargetMachine>(llvm_target->createTargetMachine(
      triple, target.cpu, target.features, options, llvm::Reloc::PIC_, llvm::CodeModel::Small,
      llvm::CodeGenOptLevel::Aggressive));
}

absl::StatusOr<LlvmModule> Lower(mlir::ModuleOp kernels, const Target& target) {
  if (target.kind != Target::Kind::kCuda) {
    return absl::InternalError(absl::StrCat("no PTX can be made for target ", target.name));
  }
  auto machine = MakeTargetMachine(target);
  if (!machine.ok()) return machine.status();
  auto lowered = LowerToLlvm(kernels, *std::move(machine), [&](llvm::Module& module) {
    for (llvm::Function& function : module) {
      if (function.isDeclaration()) continue;
      function.addFnAttr(llvm::Attribute::NoUnwind);
      function.addFnAttr("target-cpu", target.cpu);
      if (function.hasLocalLinkage()) continue;
      function.setCallingConv(llvm::CallingConv::PTX_Kernel);
      // Nothing writes to what is passed by value, tensor maps, so that no thread needs a copy.
      for (llvm::Argument& argument : function.args()) {
        if (!argument.hasByValAttr()) continue;
        argument.addAttr(llvm::Attribute::get(function.getContext(), "nvvm.grid_constant"));
      }
    }
  });
  if (!lowered.ok()) return lowered;
  for (const llvm::Function& function : *lowered->module) {
    if (function.isDeclaration() && !function.isIntrinsic()) {
      return absl::InternalError(
          absl::StrCat("a kernel calls ", function.getName().str(), ", which is nowhere defined"));
    }
  }
  return lowered;
}

}  // namespace

absl::StatusOr<std::string> CompileToPtx(mlir::ModuleOp kernels, const Target& target) {
  auto lowered = Lower(kernels, target);
  if (!lowered.ok()) return lowered.status();
  return GenerateCode(*lowered, llvm::CodeGenFileType::AssemblyFile);
}

absl::StatusOr<std::string> CompileToNvvmText(mlir::ModuleOp kernels, const Target& target) {
  auto lowered = Lower(kernels, target);
  if (!lowered.ok()) return lowered.status();
  return LlvmText(*lowered);
}

}  // namespace weft
