/* Calls predict of the test model (runtime/testing/plan_builder.h: y = 2 x, plus 0.5 in the first
 * row) with several batches, in each way that memory may be given. */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "test.h"

#define CHECK(condition)                                                 \
  do {                                                                   \
    if (!(condition)) {                                                  \
      fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, error); \
      return 1;                                                          \
    }                                                                    \
  } while (0)

static const char* error = "";

static int IsRight(int64_t batch, const float* x, const float* y) {
  for (int64_t i = 0; i < 4 * batch; ++i) {
    if (y[i] != 2 * x[i] + (i < 4 ? 0.5f : 0.0f)) return 0;
  }
  return 1;
}

static int CheckBatch(test_model* model, int64_t batch, int misalignment) {
  const size_t bytes = (size_t)(4 * batch) * sizeof(float);
  const size_t room = (bytes / 64 + 2) * 64;
  char* memory = aligned_alloc(64, 2 * room);
  float* x = (float*)(memory + misalignment);
  float* y = (float*)(memory + room + misalignment);
  for (int64_t i = 0; i < 4 * batch; ++i) x[i] = (float)i - 7;
  memset(y, 0xff, bytes);
  CHECK(test_predict_y_bytes(model, batch) == (int64_t)bytes);
  CHECK(test_predict(model, batch, x, y) == TEST_OK);
  CHECK(IsRight(batch, x, y));
  free(memory);
  return 0;
}

static int CheckMemory(test_model* model) {
  const int64_t peak = test_predict_peak_bytes(model, 1000);
  CHECK(peak > 0 && peak < 1 << 20);
  CHECK(test_predict_peak_bytes(model, 10) < peak);
  /* With exactly the memory that was announced, and bytes behind it that must stay. */
  char* memory = aligned_alloc(64, (size_t)(peak / 64 + 2) * 64);
  memset(memory + peak, 0x5a, 64);
  CHECK(test_use_memory(model, memory, peak) == TEST_OK);
  if (CheckBatch(model, 1000, 0)) return 1;
  for (int i = 0; i < 64; ++i) CHECK(memory[peak + i] == 0x5a);
  CHECK(test_use_memory(model, memory, peak - 1) == TEST_OK);
  float one[4];
  static _Alignas(64) float x[4000], y[4000];
  CHECK(test_predict(model, 1000, x, y) == TEST_OUT_OF_MEMORY);
  CHECK(strstr(test_error(model), "bytes of memory") != NULL);
  CHECK(test_predict(model, 1, one, one) == TEST_OK || strlen(test_error(model)) > 0);
  CHECK(test_use_memory(model, memory + 1, peak) == TEST_INVALID_ARGUMENT);
  CHECK(test_use_memory(model, NULL, 0) == TEST_OK);
  free(memory);
  return CheckBatch(model, 1000, 0);
}

static volatile uint8_t cancel;

static void* CancelSoon(void* unused) {
  const struct timespec ten_milliseconds = {0, 10000000};
  nanosleep(&ten_milliseconds, NULL);
  cancel = 1;
  return unused;
}

static int CheckLimits(test_model* model) {
  int64_t limit = 1000, n = 0;
  /* A time that is over at once, and one that is not. */
  CHECK(test_set_limits(model, 1e-12, NULL) == TEST_OK);
  CHECK(test_count(model, &limit, &n) == TEST_DEADLINE_EXCEEDED);
  CHECK(strstr(test_error(model), "count: the run was not done after") != NULL);
  CHECK(test_set_limits(model, 1e300, NULL) == TEST_OK);
  CHECK(test_count(model, &limit, &n) == TEST_OK && n == 1000);
  CHECK(test_set_limits(model, -1, NULL) == TEST_INVALID_ARGUMENT);
  CHECK(strstr(test_error(model), "got -1") != NULL);
  /* The flag counts while it is set, whoever sets it and whenever. */
  cancel = 1;
  CHECK(test_set_limits(model, 0, &cancel) == TEST_OK);
  CHECK(test_count(model, &limit, &n) == TEST_CANCELLED);
  CHECK(strstr(test_error(model), "count: cancelled before") != NULL);
  cancel = 0;
  n = 0;
  CHECK(test_count(model, &limit, &n) == TEST_OK && n == 1000);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, CancelSoon, NULL) == 0);
  int status = TEST_OK;
  while (status == TEST_OK) status = test_count(model, &limit, &n);
  CHECK(status == TEST_CANCELLED);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(test_set_limits(model, 0, NULL) == TEST_OK);
  CHECK(test_count(model, &limit, &n) == TEST_OK);
  return 0;
}

int main(void) {
  CHECK(test_unsupported() == NULL);
  for (int threads = 0; threads <= 3; ++threads) {
    test_model* model = test_create(threads);
    CHECK(model != NULL);
    CHECK(strcmp(test_error(model), "") == 0);
    CHECK(strncmp(test_target(model), "cpu:", 4) == 0);
    const int64_t batches[] = {1, 1000, 0, 3, 1000};
    for (int i = 0; i < 5; ++i) {
      if (CheckBatch(model, batches[i], 0)) return 1;
      if (CheckBatch(model, batches[i], 4)) return 1;
    }
    if (CheckMemory(model)) return 1;
    float x[4] = {1, 2, 3, 4}, s;
    CHECK(test_predict(model, -1, x, x) == TEST_INVALID_ARGUMENT);
    CHECK(strstr(test_error(model), "batch") != NULL);
    CHECK(test_predict(model, INT64_MAX / 2, x, x) == TEST_INVALID_ARGUMENT);
    CHECK(test_predict(model, 1, NULL, x) == TEST_INVALID_ARGUMENT);
    CHECK(strstr(test_error(model), "input 'x'") != NULL);
    CHECK(test_predict(model, 1, x, NULL) == TEST_OK);
    CHECK(test_join(model, 1, x, x, &s) == TEST_OK && s == 10);
    /* A loop, and its limit. */
    int64_t limit = 1000, n = 0;
    CHECK(test_count(model, &limit, &n) == TEST_OK && n == 1000);
    limit = 1001;
    CHECK(test_count(model, &limit, &n) == TEST_RUN_FAILED);
    CHECK(strstr(test_error(model), "limit of 1000 iterations") != NULL);
    if (CheckLimits(model)) return 1;
    test_destroy(model);
  }
  test_destroy(NULL);
  printf("predict is right\n");
  return 0;
}
