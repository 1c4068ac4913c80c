/* Trains a package from C, with no compiler behind it:
 *
 *   weft compile classifier.weft -o train.weftpkg
 *   train_from_c train.weftpkg x.npy y.npy 100 weights.safetensors
 *
 * runs `init`, then `train_step` so many times on all rows, and writes the variables. x.npy holds
 * float32 rows, y.npy int32 labels, one for each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/c_api.h"

static int Fail(const char* what) {
  fprintf(stderr, "train_from_c: %s: %s\n", what, weft_error_message());
  return 1;
}

/* The elements of a .npy file of 4-byte elements with that code ("<f4"), and their number. Such a
 * file is ten bytes, of which the last two are the length of a header in text, the header, and the
 * elements. Freed by the caller; NULL where it is not such a file. */
static void* ReadNpy(const char* path, const char* code, int64_t* count) {
  FILE* file = fopen(path, "rb");
  unsigned char start[10];
  char header[65536];
  void* elements = NULL;
  if (file == NULL || fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY\x01", 7) != 0) {
    fprintf(stderr, "train_from_c: %s is not a .npy file\n", path);
  } else {
    const size_t length = start[8] + 256 * (size_t)start[9];
    const size_t read = fread(header, 1, length, file);
    header[read] = '\0';
    long begin = ftell(file);
    if (strstr(header, code) == NULL || strstr(header, "'fortran_order': False") == NULL ||
        fseek(file, 0, SEEK_END) != 0) {
      fprintf(stderr, "train_from_c: %s: expected elements of type %s\n", path, code);
    } else {
      *count = (ftell(file) - begin) / 4;
      fseek(file, begin, SEEK_SET);
      elements = aligned_alloc(64, (size_t)(*count * 4 + 64) / 64 * 64);
      if (elements != NULL && fread(elements, 4, (size_t)*count, file) != (size_t)*count) {
        free(elements);
        elements = NULL;
      }
    }
  }
  if (file != NULL) fclose(file);
  return elements;
}

static int RunOnce(WeftCall* call) {
  WeftRunOptions options = {sizeof(options), 60.0, NULL};
  return weft_call_run(call, &options);
}

static int Is(const WeftValueInfo* value, const char* name, int32_t dtype, int32_t rank) {
  return value != NULL && strcmp(value->name, name) == 0 && value->dtype == dtype &&
         value->rank == rank;
}

/* Inputs x[rows, width] and y[rows]. */
static int Train(WeftSession* session, const float* x, const int32_t* y, int64_t rows,
                 int64_t width, int steps) {
  WeftCall* init = weft_session_prepare(session, "init", NULL);
  if (init == NULL || RunOnce(init) != WEFT_STATUS_OK) return Fail("init");
  weft_call_free(init);

  const WeftValueInfo* first = weft_session_input(session, "train_step", 0);
  const WeftValueInfo* second = weft_session_input(session, "train_step", 1);
  const WeftValueInfo* result = weft_session_output(session, "train_step", 0);
  if (weft_session_num_inputs(session, "train_step") != 2 || !Is(first, "x", WEFT_DTYPE_F32, 2) ||
      !Is(second, "y", WEFT_DTYPE_I32, 1) || !Is(result, "loss", WEFT_DTYPE_F32, 0)) {
    fprintf(stderr, "train_from_c: expected train_step(x f32[rows, width], y i32[rows]) -> loss\n");
    return 1;
  }
  const int64_t x_shape[] = {rows, width}, y_shape[] = {rows};
  const int64_t* shapes[] = {x_shape, y_shape};
  WeftCall* step = weft_session_prepare(session, "train_step", shapes);
  if (step == NULL) return Fail("train_step");
  /* Fed once: what is behind the addresses stays the same. */
  int failed =
      weft_call_feed(step, 0, x) != WEFT_STATUS_OK || weft_call_feed(step, 1, y) != WEFT_STATUS_OK;
  for (int i = 0; i < steps && !failed; ++i) {
    WeftTensor loss;
    failed = RunOnce(step) != WEFT_STATUS_OK || weft_call_output(step, 0, &loss) != WEFT_STATUS_OK;
    if (!failed && (i == 0 || i == steps - 1)) {
      printf("step %d: loss %g\n", i + 1, *(const float*)loss.data);
    }
  }
  if (failed) Fail("train_step");
  weft_call_free(step);
  return failed;
}

int main(int argc, char** argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: train_from_c PACKAGE X.npy Y.npy STEPS OUT.safetensors\n");
    return 2;
  }
  int64_t elements = 0, rows = 0;
  float* x = ReadNpy(argv[2], "<f4", &elements);
  int32_t* y = ReadNpy(argv[3], "<i4", &rows);
  if (x == NULL || y == NULL || rows == 0 || elements % rows != 0) return 3;
  WeftSessionOptions options = {.struct_size = sizeof(options), .threads = 1};
  WeftSession* session = weft_session_load(argv[1], &options);
  if (session == NULL) return Fail("load");
  int failed = Train(session, x, y, rows, elements / rows, atoi(argv[4]));
  if (!failed && weft_session_save_checkpoint(session, argv[5]) != WEFT_STATUS_OK) {
    failed = Fail("save");
  }
  weft_session_free(session);
  free(x);
  free(y);
  return failed;
}
