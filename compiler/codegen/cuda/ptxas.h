// CUDA's assembler: a program of the toolkit, which need not be there.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_PTXAS_H_
#define WEFT_COMPILER_CODEGEN_CUDA_PTXAS_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "compiler/codegen/target.h"

namespace weft {

// Its path: in $CUDA_HOME/bin or $CUDA_PATH/bin, else where $PATH says, else in
// /usr/local/cuda/bin. Empty where there is none.
std::string FindPtxas();

// What the program makes of PTX for the target: machine code for its very generation, as an ELF
// image. Nothing where it does not know that generation, as toolkits drop old ones and lack new
// ones. Errors, with its words: Internal where it refuses the PTX, which is a fault of the
// compiler; FailedPrecondition where the path is no such program.
//
// Waits for the program. May be called from several threads at once.
absl::StatusOr<std::optional<std::string>> AssemblePtx(const std::string& ptxas,
                                                       std::string_view ptx, const Target& target);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_PTXAS_H_
