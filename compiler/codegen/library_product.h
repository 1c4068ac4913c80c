// Contractions that libraries for GPUs have as well.
#ifndef WEFT_COMPILER_CODEGEN_LIBRARY_PRODUCT_H_
#define WEFT_COMPILER_CODEGEN_LIBRARY_PRODUCT_H_

#include <optional>

#include "compiler/codegen/contraction_layout.h"
#include "compiler/codegen/emit.h"

namespace weft {

// What `root`, the contraction of a contraction fusion for a GPU, with `shape`, and the work on its
// result come to, where that is a matrix product of cuBLASLt: equal to it but for rounding,
// whatever the operands. Not so are contractions that are no product of matrices in memory, parts
// of a depth, integers, several results, and work on the result other than: times a number, plus
// a tensor that lies as the result does, plus a row.
std::optional<ProductSpec> LibraryProductOf(plan::FusionOp fusion, mlir::Operation* root,
                                            const ContractionShape& shape, const Target& target);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_LIBRARY_PRODUCT_H_
