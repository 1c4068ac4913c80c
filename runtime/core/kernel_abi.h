// The contract between compiled kernels and whoever calls them. It stands alone: C, no other
// header.
//
// Version 1. Changes: (none yet)
#ifndef WEFT_RUNTIME_CORE_KERNEL_ABI_H_
#define WEFT_RUNTIME_CORE_KERNEL_ABI_H_

#include <stdint.h>

#define WEFT_KERNEL_ABI_VERSION 1

// Alignment in bytes of every buffer whose argument has no offset, and of scratch.
#define WEFT_BUFFER_ALIGNMENT 64

// Computes tiles [tile_begin, tile_end) of one launch. Tiles are independent: any split over any
// threads gives the same bits. `buffers` and `sizes` are in the order of the plan's Launch;
// `scratch` is of the size that the Launch states, private to the calling thread, with no defined
// contents. A kernel writes to nothing but its output buffers and scratch, calls nothing, and
// cannot fail.
typedef void (*WeftKernel)(void* const* buffers, const int64_t* sizes, int64_t tile_begin,
                           int64_t tile_end, void* scratch);

#endif  // WEFT_RUNTIME_CORE_KERNEL_ABI_H_
