// Contractions that libraries for GPUs have as well.
#ifndef WEFT_COMPILER_CODEGEN_LIBRARY_CONTRACTION_H_
#define WEFT_COMPILER_CODEGEN_LIBRARY_CONTRACTION_H_

#include <optional>

#include "compiler/codegen/contraction_layout.h"
#include "compiler/codegen/emit.h"

namespace weft {

// What `root`, the contraction of a contraction fusion for a GPU, with `shape`, and the work on its
// result come to, where libraries may have it: equal to it but for rounding, whatever the operands.
// Where both operands are matrices in memory, that is a product; work on its result may be: times a
// number, plus a tensor that lies as the result does, plus a row. Other convolutions, and gradients
// of their filters, are stated where there is no work on the result. Not stated are parts of a
// depth, integers, and several results. What a library has not of what is stated, it says itself.
std::optional<ContractionSpec> LibraryContractionOf(plan::FusionOp fusion, mlir::Operation* root,
                                                    const ContractionShape& shape,
                                                    const Target& target);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_LIBRARY_CONTRACTION_H_
