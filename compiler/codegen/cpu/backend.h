// From kernels in MLIR to machine code: the last stage, for x86-64 processors.
//
// A module of kernels holds func.func's over the func, scf, cf, arith, math, index, ub, vector and
// llvm dialects, with vectors of one dimension and memory as raw !llvm.ptr. Public functions are
// kernels with the signature of runtime/core/kernel_abi.h, private ones are parts of them.
// Generated code is closed: it calls nothing and writes to no data of its own.
//
// All functions here may be called from several threads at once, for modules of different
// MLIRContexts, each prepared by PrepareContext (llvm_lowering.h).
#ifndef WEFT_COMPILER_CODEGEN_CPU_BACKEND_H_
#define WEFT_COMPILER_CODEGEN_CPU_BACKEND_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "compiler/codegen/target.h"
#include "mlir/IR/BuiltinOps.h"

namespace weft {

// What comes out of the backend for one module. All three consume the module: afterwards it holds
// the LLVM dialect. Errors are Internal: a kernel that does not compile is a fault of the
// compiler.
absl::StatusOr<std::string> CompileToObject(mlir::ModuleOp module, const Target& target);
absl::StatusOr<std::string> CompileToAssembly(mlir::ModuleOp module, const Target& target);
absl::StatusOr<std::string> CompileToLlvmText(mlir::ModuleOp module, const Target& target);

// An ELF object for each module, in the same order, made by up to `threads` threads. Modules may
// share a context, which nobody else uses meanwhile; its threading is enabled for as long as
// needed. `compiled`, where given, is told how many are done, by one thread at a time.
absl::StatusOr<std::vector<std::string>> CompileToObjects(
    absl::Span<mlir::ModuleOp const> modules, const Target& target, int threads,
    const std::function<void(size_t)>& compiled = {});

// Code and its read-only data in one piece: it runs wherever it is mapped readable and executable,
// at any address that is a multiple of 64.
struct CodeImage {
  std::string bytes;
  // Offset of each public function from the start.
  std::map<std::string, uint64_t> symbols;
};

// Links objects into one image. Error (Internal) that names the symbol where code refers to what
// is not in any object, needs a relocation at load time, has writable data, or where two objects
// define one name.
absl::StatusOr<CodeImage> LinkImage(absl::Span<const std::string> objects);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CPU_BACKEND_H_
