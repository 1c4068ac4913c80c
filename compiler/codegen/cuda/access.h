// How threads of a GPU kernel access the buffers.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_ACCESS_H_
#define WEFT_COMPILER_CODEGEN_CUDA_ACCESS_H_

#include "compiler/codegen/fusion_emitter.h"

namespace weft {

// The most bytes that one access of a thread moves.
inline constexpr int64_t kAccessBytes = 16;

// Elements that one thread accesses at once along the innermost coordinate, which has that extent
// and is coordinate `last` of the iteration: 16 bytes of the widest dtype that the last dry run
// met, where that is possible and all accesses are aligned; else 0, one element by scalar code.
// `one_row`: no other coordinate is outside of it, so that a part of an access may be left at its
// end.
int64_t LanesPerThread(const FusionEmitter& f, const DimExpr& extent, int last, bool one_row);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_ACCESS_H_
