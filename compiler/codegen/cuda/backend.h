// From kernels in MLIR to PTX text: the last stage, for NVIDIA GPUs. No part of CUDA's toolkit is
// needed.
//
// A module of kernels holds func.func's over the dialects of llvm_lowering.h, and nvvm for what
// processors of this kind add (thread indices, barriers, shuffles); the caller loads that dialect.
// Public functions are entry points, whose parameters are pointers to global memory and i64, and
// whose `passthrough` may have "nvvm.reqntid", the threads of a block; private ones are parts of
// them. Code is closed: it calls nothing that is not in the module.
//
// May be called from several threads at once, as the backend for x86-64.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_BACKEND_H_
#define WEFT_COMPILER_CODEGEN_CUDA_BACKEND_H_

#include <string>

#include "absl/status/statusor.h"
#include "compiler/codegen/target.h"

namespace mlir {
class ModuleOp;
}

namespace weft {

// PTX for `target` (a cuda target), in the lowest version of the language that has what the
// processor's generation offers, so that old drivers take it. Consumes the module, which then holds
// the LLVM dialect. Error (Internal): a fault of the compiler; it names the function where code
// calls something that is not there.
absl::StatusOr<std::string> CompileToPtx(mlir::ModuleOp kernels, const Target& target);
// The LLVM IR that it is made from.
absl::StatusOr<std::string> CompileToNvvmText(mlir::ModuleOp kernels, const Target& target);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_BACKEND_H_
