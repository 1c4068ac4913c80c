/* Kernels for tests of the runtime, which has no compiler at hand: as functions, and as an image of
 * code (target test_code) with each kernel at the offset below. */
#ifndef WEFT_RUNTIME_TESTING_TEST_KERNELS_H_
#define WEFT_RUNTIME_TESTING_TEST_KERNELS_H_

#include "runtime/core/kernel_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  TEST_ADD = 0x000,
  TEST_SCALE = 0x200,
  TEST_SUM = 0x400,
  TEST_LESS = 0x600,
  TEST_INCREMENT = 0x800,
  TEST_SCRATCH = 0xa00,
  TEST_FILL = 0xc00
};

/* Elements in a tile of the kernels that have tiles. */
enum { TEST_TILE = 64 };

/* f32: c = a + b; sizes: n. Tiles of TEST_TILE elements. */
void test_add(void* const* buffers, const int64_t* sizes, int64_t begin, int64_t end,
              void* scratch);
/* f32: y = 2 x; sizes: n. Tiles of TEST_TILE elements. */
void test_scale(void* const* buffers, const int64_t* sizes, int64_t begin, int64_t end,
                void* scratch);
/* f32: y = the sum of x; sizes: n. One tile. */
void test_sum(void* const* buffers, const int64_t* sizes, int64_t begin, int64_t end,
              void* scratch);
/* i64 scalars: c = a < b, a bool. One tile. */
void test_less(void* const* buffers, const int64_t* sizes, int64_t begin, int64_t end,
               void* scratch);
/* i64 scalars: y = x + 1. One tile. */
void test_increment(void* const* buffers, const int64_t* sizes, int64_t begin, int64_t end,
                    void* scratch);
/* i64: y[tile] = the sum over n of tile + i, collected in n elements of scratch; sizes: n. */
void test_scratch(void* const* buffers, const int64_t* sizes, int64_t begin, int64_t end,
                  void* scratch);
/* f32: y = value; sizes: n, value. Tiles of TEST_TILE elements. */
void test_fill(void* const* buffers, const int64_t* sizes, int64_t begin, int64_t end,
               void* scratch);

#ifdef __cplusplus
}
#endif

#endif /* WEFT_RUNTIME_TESTING_TEST_KERNELS_H_ */
