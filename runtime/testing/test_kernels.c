#include "runtime/testing/test_kernels.h"

/* Sections by name, so that the linker script can put them at fixed offsets. */
#define KERNEL(name)                                                                             \
  __attribute__((section(".text." #name))) void name(void* const* buffers, const int64_t* sizes, \
                                                     int64_t begin, int64_t end, void* scratch)

static int64_t clip(int64_t value, int64_t limit) { return value < limit ? value : limit; }

KERNEL(test_add) {
  const float* a = buffers[0];
  const float* b = buffers[1];
  float* c = buffers[2];
  for (int64_t i = begin * TEST_TILE; i < clip(end * TEST_TILE, sizes[0]); ++i) c[i] = a[i] + b[i];
}

KERNEL(test_scale) {
  const float* x = buffers[0];
  float* y = buffers[1];
  for (int64_t i = begin * TEST_TILE; i < clip(end * TEST_TILE, sizes[0]); ++i) y[i] = x[i] + x[i];
}

KERNEL(test_sum) {
  const float* x = buffers[0];
  float sum = 0;
  for (int64_t i = 0; i < sizes[0]; ++i) sum += x[i];
  *(float*)buffers[1] = sum;
}

KERNEL(test_less) {
  *(uint8_t*)buffers[2] = *(const int64_t*)buffers[0] < *(const int64_t*)buffers[1];
}

KERNEL(test_increment) { *(int64_t*)buffers[1] = *(const int64_t*)buffers[0] + 1; }

KERNEL(test_scratch) {
  int64_t* y = buffers[0];
  int64_t* values = scratch;
  for (int64_t tile = begin; tile < end; ++tile) {
    for (int64_t i = 0; i < sizes[0]; ++i) values[i] = tile + i;
    int64_t sum = 0;
    for (int64_t i = 0; i < sizes[0]; ++i) sum += values[i];
    y[tile] = sum;
  }
}

KERNEL(test_fill) {
  float* y = buffers[0];
  for (int64_t i = begin * TEST_TILE; i < clip(end * TEST_TILE, sizes[0]); ++i) {
    y[i] = (float)sizes[1];
  }
}
