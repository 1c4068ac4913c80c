// From kernels in MLIR to LLVM IR: what the backends of all processors share.
#ifndef WEFT_COMPILER_CODEGEN_LLVM_LOWERING_H_
#define WEFT_COMPILER_CODEGEN_LLVM_LOWERING_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace llvm {
class LLVMContext;
class Module;
class TargetMachine;
enum class CodeGenFileType;
}  // namespace llvm
namespace mlir {
class MLIRContext;
class ModuleOp;
}  // namespace mlir

namespace weft {

// A module of LLVM IR with what it lives in.
struct LlvmModule {
  LlvmModule();
  LlvmModule(LlvmModule&&) noexcept;
  LlvmModule& operator=(LlvmModule&&) noexcept;
  ~LlvmModule();

  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::TargetMachine> machine;
  std::unique_ptr<llvm::Module> module;
};

// Loads the dialects that kernels are made of, and registers their translation to LLVM IR.
void PrepareContext(mlir::MLIRContext* context);

// Lowers `kernels`, which then holds the LLVM dialect, translates it for `machine`, verifies it,
// lets `prepare` set the functions' attributes, and cleans up. The kernels are tiled and vectorised
// when they are made, so that a mid-end would cost most of the compile time and gain nothing.
// Error (Internal): a fault of the compiler, with what MLIR or LLVM says about it.
absl::StatusOr<LlvmModule> LowerToLlvm(mlir::ModuleOp kernels,
                                       std::unique_ptr<llvm::TargetMachine> machine,
                                       const std::function<void(llvm::Module&)>& prepare);

// What the machine's code generator makes of it. Consumes the module's contents.
absl::StatusOr<std::string> GenerateCode(LlvmModule& module, llvm::CodeGenFileType type);
std::string LlvmText(const LlvmModule& module);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_LLVM_LOWERING_H_
