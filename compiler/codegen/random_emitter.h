// Random numbers, as code.
#ifndef WEFT_COMPILER_CODEGEN_RANDOM_EMITTER_H_
#define WEFT_COMPILER_CODEGEN_RANDOM_EMITTER_H_

#include "compiler/codegen/kernel_builder.h"

namespace weft {

enum class RandomKind { kUniform, kNormal, kBits };

// Elements number `position` of a random op with a seed in [0, 2^32) and a stream (scalar i64), as
// graph/ops/random.td defines them; several with lanes > 0. `whole_blocks`: lanes have neighbouring
// positions of which the first is a multiple of 4, so that each block of Philox is computed once
// for its four positions.
Element EmitRandom(KernelBuilder& kernel, RandomKind kind, DataType dtype, int64_t seed,
                   mlir::Value stream, const Coord& position, int64_t lanes, bool whole_blocks);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_RANDOM_EMITTER_H_
