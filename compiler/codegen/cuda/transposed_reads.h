// What it costs a GPU to read a tensor in another order than it lies in.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_TRANSPOSED_READS_H_
#define WEFT_COMPILER_CODEGEN_CUDA_TRANSPOSED_READS_H_

#include <cstdint>

namespace mlir {
class Operation;
}

namespace weft {

// Fewer neighbours than these, in the one order or the other, are a few sectors that the caches
// hold until all of them are read.
inline constexpr int64_t kNarrowestTransposed = 16;

// Whether a kernel that reduces had better find the result of a `weft.transpose` in memory than
// read the operand across. It is so where the innermost dimensions of either are not those of the
// other (and not narrow), and of the bytes that a GPU then moves,
//
//     32 * elements                        reading across: a sector for each, as if no cache
//                                          had it until the next one in it is read
//     3 * element size * elements + 2^22   written by a kernel with tiles, which reads them as they
//                                          lie, and read again; and what memory moves in the time
//                                          that a launch takes
//
// the second are fewer, where each open dimension counts as kOpenExtent (estimate.h).
bool BelongsInMemory(mlir::Operation* transpose);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_TRANSPOSED_READS_H_
