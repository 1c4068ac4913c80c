/* Loads a package, shows what it offers, and runs its signature `predict` on rows of ones:
 *   c_api_example PACKAGE [ROWS] */
#include <stdio.h>
#include <stdlib.h>

#include "runtime/c_api.h"

static int Fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, weft_error_message());
  return 1;
}

static void Describe(const WeftValueInfo* value) {
  printf("  %s [", value->name);
  for (int i = 0; i < value->rank; ++i) printf("%s%s", i == 0 ? "" : ", ", value->dims[i]);
  printf("]\n");
}

/* The only input gets `rows` for its first dimension, which is open, and ones for elements. */
static int Predict(WeftSession* session, int64_t rows) {
  const WeftValueInfo* input = weft_session_input(session, "predict", 0);
  if (input == NULL || input->dtype != WEFT_DTYPE_F32 || input->rank > 8) return Fail("predict");
  int64_t shape[8];
  int64_t elements = 1;
  for (int i = 0; i < input->rank; ++i) {
    shape[i] = i == 0 ? rows : strtoll(input->dims[i], NULL, 10);
    elements *= shape[i];
  }
  const int64_t* shapes[] = {shape};
  WeftCall* call = weft_session_prepare(session, "predict", shapes);
  if (call == NULL) return Fail("prepare");

  float* x = aligned_alloc(64, (size_t)(elements * 4 + 63) / 64 * 64);
  for (int64_t i = 0; i < elements; ++i) x[i] = 1;
  WeftRunOptions options = {sizeof(options), 10.0, NULL};
  WeftTensor y;
  int failed = weft_call_feed(call, 0, x) != WEFT_STATUS_OK ||
               weft_call_run(call, &options) != WEFT_STATUS_OK ||
               weft_call_output(call, 0, &y) != WEFT_STATUS_OK;
  if (failed) {
    Fail("run");
  } else {
    printf("peak memory: %lld bytes\noutput:", (long long)weft_call_peak_bytes(call));
    for (size_t i = 0; i < y.bytes / 4 && y.dtype == WEFT_DTYPE_F32; ++i) {
      printf(" %g", ((const float*)y.data)[i]);
    }
    printf("\n");
  }
  free(x);
  weft_call_free(call);
  return failed;
}

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: c_api_example PACKAGE [ROWS]\n");
    return 2;
  }
  if (weft_c_api_version() < WEFT_C_API_VERSION) return Fail("the library is too old");
  WeftSessionOptions options = {.struct_size = sizeof(options), .threads = 1};
  WeftSession* session = weft_session_load(argv[1], &options);
  if (session == NULL) return Fail("load");
  for (int i = 0; i < weft_session_num_signatures(session); ++i) {
    const char* name = weft_session_signature_name(session, i);
    printf("%s\n", name);
    for (int j = 0; j < weft_session_num_inputs(session, name); ++j) {
      Describe(weft_session_input(session, name, j));
    }
  }
  const int failed = Predict(session, argc > 2 ? strtoll(argv[2], NULL, 10) : 1);
  weft_session_free(session);
  return failed;
}
