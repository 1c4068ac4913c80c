/* Trains the test model: init sets w = 1, step returns the sum of d + w and sets w = d + w. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#define CHECK(condition)                                      \
  do {                                                        \
    if (!(condition)) {                                       \
      fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
      return 1;                                               \
    }                                                         \
  } while (0)

int main(int argc, char** argv) {
  CHECK(argc == 2);
  const char* path = argv[1]; /* of a checkpoint to write */
  test_model* model = test_create(1);
  float w[4], total, d[4] = {-0.25f, -0.25f, -0.25f, -0.25f};
  CHECK(test_step(model, d, &total) == TEST_UNDEFINED_VARIABLE);
  CHECK(strstr(test_error(model), "variable 'w' has no value") != NULL);
  CHECK(test_get_variable(model, "w", w, sizeof(w)) == TEST_UNDEFINED_VARIABLE);
  CHECK(test_save_variables(model, path) == TEST_UNDEFINED_VARIABLE);
  CHECK(test_init(model) == TEST_OK);

  /* The loss, which is the total here, falls with every step. */
  float last = INFINITY;
  for (int step = 0; step < 4; ++step) {
    CHECK(test_step(model, d, &total) == TEST_OK);
    CHECK(total < last);
    last = total;
  }
  CHECK(last == 0);

  /* A step that is cancelled changes no variable. */
  const volatile uint8_t cancelled = 1;
  CHECK(test_set_limits(model, 0, &cancelled) == TEST_OK);
  CHECK(test_step(model, d, &total) == TEST_CANCELLED);
  CHECK(test_set_limits(model, 0, NULL) == TEST_OK);
  CHECK(test_get_variable(model, "w", w, sizeof(w)) == TEST_OK);
  for (int i = 0; i < 4; ++i) CHECK(w[i] == 0);

  test_variable description;
  CHECK(test_num_variables() == 1);
  CHECK(test_describe_variable(0, &description) == TEST_OK);
  CHECK(strcmp(description.name, "w") == 0 && strcmp(description.dtype, "f32") == 0);
  CHECK(description.rank == 1 && description.shape[0] == 4 && description.bytes == sizeof(w));
  CHECK(test_describe_variable(1, &description) == TEST_INVALID_ARGUMENT);
  CHECK(test_describe_variable(-1, &description) == TEST_INVALID_ARGUMENT);

  for (int i = 0; i < 4; ++i) w[i] = (float)i;
  CHECK(test_set_variable(model, "w", w, sizeof(w)) == TEST_OK);
  CHECK(test_set_variable(model, "w", w, 4) == TEST_INVALID_ARGUMENT);
  CHECK(test_set_variable(model, "v", w, sizeof(w)) == TEST_INVALID_ARGUMENT);
  CHECK(strstr(test_error(model), "no variable 'v'") != NULL);
  CHECK(test_save_variables(model, path) == TEST_OK);
  CHECK(test_save_variables(model, "/nowhere/w.safetensors") == TEST_FILE_ERROR);

  test_model* other = test_create(2);
  CHECK(test_load_variables(other, path) == TEST_OK);
  memset(w, 0, sizeof(w));
  CHECK(test_get_variable(other, "w", w, sizeof(w)) == TEST_OK);
  for (int i = 0; i < 4; ++i) CHECK(w[i] == (float)i);
  CHECK(test_step(other, d, NULL) == TEST_OK);
  CHECK(test_read(other, w) == TEST_OK && w[3] == 2.75f);
  CHECK(test_load_variables(other, "/nowhere/w.safetensors") == TEST_FILE_ERROR);

  /* A file that is cut off, or damaged, changes nothing. */
  FILE* file = fopen(path, "rb");
  static char bytes[4096];
  const size_t size = fread(bytes, 1, sizeof(bytes), file);
  fclose(file);
  CHECK(size > 64 && size < sizeof(bytes));
  for (size_t cut = 0; cut < size; ++cut) {
    file = fopen(path, "wb");
    fwrite(bytes, 1, cut, file);
    fclose(file);
    CHECK(test_load_variables(other, path) == TEST_FILE_ERROR);
  }
  size_t unnoticed = 0;
  for (size_t bit = 0; bit < 8 * size; ++bit) {
    bytes[bit / 8] ^= (char)(1 << bit % 8);
    file = fopen(path, "wb");
    fwrite(bytes, 1, size, file);
    fclose(file);
    /* Only in the name under which the checksum stands does it go unnoticed. */
    if (test_load_variables(other, path) == TEST_OK) ++unnoticed;
    CHECK(test_read(other, w) == TEST_OK && (w[3] == 2.75f || w[3] == 3));
    bytes[bit / 8] ^= (char)(1 << bit % 8);
  }
  CHECK(unnoticed <= 8 * strlen("weft.crc32"));
  file = fopen(path, "wb");
  fwrite(bytes, 1, size, file);
  fclose(file);
  CHECK(test_load_variables(other, path) == TEST_OK);
  test_destroy(other);
  test_destroy(model);
  printf("training is right\n");
  return 0;
}
